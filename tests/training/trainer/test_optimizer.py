"""The optimizer: its state comes back to the bit, and a step that is not finite changes nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from training.config.sections import OptimizerConfig
from training.trainer.optimizer import load_optimizer, make_optimizer, optimizer_tensors

if TYPE_CHECKING:
    from torch import Tensor

KINDS = [
    OptimizerConfig(name="adamw", weight_decay=0.1),
    OptimizerConfig(name="adam", weight_decay=0.1),
    OptimizerConfig(name="adamw"),
]


class Module(nn.Module):
    """Weights of all shapes: a convolution's in either layout, a vector, a single number."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.shift = nn.Parameter(torch.randn(4))
        if channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def step(module: Module, optimizer: torch.optim.Optimizer, seed: int, *, bad: bool = False) -> None:
    """One step with random gradients."""
    random = torch.Generator().manual_seed(seed)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    for number, weight in enumerate(module.parameters()):
        weight.grad = torch.randn(weight.shape, generator=random).to(weight.data)
        if bad:
            weight.grad.view(-1)[0] = (float("nan"), float("inf"))[number % 2]
    if optimizer.defaults["fused"]:
        optimizer.found_inf = torch.tensor(float(bad))  # type: ignore[attr-defined]
    optimizer.step()
    optimizer.zero_grad()


def everything(module: Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {**module.state_dict(), **optimizer_tensors(optimizer, module)}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        one.dtype == second[name].dtype and torch.equal(one, second[name]) for name, one in first.items()
    )


@pytest.mark.parametrize("config", KINDS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_run_that_goes_on_from_saved_tensors_ends_in_the_same_bits(
    config: OptimizerConfig, channels_last: bool
) -> None:
    module = Module(channels_last=channels_last)
    optimizer = make_optimizer(config, module)
    for seed in range(3):
        step(module, optimizer, seed)
    kept = {name: tensor.contiguous() for name, tensor in optimizer_tensors(optimizer, module).items()}
    other = Module(channels_last=channels_last)
    other.load_state_dict(module.state_dict())
    again = make_optimizer(config, other)
    load_optimizer(again, other, load(save(kept)))
    assert same_bits(everything(module, optimizer), everything(other, again))
    for name, weight in other.named_parameters():
        strides = dict(module.named_parameters())[name].stride()
        assert {again.state[weight][key].stride() for key in ("exp_avg", "exp_avg_sq")} == {strides}
    for seed in range(3, 6):
        step(module, optimizer, seed)
        step(other, again, seed)
    assert same_bits(everything(module, optimizer), everything(other, again))


@pytest.mark.parametrize("config", KINDS)
@pytest.mark.parametrize("before", [0, 3])
def test_a_step_that_is_not_finite_changes_nothing(config: OptimizerConfig, before: int) -> None:
    module, twin = Module(channels_last=False), Module(channels_last=False)
    optimizer, other = make_optimizer(config, module), make_optimizer(config, twin)
    for seed in range(before):
        step(module, optimizer, seed)
        step(twin, other, seed)
    for seed in (7, 8):
        step(module, optimizer, seed, bad=True)
    found, expected = everything(module, optimizer), everything(twin, other)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert not any(bool(found[name].any()) for name in found.keys() - expected.keys())  # zeros before any step
    step(module, optimizer, 9)
    step(twin, other, 9)
    assert same_bits(everything(module, optimizer), everything(twin, other))


@pytest.mark.parametrize("config", KINDS)
def test_steps_are_those_of_torch_s_plain_optimizers(config: OptimizerConfig) -> None:
    module, twin = Module(channels_last=False), Module(channels_last=False)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.name]
    plain = kind(twin.parameters(), betas=(0.9, 0.99), weight_decay=config.weight_decay, foreach=False)
    optimizer = make_optimizer(config, module)
    for seed in range(4):
        step(module, optimizer, seed)
        step(twin, plain, seed)
    first = Module(channels_last=False)
    weights = (each.parameters() for each in (module, twin, first))
    for one, other, before in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        assert (one - before).abs().max() > 1e-3


def test_tensors_are_named_after_their_weights_and_there_are_none_before_the_first_step() -> None:
    module = Module(channels_last=False)
    optimizer = make_optimizer(KINDS[0], module)
    assert optimizer_tensors(optimizer, module) == {}
    step(module, optimizer, 0)
    assert set(optimizer_tensors(optimizer, module)) == {
        f"{name}:{key}" for name, _ in module.named_parameters() for key in ("step", "exp_avg", "exp_avg_sq")
    }


def test_tensors_of_another_network_are_refused() -> None:
    module = Module(channels_last=False)
    optimizer = make_optimizer(KINDS[0], module)
    with pytest.raises(KeyError, match="other"):
        load_optimizer(optimizer, module, {"other:step": torch.tensor(1.0)})
