"""Guidance: what is computed at which levels, and what becomes of the two predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.training.diffusion.small_network import Network, masks
from training.config.sections import DiffusionConfig
from training.diffusion.guidance import (
    autoguided,
    guided,
    levels_within,
    one_pass_per_class,
    predicting,
    rescaled,
)
from training.diffusion.noise import normal_noise
from training.diffusion.process import Schedule
from training.diffusion.samplers import ddim

if TYPE_CHECKING:
    from training.config.sections import Prediction

SHAPE = (4, 8, 8)


def schedule(kind: str = "cosine", *, zero: bool = False) -> Schedule:
    return Schedule.of(DiffusionConfig(schedule=kind, zero_terminal_snr=zero))


def test_guidance_is_two_forwards_in_one_call() -> None:
    module, mask = Network(), masks((0, 1), (2, 1))
    x, t = normal_noise([1, 2], SHAPE, "cpu"), torch.tensor([10, 900])
    result = guided(module, mask, 3.0)(x, t)
    assert [(len(seen), dropped.tolist()) for seen, dropped in module.calls if dropped is not None] == [
        (4, [False, False, True, True])
    ]
    conditional, null = module(x, t, mask), module(x, t, mask, torch.tensor([True, True]))
    torch.testing.assert_close(result, null + 3 * (conditional - null), rtol=0, atol=1e-5)


def test_a_scale_of_1_is_one_forward_and_0_is_the_null() -> None:
    module, mask = Network(), masks((0, 1))
    x, t = normal_noise([1], SHAPE, "cpu"), torch.tensor([500])
    result = guided(module, mask, 1.0)(x, t)
    assert [(len(seen), dropped) for seen, dropped in module.calls] == [(1, None)]
    assert torch.equal(result, module(x, t, mask))
    null = module(x, t, mask, torch.tensor([True]))
    torch.testing.assert_close(guided(module, mask, 0.0)(x, t), null, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_one_pass_a_class_pastes_passes_of_single_classes(scale: float) -> None:
    module, mask = Network(), masks((0, 3), (2, 1), (1, 1))
    x, t = normal_noise([1, 2, 3], SHAPE, "cpu"), torch.tensor([10, 500, 900])
    result = one_pass_per_class(module, mask, scale)(x, t)
    forwards = sum(len(seen) for seen, _ in module.calls)
    assert forwards == (5 if scale == 1 else 10)  # two classes, two, and one
    for row, classes in enumerate([(0, 3), (2, 1), (1, 1)]):
        for index, columns in zip(classes, (slice(0, 3), slice(3, 8)), strict=True):
            alone = torch.where(mask == index, mask, 0)[row : row + 1]
            expected = guided(module, alone, scale)(x[row : row + 1], t[row : row + 1])
            torch.testing.assert_close(result[row, :, :, columns], expected[0, :, :, columns], rtol=0, atol=1e-5)


def test_one_pass_a_class_never_shows_the_network_two_classes() -> None:
    module, mask = Network(), torch.arange(64, dtype=torch.int64).remainder(5).expand(1, 1, 64, 64)
    x = normal_noise([1], SHAPE, "cpu")
    ddim(one_pass_per_class(module, mask, 2.0), schedule(), x, prediction="v", steps=3)
    assert {frozenset(torch.unique(seen).tolist()) - {0} for seen, _ in module.calls} == {
        frozenset(),
        *(frozenset({index}) for index in range(1, 5)),
    }
    assert len(module.calls) == 3 * 5


def test_outside_the_interval_the_null_prediction_is_not_computed() -> None:
    module, mask, levels = Network(), masks((0, 1), (2, 1)), schedule()
    within = levels_within(levels, 0.3, 0.6)
    first, last = within.index(True), len(within) - 1 - within[::-1].index(True)
    denoise = guided(module, mask, 3.0, levels_T=within)
    x = normal_noise([1, 2], SHAPE, "cpu")
    for level in (0, first - 1, first, last, last + 1, 999):
        t = torch.full((2,), level)
        module.calls.clear()
        found = denoise(x, t)
        inside = first <= level <= last
        assert [len(seen) for seen, _ in module.calls] == [4 if inside else 2]
        plain = guided(module, mask, 3.0 if inside else 1.0)(x, t)
        assert torch.equal(found, plain)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_an_interval_is_of_the_same_noise_for_each_schedule(kind: str) -> None:
    levels = schedule(kind, zero=True)
    ratio = levels.noise_T / levels.signal_T
    assert levels_within(levels, 0.25, 0.5) == ((ratio >= 1 / 3) & (ratio <= 1)).tolist()
    assert all(levels_within(levels, 0.0, 1.0)), "pure noise, too"
    assert sum(levels_within(levels, 0.99999, 1.0)) >= 1


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_rescaling_is_the_one_of_diffusers() -> None:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    strong, found = normal_noise([1, 2], SHAPE, "cpu"), 3 * normal_noise([3, 4], SHAPE, "cpu") + 1
    for share in (0.3, 0.7, 1.0):
        torch.testing.assert_close(rescaled(found, strong, share), rescale_noise_cfg(found, strong, share))
    kept = rescaled(found, strong, 1.0).std(dim=(1, 2, 3))
    torch.testing.assert_close(kept, strong.std(dim=(1, 2, 3)))
    assert torch.equal(rescaled(torch.ones(1, *SHAPE), strong[:1], 1.0), torch.ones(1, *SHAPE))


def test_a_rescaled_picture_does_not_depend_on_its_batch() -> None:
    module, mask = Network(), masks((0, 1), (2, 1), (1, 1))
    x, t = normal_noise([1, 2, 3], SHAPE, "cpu"), torch.full((3,), 500)
    together = guided(module, mask, 3.0, rescale=0.7)(x, t)
    alone = guided(module, mask[1:2], 3.0, rescale=0.7)(x[1:2], t[1:2])
    torch.testing.assert_close(alone, together[1:2], rtol=0, atol=1e-5)
    assert (together - guided(module, mask, 3.0)(x, t)).abs().max() > 0.01


def test_autoguidance_leads_away_from_the_guide_with_the_same_condition() -> None:
    module, guide, mask = Network(), Network(seed=1), masks((0, 1), (2, 1))
    x, t = normal_noise([1, 2], SHAPE, "cpu"), torch.full((2,), 300)
    strong, weak = module(x, t, mask), guide(x, t, mask)
    found = autoguided(module, guide, mask, 2.0)(x, t)
    torch.testing.assert_close(found, weak + 2 * (strong - weak))
    assert all(dropped is None for _, dropped in [*module.calls, *guide.calls]), "no null pass"
    guide.calls.clear()
    within = levels_within(schedule(), 0.9, 1.0)
    assert torch.equal(autoguided(module, guide, mask, 2.0, levels_T=within)(x, t), strong)
    assert torch.equal(autoguided(module, guide, mask, 1.0)(x, t), strong)
    assert not guide.calls


def test_a_guide_that_is_the_network_changes_nothing() -> None:
    module, mask = Network(), masks((0, 1))
    x, t = normal_noise([1], SHAPE, "cpu"), torch.tensor([300])
    torch.testing.assert_close(
        autoguided(module, Network(), mask, 7.0)(x, t), module(x, t, mask), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("wanted", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("own", ["v", "x0"])
def test_a_converted_prediction_is_of_the_same_x0(own: Prediction, wanted: Prediction) -> None:
    levels, module, mask = schedule(), Network(), masks((0, 1))
    x, t = normal_noise([1], SHAPE, "cpu"), torch.tensor([400])
    converted = predicting(module, levels, own, wanted)(x, t, mask)
    torch.testing.assert_close(
        levels.to_x0(wanted, converted, x, t), levels.to_x0(own, module(x, t, mask), x, t), atol=1e-5, rtol=1e-5
    )
