"""The U-Net: names, sizes and shapes of the reference, and outputs equal to a plain re-computation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from histods.errors import HistodsError
from tests.training.plain_unet import PlainUNet
from training.config.model import ModelConfig
from training.model.unet import UNet, shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.config.model import Null

REFERENCE = ModelConfig(num_classes=5, null="zero_mask")
SMALL = ModelConfig(dim=8, num_classes=3, image_size=64, dim_mults=(1, 2))


def on_meta(config: ModelConfig) -> UNet:
    with torch.device("meta"):
        return UNet(config)


def make(config: ModelConfig, seed: int = 0) -> UNet:
    """A network in eval mode in which every tensor matters, gains and biases too."""
    torch.manual_seed(seed)
    module = UNet(config).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith((".g", "norm.weight", "bias")):
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return module


def inputs(config: ModelConfig, samples: int = 3, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, times and masks of blocks; the second mask is zero, the third leaves the largest class out."""
    random = torch.Generator().manual_seed(seed)
    side = config.image_size // 8
    x = torch.randn(samples, config.channels, side, side, generator=random)
    t = torch.tensor([0, 517, 999])[torch.arange(samples) % 3]
    classes = config.num_classes or 0
    blocks = torch.randint(0, classes, (samples, 1, side // 2, side // 2), generator=random)
    mask = blocks.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
    mask[:, :, 3:17, 5:9] = classes - 1
    mask[1::3] = 0
    mask[2::3] = mask[2::3].clamp(max=max(classes - 2, 0))
    return x, t, mask.to(torch.uint8)


def plain_of(module: UNet) -> PlainUNet:
    config = module.config
    return PlainUNet(
        module.state_dict(),
        groups=config.resnet_block_groups,
        largest_class_alone=config.class_conditioning == "max",
        channels=config.channels,
    )


def count(module: UNet) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("classes", [1, 5, 10, 55])
def test_parameters_are_172_101_124_and_256_a_further_class(classes: int) -> None:
    config = replace(REFERENCE, num_classes=classes)
    assert count(on_meta(config)) == 172_101_124 + 256 * (classes - 5)
    assert count(on_meta(replace(config, null="learned"))) == 172_101_124 + 256 * (classes - 4)


def reference_names(levels: int) -> Iterator[str]:
    """Names of all tensors, from the description of published checkpoints."""

    def with_bias(name: str) -> list[str]:
        return [f"{name}.weight", f"{name}.bias"]

    def resnet(name: str, *, widens: bool) -> Iterator[str]:
        yield from with_bias(f"{name}.mlp.1")
        for block in ("block1", "block2"):
            yield from with_bias(f"{name}.{block}.proj")
            yield from with_bias(f"{name}.{block}.norm")
        if widens:
            yield from with_bias(f"{name}.res_conv")

    def attention(name: str) -> Iterator[str]:
        yield f"{name}.fn.norm.g"
        yield f"{name}.fn.fn.to_q.weight"
        yield f"{name}.fn.fn.to_kv.weight"
        yield from with_bias(f"{name}.fn.fn.to_out")

    for name in ("init_conv", "time_mlp.1", "time_mlp.3", "classes_mlp.0", "classes_mlp.2", "final_conv"):
        yield from with_bias(name)
    yield "classes_emb.weight"
    for i in range(levels):
        for way, widens, change in (
            ("downs", False, "3"),
            ("ups", True, "3.1" if i < levels - 1 else "3"),
        ):
            yield from resnet(f"{way}.{i}.0", widens=widens)
            yield from resnet(f"{way}.{i}.1", widens=widens)
            yield from attention(f"{way}.{i}.2")
            yield from with_bias(f"{way}.{i}.{change}")
    yield from resnet("mid_block1", widens=False)
    yield from attention("mid_attn")
    yield from resnet("mid_block2", widens=False)
    yield from resnet("final_res_block", widens=True)


@pytest.mark.parametrize("mults", [(1, 2, 4), (1,), (1, 2, 2, 4)])
def test_names_are_those_of_published_checkpoints(mults: tuple[int, ...]) -> None:
    config = replace(REFERENCE, dim=8, dim_mults=mults)
    names = sorted(reference_names(len(mults)))
    assert sorted(on_meta(config).state_dict()) == names
    assert sorted(on_meta(replace(config, null="learned")).state_dict()) == sorted([*names, "null_emb"])
    assert sorted(on_meta(replace(config, spatial=True)).state_dict()) == names


def test_tensors_have_the_shapes_of_the_reference() -> None:
    found = {name: tuple(tensor.shape) for name, tensor in on_meta(REFERENCE).state_dict().items()}
    for name, shape in {
        "init_conv.weight": (256, 4, 7, 7),
        "time_mlp.1.weight": (1024, 256),
        "classes_emb.weight": (5, 256),
        "classes_mlp.2.weight": (1024, 1024),
        "downs.0.0.mlp.1.weight": (512, 2048),
        "downs.1.0.block1.proj.weight": (256, 256, 3, 3),
        "downs.0.3.weight": (256, 256, 4, 4),
        "downs.1.3.weight": (512, 256, 4, 4),
        "downs.2.3.weight": (1024, 512, 3, 3),
        "downs.2.2.fn.fn.to_kv.weight": (256, 512, 1, 1),
        "mid_attn.fn.norm.g": (1, 1024, 1, 1),
        "mid_attn.fn.fn.to_out.weight": (1024, 128, 1, 1),
        "ups.0.0.block1.proj.weight": (1024, 1536, 3, 3),
        "ups.0.0.res_conv.weight": (1024, 1536, 1, 1),
        "ups.0.3.1.weight": (512, 1024, 3, 3),
        "ups.2.2.fn.fn.to_q.weight": (128, 256, 1, 1),
        "ups.2.3.weight": (256, 256, 3, 3),
        "final_res_block.block1.proj.weight": (256, 512, 3, 3),
        "final_conv.weight": (4, 256, 1, 1),
    }.items():
        assert found[name] == shape, name
    assert tuple(on_meta(replace(REFERENCE, spatial=True)).init_conv.weight.shape) == (256, 9, 7, 7)


def test_shapes_of_the_reference_deck_at_batch_4() -> None:
    with torch.device("meta"):
        module = UNet(REFERENCE)
        seen = shapes(
            module, torch.empty(4, 4, 64, 64), torch.empty(4), torch.empty(4, 1, 512, 512, dtype=torch.uint8)
        )
    assert seen == [
        ("latents", (4, 4, 64, 64)),
        ("mask", (4, 1, 512, 512)),
        ("time embedding", (4, 1024)),
        ("class distribution", (4, 5)),
        ("embedding table", (5, 256)),
        ("weighted embedding", (4, 256)),
        ("conditional embedding", (4, 1024)),
        ("init_conv", (4, 256, 64, 64)),
        ("downs.0", (4, 256, 32, 32)),
        ("downs.1", (4, 512, 16, 16)),
        ("downs.2", (4, 1024, 16, 16)),
        ("mid_block1", (4, 1024, 16, 16)),
        ("mid_attn", (4, 1024, 16, 16)),
        ("mid_block2", (4, 1024, 16, 16)),
        ("ups.0", (4, 512, 32, 32)),
        ("ups.1", (4, 256, 64, 64)),
        ("ups.2", (4, 256, 64, 64)),
        ("final_res_block", (4, 256, 64, 64)),
        ("prediction", (4, 4, 64, 64)),
    ]
    hooks = [part for part in module.modules() if part._forward_hooks or part._forward_pre_hooks]
    assert hooks == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention": "plain"},
        {"dim_mults": (1, 2, 4), "dim": 12, "num_classes": 5, "null": "zero_mask"},
        {"dim_mults": (2,), "num_classes": 2, "resnet_block_groups": 4},
        {"dim_mults": (1, 3, 2, 1), "num_classes": 10, "image_size": 128},
        {"channels": 3, "num_classes": 1},
        {"class_conditioning": "max"},
        {"spatial": True},
        {"spatial": True, "null": "zero_mask", "class_conditioning": "max", "num_classes": 4},
    ],
    ids=lambda changes: " ".join(f"{name}={value}" for name, value in changes.items()) or "small",
)
def test_outputs_equal_a_plain_recomputation(changes: dict[str, Any]) -> None:
    config = replace(SMALL, **changes)
    module = make(config)
    x, t, mask = inputs(config)
    plain = plain_of(module)
    with torch.no_grad():
        for dropped in (None, [True, False, True]):
            mine = module(x, t, mask, None if dropped is None else torch.tensor(dropped))
            torch.testing.assert_close(mine, plain(x, t, mask, dropped), rtol=1e-4, atol=1e-4)
            assert mine.shape == x.shape


