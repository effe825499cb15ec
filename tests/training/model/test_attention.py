"""Attention with two queries: exactly the attention of every position, forward and in gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from training.model.attention import MaskAttention

if TYPE_CHECKING:
    from training.config.model import AttentionForm

SIZE = 8


def pair(dim: int, dtype: torch.dtype = torch.float32) -> tuple[MaskAttention, MaskAttention]:
    """The same weights in both forms, large enough that softmax is far from even."""
    two, plain = MaskAttention(dim, "two_query").to(dtype), MaskAttention(dim, "plain").to(dtype)
    with torch.no_grad():
        two.to_q.weight.normal_(std=3 * dim**-0.5)
        two.to_kv.weight.normal_(std=dim**-0.5)
    plain.load_state_dict(two.state_dict())
    return two, plain


def masks() -> dict[str, Tensor]:
    """bool [2, 1, 8, 8]."""
    some = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) > 0.6
    one = torch.zeros_like(some)
    one[:, :, 3, 5] = True
    return {
        "some": some,
        "none": torch.zeros_like(some),
        "all": torch.ones_like(some),
        "one position": one,
        "one sample": torch.cat([torch.ones_like(some[:1]), torch.zeros_like(some[:1])]),
    }


def run(module: MaskAttention, x: Tensor, region: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The output, and gradients of an uneven sum of it with respect to the input and all parameters."""
    x = x.clone().requires_grad_()
    out = module(x, region)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return out, list(torch.autograd.grad((out * weights).sum(), [x, *module.parameters()]))


@pytest.mark.parametrize("dim", [8, 96])
@pytest.mark.parametrize("mask", masks())
def test_both_forms_agree_forward_and_in_gradients(dim: int, mask: str) -> None:
    torch.manual_seed(dim)
    x, region = torch.randn(2, dim, SIZE, SIZE), masks()[mask]
    (out, gradients), (plain_out, plain_gradients) = (run(module, x, region) for module in pair(dim))
    torch.testing.assert_close(out, plain_out, rtol=1e-5, atol=1e-5)
    for mine, plain in zip(gradients, plain_gradients, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mask", masks())
def test_the_two_query_form_is_exact_not_near(mask: str) -> None:
    torch.manual_seed(1)
    x, region = torch.randn(2, 16, SIZE, SIZE, dtype=torch.float64), masks()[mask]
    (out, gradients), (plain_out, plain_gradients) = (run(module, x, region) for module in pair(16, torch.float64))
    torch.testing.assert_close(out, plain_out, rtol=1e-12, atol=1e-12)
    for mine, plain in zip(gradients, plain_gradients, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-10)


def test_outside_the_mask_is_the_mean_of_the_values() -> None:
    torch.manual_seed(2)
    module, _ = pair(16)
    x = torch.randn(2, 16, SIZE, SIZE)
    values = module.to_kv(x)[:, 128:]
    expected = module.to_out(values.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, SIZE, SIZE)
    torch.testing.assert_close(module(x, masks()["none"]), expected, rtol=1e-5, atol=1e-5)
    some = masks()["some"]
    outside = ~some.expand_as(expected)
    torch.testing.assert_close(module(x, some)[outside], expected[outside], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(module(x, some), expected, atol=1e-2)


def test_nothing_of_positions_times_positions_is_made() -> None:
    side = 64
    positions = side**2
    sizes: list[int] = []

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            sizes.extend(one.numel() for one in tree_leaves(out) if isinstance(one, Tensor))
            return out

    watch: Any = Watch
    with watch(), torch.device("meta"):
        module = MaskAttention(8)
        module(torch.empty(1, 8, side, side), torch.empty(1, 1, side, side, dtype=torch.bool)).sum().backward()
    assert sizes
    assert max(sizes) <= 256 * positions


@pytest.mark.parametrize("form", ["two_query", "plain"])
def test_layout_in_memory_changes_nothing(form: AttentionForm) -> None:
    torch.manual_seed(3)
    module: Any = MaskAttention(16, form)
    x, region = torch.randn(2, 16, SIZE, SIZE), masks()["some"]
    there = module.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), region)
    torch.testing.assert_close(there, module(x, region), rtol=1e-5, atol=1e-5)


def test_bf16_autocast_is_near() -> None:
    torch.manual_seed(4)
    module, _ = pair(32)
    x, region = torch.randn(2, 32, SIZE, SIZE), masks()["some"]
    exact = module(x, region)
    with torch.autocast("cpu", torch.bfloat16):
        near = module(x, region)
    assert near.dtype == torch.bfloat16
    assert (near - exact).std() < 0.03 * exact.std()
