"""The average of weights: a plain loop's, and the power function's window."""

from __future__ import annotations

from typing import Any

import ema_pytorch
import numpy as np
import pytest
import torch
from torch import nn

from histods.errors import HistodsError
from training.config.sections import EmaConfig
from training.runs.post_hoc_ema import power_exponent
from training.trainer.ema import Ema


class Weight(nn.Module):
    """A module whose weights say after which step they stood there."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(steps + 1))
        self.mark(0)

    @torch.no_grad()
    def mark(self, step: int) -> None:
        self.weight.zero_()[step] = 1


def profile(config: EmaConfig, steps: int) -> torch.Tensor:
    """Share of the weights after each step in the average at the end, [steps + 1]."""
    module = Weight(steps)
    ema = Ema(config, module)
    for step in range(1, steps + 1):
        module.mark(step)
        ema.update(module, step)
    return ema.tensors["weight"]


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.GroupNorm(1, 3), nn.Linear(4, 5, bias=False))


@pytest.mark.parametrize(("decay", "every"), [(0.995, 10), (0.9, 3), (0.5, 1)])
def test_exponential_is_the_average_of_the_library_that_the_reference_uses(decay: float, every: int) -> None:
    module = network(0)
    ours = Ema(EmaConfig(kind="exponential", decay=decay, every=every), module)
    theirs = ema_pytorch.EMA(module, beta=decay, update_every=every)
    theirs.update()  # it counts from 0
    for step in range(1, 1500):
        with torch.no_grad():
            for weight in module.parameters():
                weight.mul_(0.99).add_(0.1 * torch.randn_like(weight))
        ours.update(module, step)
        theirs.update()
    expected = dict(theirs.ema_model.named_parameters())
    assert list(ours.tensors) == list(expected)
    for name, average in ours.tensors.items():
        torch.testing.assert_close(average, expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [90, 130, 1000])
@pytest.mark.parametrize("every", [1, 10])
def test_what_an_exponential_average_began_with_is_no_part_of_it(steps: int, every: int) -> None:
    shares = profile(EmaConfig(kind="exponential", decay=0.995, every=every), steps)
    assert shares[:90].sum() < 1e-6
    assert shares.sum() == pytest.approx(1, abs=1e-6)


def test_the_first_weights_soon_have_no_part_in_the_average() -> None:
    shares = profile(EmaConfig(kind="power", every=10), 300)
    assert shares[0] < 1e-6
    assert shares.sum() == pytest.approx(1, abs=1e-6)
    assert shares.nonzero()[:, 0].tolist() == list(range(10, 301, 10))


@pytest.mark.parametrize("sigma_rel", [0.03, 0.05, 0.1, 0.2])
def test_power_s_window_is_the_power_function_of_that_width(sigma_rel: float) -> None:
    steps, gamma = 2000, power_exponent(sigma_rel)
    shares = profile(EmaConfig(kind="power", sigma_rel=sigma_rel, every=1), steps).double()
    times = np.arange(steps + 1) / steps
    # The integral of (gamma + 1) t^gamma over each step: Karras et al. 2024, eq. 1.
    expected = np.diff(times ** (gamma + 1), prepend=0)
    np.testing.assert_allclose(shares.numpy(), expected, rtol=0, atol=2e-6)
    centre = (shares.numpy() * times).sum()
    width = np.sqrt((shares.numpy() * (times - centre) ** 2).sum())
    assert width == pytest.approx(sigma_rel, rel=2e-3)


def test_power_with_fewer_updates_is_the_same_window_in_coarser_steps() -> None:
    every_step = profile(EmaConfig(kind="power", every=1), 400)
    coarse = profile(EmaConfig(kind="power", every=10), 400)
    torch.testing.assert_close(coarse[10::10], every_step[1:].view(40, 10).sum(1), rtol=1e-4, atol=1e-6)
    assert every_step[0] == coarse[0] == 0


@pytest.mark.parametrize("gamma", [0.1, 1.0, 6.94, 16.97, 100.0])
def test_the_exponent_is_the_one_of_the_width(gamma: float) -> None:
    width = (gamma + 1) ** 0.5 / (gamma + 2) / (gamma + 3) ** 0.5
    assert power_exponent(width) == pytest.approx(gamma, rel=1e-6)


def test_averages_are_float32_apart_from_the_module_and_go_back_into_one() -> None:
    module = network(0).bfloat16()
    ema = Ema(EmaConfig(), module)
    before = {name: average.clone() for name, average in ema.tensors.items()}
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
    assert all(average.dtype == torch.float32 for average in ema.tensors.values())
    assert all(torch.equal(before[name], average) for name, average in ema.tensors.items())
    other = network(1)
    ema.copy_to(other)
    for name, weight in other.named_parameters():
        assert torch.equal(weight, before[name])
        assert weight.requires_grad


def test_a_saved_average_goes_on_to_the_same_bits() -> None:
    runs = []
    for stop in (None, 20):
        module, ema = network(0), Ema(EmaConfig(every=5), network(0))
        for step in range(1, 41):
            with torch.no_grad():
                for weight in module.parameters():
                    weight.mul_(1.01)
            ema.update(module, step)
            if step == stop:
                saved = {name: average.clone() for name, average in ema.tensors.items()}
                ema = Ema(EmaConfig(every=5), network(7))
                ema.load(saved)
        runs.append(ema.tensors)
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_a_foreign_average_is_refused_and_changes_nothing() -> None:
    ema = Ema(EmaConfig(), network(0))
    before = {name: average.clone() for name, average in ema.tensors.items()}
    renamed = {name.replace("0.", "9."): average for name, average in before.items()}
    reshaped = before | {"0.bias": torch.ones(1)}  # which would broadcast
    for foreign in ({}, renamed, reshaped):
        with pytest.raises(KeyError):
            ema.load(foreign)
    assert all(torch.equal(before[name], average) for name, average in ema.tensors.items())


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"kind": "mean"}, "ema.kind is mean; it must be exponential or power: correct it"),
        ({"decay": 1.0}, "decay is 1.0; it must be at least 0 and below 1"),
        ({"every": 0}, "every is 0; it must be at least 1"),
        ({"snapshots_every": -1}, "snapshots_every is -1; it must be a multiple of ema.every = 1, or 0 for none"),
        ({"snapshots_every": 15, "every": 10}, "snapshots_every is 15; it must be a multiple of ema.every = 10"),
        ({"sigma_rel": 0.29}, "sigma_rel"),
        ({"sigma_rel": 0.0}, "sigma_rel"),
    ],
)
def test_settings_out_of_range_are_named(values: dict[str, Any], word: str) -> None:
    with pytest.raises(HistodsError, match=word):
        EmaConfig(**values)