def test_any_size_and_any_integer_type_of_mask_will_do() -> None:
    module = make(SMALL)
    x, t, mask = inputs(SMALL)
    small = mask[:, :, ::8, ::8]
    with torch.no_grad():
        expected = module(x, t, small)
        for dtype in (torch.uint8, torch.int16, torch.uint16, torch.int32, torch.int64):
            assert torch.equal(module(x, t, small.to(dtype)), expected)
        larger = small.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
        torch.testing.assert_close(module(x, t, larger), expected)
        wide = torch.cat([x, x], dim=3), t, torch.cat([mask, mask], dim=3)
        assert module(*wide).shape == wide[0].shape


@pytest.mark.parametrize("null", ["learned", "zero_mask"])
@pytest.mark.parametrize("spatial", [False, True])
def test_a_dropped_sample_does_not_see_its_mask(null: Null, spatial: bool) -> None:
    module = make(replace(SMALL, null=null, spatial=spatial))
    x, t, mask = inputs(SMALL)
    zero, all_of_them = torch.zeros_like(mask), torch.ones(3, dtype=torch.bool)
    with torch.no_grad():
        nothing = module(x, t, zero, all_of_them)
        torch.testing.assert_close(module(x, t, mask, all_of_them), nothing, rtol=0, atol=0)
        one = module(x, t, mask, torch.tensor([True, False, False]))
        torch.testing.assert_close(one[0], nothing[0])
        torch.testing.assert_close(one[1:], module(x, t, mask)[1:])
        is_zero_mask = torch.allclose(module(x, t, zero), nothing, atol=1e-5)
    assert is_zero_mask == (null == "zero_mask")


