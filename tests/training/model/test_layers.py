"""Layers: the sinusoid of the reference, standardised filters, and which type things are computed in."""

from __future__ import annotations

import math

import pytest
import torch

from training.model.layers import ChannelNorm, ResnetBlock, Sinusoid, StandardisedConv, TimeEmbedding, epsilon


def test_the_sinusoid_has_sines_then_cosines_of_falling_frequencies() -> None:
    found = Sinusoid(256)(torch.tensor([0, 1, 999]))
    frequencies = [math.exp(-math.log(10_000) * i / 127) for i in range(128)]
    for row, t in zip(found, (0, 1, 999), strict=True):
        expected = [math.sin(t * f) for f in frequencies] + [math.cos(t * f) for f in frequencies]
        torch.testing.assert_close(row, torch.tensor(expected), rtol=0, atol=1e-4)
    assert frequencies[-1] == pytest.approx(1e-4)


def test_times_are_told_apart_in_narrow_types_too() -> None:
    module = TimeEmbedding(Sinusoid(64), torch.nn.Identity()).eval()
    module[1] = torch.nn.Linear(64, 64)
    torch.nn.init.eye_(module[1].get_parameter("weight"))
    found = module.bfloat16()(torch.arange(990, 1000))
    assert found.dtype == torch.bfloat16
    assert len(found.unique(dim=0)) == 10


def test_filters_have_mean_0_and_variance_1_however_small_they_are_stored() -> None:
    torch.manual_seed(0)
    conv = StandardisedConv(16, 4, 3, padding=1)
    x = torch.randn(2, 16, 8, 8)
    with torch.no_grad():
        before = conv(x)
        conv.weight.mul_(50).add_(7)
        torch.testing.assert_close(conv(x), before, rtol=1e-2, atol=1e-2)


def test_epsilon_is_that_of_the_parameters_so_that_autocast_computes_the_same_function() -> None:
    assert epsilon(torch.float64) == epsilon(torch.float32) == 1e-5
    assert epsilon(torch.bfloat16) == epsilon(torch.float16) == 1e-3
    torch.manual_seed(1)
    conv = StandardisedConv(16, 4, 3, bias=False).requires_grad_(requires_grad=False)
    conv.weight.data = torch.randn_like(conv.weight) * 1e-3  # a variance of 1e-6: epsilon decides
    x = torch.randn(2, 16, 8, 8)
    exact = conv(x)
    with torch.autocast("cpu", torch.bfloat16):
        near = conv(x)
    assert float(near.std() / exact.std()) == pytest.approx(1, rel=0.02)
    narrow = conv.bfloat16()(x.bfloat16())
    assert float(narrow.std() / exact.std()) == pytest.approx(math.sqrt(1.1e-5 / 1.001e-3), rel=0.05)


def test_channels_of_each_position_have_mean_0_and_variance_1_times_the_gain() -> None:
    norm = ChannelNorm(32)
    x = torch.randn(2, 32, 4, 4) * 7 + 3
    with torch.no_grad():
        norm.g.copy_(torch.arange(1, 33).view(1, 32, 1, 1))
        even = norm(x) / norm.g
    torch.testing.assert_close(even.mean(dim=1), torch.zeros(2, 4, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(even.var(dim=1, correction=0), torch.ones(2, 4, 4), rtol=1e-4, atol=0)


def test_features_stay_narrow_under_autocast() -> None:
    block = ResnetBlock(8, 8, 16, groups=2, dropout=0.1)
    norm = ChannelNorm(8)
    x, condition = torch.randn(2, 8, 4, 4).bfloat16(), torch.randn(2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert block(x, condition).dtype == block.block1(x).dtype == norm(x).dtype == torch.bfloat16
