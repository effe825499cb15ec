"""Metrics beside what real images differ from real ones."""

from __future__ import annotations

import numpy as np
import pytest

from histods.io.evaluation_file import METRICS, Distance
from histods.records import silent
from training.evaluation.distances import Features, cut_in_halves, distances


def _sets(shift: float, images: int = 240, slides: int = 12, width: int = 6) -> tuple[Features, Features]:
    """Real features whose slides differ a little, and others moved away."""
    random = np.random.default_rng(0)
    groups = [f"slide {index % slides}" for index in range(images)]
    of_slide = random.normal(0, 0.3, (slides, width))
    places = np.arange(images) % slides
    half = cut_in_halves(groups, 0)
    true = of_slide[places] + random.normal(size=(images, width))
    made = of_slide[places] + random.normal(size=(images, width)) + shift
    return (
        Features(values_ND=true, groups=groups, half_N=half),
        Features(values_ND=made, groups=groups, half_N=half),
    )


def _found(shift: float) -> dict[str, Distance]:
    real, made = _sets(shift)
    return distances(real, made, seed=0, progress=silent)


def _known(value: float | None) -> float:
    assert value is not None
    return value


def test_a_perfect_generator_is_near_the_floor_and_a_poor_one_far_above_it() -> None:
    good, poor = _found(0.0), _found(2.0)
    for name in ("frechet", "cmmd"):
        near, floor = _known(good[name].of_half), _known(good[name].floor)
        assert near < 3 * floor + 0.05
        assert _known(poor[name].of_half) > 5 * near
        assert poor[name].floor == floor
    for name in ("precision", "recall"):
        assert _known(poor[name].value) < _known(good[name].value)


def test_every_value_lies_in_its_interval() -> None:
    for one in _found(1.0).values():
        if one.low is not None:
            assert one.low <= _known(one.value) <= _known(one.high)


def test_a_kid_of_too_few_images_is_refused_with_the_number_and_the_others_stay() -> None:
    found = _found(0.0)
    assert set(found) == set(METRICS)
    assert found["kernel"].value is None
    assert "240" in str(found["kernel"].reason)
    assert all(found[name].value is not None for name in METRICS if name != "kernel")


def test_images_of_one_slide_have_no_interval_and_no_floor_and_it_says_so() -> None:
    real, made = _sets(0.0)
    assert cut_in_halves(["one"] * 4, 0) is None
    alone = [Features(values_ND=one.values_ND, groups=["one"] * 240, half_N=None) for one in (real, made)]
    found = distances(*alone, seed=0, progress=silent)["frechet"]
    assert (found.low, found.floor) == (None, None)
    assert "one slide" in str(found.reason)


def test_halves_never_share_a_slide() -> None:
    real, _ = _sets(0.0)
    assert real.half_N is not None
    of = list(zip(real.groups, real.half_N.tolist(), strict=True))
    sides = [{group for group, half in of if half == side} for side in (0, 1)]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    assert len(real.of_half(0)) + len(real.of_half(1)) == len(real.values_ND)


def test_features_that_are_no_numbers_are_said_instead_of_ending_everything() -> None:
    real, made = _sets(0.0)
    made.values_ND[3, 2] = np.nan
    found = distances(real, made, seed=0, progress=silent)
    assert all(one.value is None and one.reason for one in found.values())


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_numbers(seed: int) -> None:
    real, made = _sets(0.5)
    first = distances(real, made, seed=seed, progress=silent)
    assert first == distances(real, made, seed=seed, progress=silent)


def test_no_interval_leaves_the_range_of_its_metric() -> None:
    real, made = _sets(0.0, images=20, slides=2)
    found = distances(real, made, seed=0, progress=silent)
    for name in ("frechet", "cmmd", "precision", "recall"):
        low, high = _known(found[name].low), _known(found[name].high)
        assert 0 <= low <= _known(found[name].value) <= high
        assert name in ("frechet", "cmmd") or high <= 1