def test_only_dropped_samples_teach_the_null_embedding() -> None:
    module = make(SMALL)
    x, t, mask = inputs(SMALL)
    table, null = module.get_parameter("classes_emb.weight"), module.get_parameter("null_emb")
    kept, learned = torch.autograd.grad(module(x, t, mask).square().sum(), [table, null])
    assert bool(kept.any())
    assert not bool(learned.any())
    everything = module(x, t, mask, torch.ones(3, dtype=torch.bool)).square().sum()
    kept, learned = torch.autograd.grad(everything, [table, null])
    assert not bool(kept.any())
    assert bool(learned.any())


@pytest.mark.parametrize("conditioning", ["histogram", "max"])
def test_only_the_spatial_kind_sees_which_class_is_where(conditioning: str) -> None:
    x, t, mask = inputs(replace(SMALL, num_classes=4))
    mask[:, :, :8, :32], mask[:, :, 8:16, :32] = 1, 2
    turned = mask.clone()
    turned[:, :, :8, :32], turned[:, :, 8:16, :32] = 2, 1  # the same histogram, and zero in the same places
    for spatial in (False, True):
        module = make(replace(SMALL, num_classes=4, class_conditioning=conditioning, spatial=spatial))
        with torch.no_grad():
            difference = (module(x, t, mask) - module(x, t, turned)).abs().max()
        assert (difference > 1e-3) == spatial


