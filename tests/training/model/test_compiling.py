"""Compiling by block: the same function and gradients, one graph for blocks that are alike, names as they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from training.config.model import ModelConfig
from training.model.compiling import compile_blocks, uncompiled
from training.model.layers import Residual, ResnetBlock
from training.model.unet import UNet

CONFIG = ModelConfig(image_size=64, dim=8, num_classes=3, dim_mults=(1, 2), spatial=True, dropout=0.0)


def without_kernels(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    """Have graphs be taken, but run as they are: kernels take minutes."""
    compiled = nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda self, **_: compiled(self, backend=backend, dynamic=False, fullgraph=True)
    )
    torch.compiler.reset()


@pytest.fixture
def _forwards_and_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are split into forward and backward."""
    without_kernels(monkeypatch, "aot_eager")


@pytest.fixture
def _graphs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are what is counted, and no more is made of them."""
    without_kernels(monkeypatch, "eager")


def inputs(batch: int = 2) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    masks = torch.randint(3, (batch, 1, 64, 64), generator=random, dtype=torch.uint8)
    return torch.randn(batch, 4, 8, 8, generator=random), torch.tensor([7, 900][:batch]), masks


def gradients(module: UNet) -> dict[str, torch.Tensor]:
    module(*inputs()).square().mean().backward()
    return {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}


@pytest.mark.usefixtures("_forwards_and_backwards")
def test_blocks_compute_the_same_and_names_stay() -> None:
    torch.manual_seed(0)
    plain, compiled = UNet(CONFIG), UNet(CONFIG)
    compiled.load_state_dict(plain.state_dict())
    compile_blocks(compiled)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(compiled(*inputs()), plain(*inputs()))
    ours, theirs = gradients(compiled), gradients(plain)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("_graphs_alone")
def test_blocks_that_are_alike_share_a_graph_and_a_network_can_be_run_uncompiled_in_between() -> None:
    counters: Any = torch._dynamo.utils.counters
    counters.clear()
    module = UNet(CONFIG)
    compile_blocks(module)
    module(*inputs())
    blocks = [part for part in module.modules() if isinstance(part, (ResnetBlock, Residual))]
    graphs = counters["stats"]["unique_graphs"]
    assert 0 < graphs < len(blocks)
    module(*inputs())
    assert counters["stats"]["unique_graphs"] == graphs
    assert not counters["graph_break"]
    with uncompiled():
        module.eval()(*inputs(1))
    assert counters["stats"]["unique_graphs"] == graphs
    module.train()(*inputs())
    assert counters["stats"]["unique_graphs"] == graphs
    module(*inputs(1))
    assert counters["stats"]["unique_graphs"] > graphs


@pytest.mark.usefixtures("_forwards_and_backwards")
def test_gradients_come_while_the_backward_pass_goes_on() -> None:
    module = UNet(CONFIG)
    compile_blocks(module)
    order: list[str] = []
    for name, part in module.named_modules():
        if isinstance(part, (ResnetBlock, Residual)):
            part.register_full_backward_hook(lambda *_, name=name: order.append(name))
    weight: Any
    for name, weight in module.named_parameters():
        weight.register_post_accumulate_grad_hook(lambda _, name=name: order.append(name))
    module(*inputs()).square().mean().backward()
    first = order.index("final_res_block.block2.proj.weight")
    assert first < order.index("downs.0.0.block1.proj.weight")
    assert first < len(order) / 2
