"""Intervals cover what they promise and depend on groups; halves share no group and are as equal as can be."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from training.evaluation.metrics import intervals
from training.evaluation.metrics.frechet import frechet_distance
from training.evaluation.metrics.intervals import GroupedSet, Interval, Resampled, bootstrap, halves
from training.evaluation.metrics.resampled import by_rows, resampled_frechet

if TYPE_CHECKING:
    from collections.abc import Callable


def slides(random: Any, count: int, each: int, width: int = 1, shift: float = 0.0) -> tuple[Any, list[str]]:
    """Samples that have most of their variance in common with their slide."""
    effects = np.repeat(random.normal(shift, 1.0, size=(count, width)), each, axis=0)
    features = effects + 0.3 * random.normal(size=(count * each, width))
    return features, [f"slide {number // each}" for number in range(count * each)]


def mean_difference(real: Any, generated: Any) -> float:
    return float(generated.mean() - real.mean())


def share_covered(metric: Any, prepare: Any, width: int, shift: float) -> float:
    """The share of 100 intervals that contain the mean of the metric over data sets."""
    random = np.random.default_rng(0)
    found: list[tuple[float, Interval]] = []
    for number in range(100):
        real, real_groups = slides(random, 20, 6, width)
        generated, generated_groups = slides(random, 25, 4, width, shift)
        found.append(
            (
                metric(real, generated),
                bootstrap(prepare, real, real_groups, generated, generated_groups, seed=number, draws=60),
            )
        )
    expected = np.mean([value for value, _ in found])
    return float(np.mean([low <= expected <= high for _, (low, high) in found]))


def test_intervals_of_a_mean_cover_its_expected_value() -> None:
    assert 0.87 <= share_covered(mean_difference, by_rows(mean_difference), 1, 1.0) <= 0.99


def test_intervals_of_a_frechet_distance_cover_its_expected_value() -> None:
    assert 0.85 <= share_covered(frechet_distance, resampled_frechet, 2, 2.0) <= 0.99


def test_images_that_are_drawn_one_by_one_would_give_intervals_that_are_too_small() -> None:
    real, groups = slides(np.random.default_rng(0), 20, 50)
    generated, other_groups = slides(np.random.default_rng(1), 20, 50)
    by_slide = bootstrap(by_rows(mean_difference), real, groups, generated, other_groups, seed=0)
    by_image = bootstrap(by_rows(mean_difference), real, [None] * 1000, generated, [None] * 1000, seed=0)
    assert by_slide.high - by_slide.low > 4 * (by_image.high - by_image.low)


def test_an_interval_is_moved_from_its_draws_to_the_metric() -> None:
    # Repeated slides make all distances larger: without the move, the interval begins above the metric.
    real, groups = slides(np.random.default_rng(0), 8, 5, 6)
    generated, other_groups = slides(np.random.default_rng(1), 8, 5, 6)
    low, high = bootstrap(resampled_frechet, real, groups, generated, other_groups, seed=0, draws=100)
    assert low < frechet_distance(real, generated) < high


def test_both_sides_are_drawn_independently() -> None:
    features, groups = slides(np.random.default_rng(0), 20, 5)
    low, high = bootstrap(by_rows(mean_difference), features, groups, features, groups, seed=0)
    expected = 2 * 1.96 * np.sqrt(2 * features.reshape(20, 5).mean(axis=1).var() / 20)
    assert high - low == pytest.approx(expected, rel=0.2)


def test_an_interval_contains_the_metric_and_is_a_function_of_the_seed() -> None:
    real, groups = slides(np.random.default_rng(0), 8, 5, 3)
    generated, other_groups = slides(np.random.default_rng(1), 6, 7, 3, 0.5)
    found = [
        bootstrap(resampled_frechet, real, groups, generated, other_groups, seed=seed, draws=50)
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]
    assert found[0].low < frechet_distance(real, generated) < found[0].high


def test_the_order_of_samples_does_not_matter() -> None:
    real, groups = slides(np.random.default_rng(0), 8, 5, 3)
    order = np.random.default_rng(2).permutation(40)
    found = [
        bootstrap(resampled_frechet, x, names, real + 1, groups, seed=0, draws=40)
        for x, names in ((real, groups), (real[order], [groups[place] for place in order]))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_groups_that_are_alike_give_an_interval_without_width() -> None:
    features = np.tile([[0.0], [1.0], [4.0]], (5, 1))
    groups = [f"slide {number // 3}" for number in range(15)]
    low, high = bootstrap(by_rows(mean_difference), features, groups, features + 2, groups, seed=0)
    assert low == pytest.approx(2)
    assert high == pytest.approx(2)


def only_merged(real: GroupedSet, generated: GroupedSet) -> Resampled:
    """The difference of means of sets that have 100 groups of 20 samples each."""
    assert np.bincount(real.groups_N).tolist() == np.bincount(generated.groups_N).tolist() == [20] * 100
    return by_rows(mean_difference)(real, generated)


def test_very_many_groups_are_merged_without_changing_the_interval_much(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = np.random.default_rng(0).normal(size=(2, 2000, 1))
    ungrouped = [None] * 2000
    all_groups = bootstrap(by_rows(mean_difference), real, ungrouped, generated, ungrouped, seed=0, draws=400)
    monkeypatch.setattr(intervals, "MOST_GROUPS", 100)
    merged = bootstrap(only_merged, real, ungrouped, generated, ungrouped, seed=0, draws=400)
    assert merged.high - merged.low == pytest.approx(all_groups.high - all_groups.low, rel=0.25)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda x: bootstrap(resampled_frechet, x, ["a"] * 4, x, list("abcd"), seed=0), "real set are of 1 group"),
        (
            lambda x: bootstrap(resampled_frechet, x, list("abcd"), x, ["a"] * 4, seed=0),
            "generated set are of 1 gr",
        ),
        (
            lambda x: bootstrap(resampled_frechet, x, list("abc"), x, list("abcd"), seed=0),
            "4 samples and 3 groups",
        ),
        (
            lambda x: bootstrap(resampled_frechet, x, list("abcd"), x, list("abcd"), seed=0, draws=39),
            "at least 40",
        ),
        (lambda _: halves(["a"] * 4, seed=0), "are of 1 group, and this needs at least 2"),
        (lambda _: halves([], seed=0), "are of 0 group, and this needs at least 2"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: Callable[[Any], Any], reason: str) -> None:
    with pytest.raises(HistodsError, match=reason):
        call(np.random.default_rng(0).normal(size=(4, 2)))


@given(sizes=st.lists(st.integers(1, 12), min_size=2, max_size=9), seed=st.integers(0, 2**32 - 1))
def test_halves_share_no_group_and_are_as_equal_as_groups_permit(sizes: list[int], seed: int) -> None:
    groups = [f"slide {number}" for number, size in enumerate(sizes) for _ in range(size)]
    first, second = halves(groups, seed=seed)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(groups)))
    assert not {groups[place] for place in first} & {groups[place] for place in second}
    assert len(first)
    assert len(second)
    every = [sum(part) for count in range(1, len(sizes)) for part in combinations(sizes, count)]
    assert abs(len(first) - len(second)) == min(abs(len(groups) - 2 * part) for part in every)


def test_halves_differ_by_seed_and_repeat_with_it() -> None:
    groups = [f"slide {number % 30}" for number in range(300)]
    found = [halves(groups, seed=seed)[0].tolist() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    often = sum(0 in halves(groups, seed=seed)[0] for seed in range(200))
    assert 60 < often < 140  # a slide is in the first half about half of the time


def test_samples_without_a_group_are_halved_one_by_one() -> None:
    first, second = halves([None] * 7, seed=0)
    assert sorted([len(first), len(second)]) == [3, 4]
    one, other = halves(["sample 1", None, None, "sample 1"], seed=0)  # no name is taken for a sample without one
    assert sorted([one.tolist(), other.tolist()]) == [[0, 3], [1, 2]]