def test_samples_do_not_see_each_other() -> None:
    module = make(SMALL)
    x, t, mask = inputs(SMALL)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        torch.testing.assert_close(module(x[order], t[order], mask[order]), module(x, t, mask)[order])


@pytest.mark.parametrize("changes", [{}, {"spatial": True, "attention": "plain", "class_conditioning": "max"}])
def test_compiles_to_one_graph_that_is_the_same_with_and_without_drops(changes: dict[str, Any]) -> None:
    torch._dynamo.reset()
    module = make(replace(SMALL, dim_mults=(1, 2), **changes))
    graphs = 0

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    compiled: Any = torch.compile(module, fullgraph=True, backend=backend)
    x, t, mask = inputs(SMALL)
    with torch.no_grad():
        for dropped in (torch.zeros(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool)):
            torch.testing.assert_close(compiled(x, t, mask, dropped), module(x, t, mask, dropped))
    assert graphs == 1
    with torch.autocast("cpu", torch.bfloat16):
        compiled.train()(x, t, mask).float().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert graphs == 2
    torch._dynamo.reset()


@pytest.mark.parametrize("spatial", [False, True])
def test_bf16_is_near_fp32(spatial: bool) -> None:
    config = replace(SMALL, dim=32, spatial=spatial)
    module = make(config)
    x, t, mask = inputs(config)
    with torch.no_grad():
        exact = module(x, t, mask)
        with torch.autocast("cpu", torch.bfloat16):
            near = module(x, t, mask)
        narrow = module.bfloat16()(x.bfloat16(), t, mask)
    assert near.dtype == narrow.dtype == torch.bfloat16
    assert (near - exact).std() < 0.03 * exact.std()
    assert (narrow - exact).std() < 0.1 * exact.std()


def test_channels_last_memory_is_kept_and_changes_nothing() -> None:
    module: Any = make(SMALL)
    x, t, mask = inputs(SMALL)
    with torch.no_grad():
        expected = module(x, t, mask)
        module.to(memory_format=torch.channels_last)
        inner: list[Tensor] = []
        handle = module.mid_block2.register_forward_hook(lambda _, __, out: inner.append(out))
        found = module(x.to(memory_format=torch.channels_last), t, mask)
        handle.remove()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert inner[0].is_contiguous(memory_format=torch.channels_last)


def test_dropout_is_for_training_alone() -> None:
    module = make(replace(SMALL, dropout=0.5))
    x, t, mask = inputs(SMALL)
    with torch.no_grad():
        assert torch.equal(module(x, t, mask), module(x, t, mask))
        module.train()
        assert not torch.allclose(module(x, t, mask), module(x, t, mask))


def test_an_open_number_of_classes_is_refused() -> None:
    with pytest.raises(HistodsError, match=r"^model\.num_classes is not set; set it"):
        UNet(ModelConfig())


@pytest.mark.parametrize(
    ("latents", "mask", "expected"),
    [
        ((2, 3, 8, 8), (2, 1, 64, 64), r"latents are \[2, 3, 8, 8\]; they must be \[B, 4, H, W\]"),
        ((2, 4, 8, 7), (2, 1, 64, 56), "multiples of 2"),
        ((4, 8, 8), (2, 1, 64, 64), r"are \[4, 8, 8\]"),
        ((2, 4, 8, 8), (2, 1, 60, 64), r"masks are \[2, 1, 60, 64\]; they must be \[B, 1, H, W\].*8 and 8: "),
        ((2, 4, 8, 8), (2, 64, 64), r"are \[2, 64, 64\]"),
        ((2, 4, 8, 8), (2, 3, 64, 64), r"are \[2, 3, 64, 64\]"),
        ((2, 4, 8, 8), (2, 1, 4, 4), r"are \[2, 1, 4, 4\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    latents: tuple[int, ...], mask: tuple[int, ...], expected: str
) -> None:
    module = on_meta(SMALL)
    with torch.device("meta"), pytest.raises(HistodsError, match=expected):
        module(torch.empty(latents), torch.empty(2), torch.empty(mask, dtype=torch.uint8))
