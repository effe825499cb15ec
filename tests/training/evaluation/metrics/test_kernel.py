"""The kernel distance equals that of torch-fidelity and plain double sums, and its subsets are as asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from histods.errors import HistodsError
from tests.training.evaluation.fidelity import formulas
from training.evaluation.metrics.kernel import kernel_distance


def normal(seed: int, samples: int, width: int = 6, shift: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(shift, size=(samples, width))


def test_the_distance_of_whole_sets_is_that_of_torch_fidelity() -> None:
    first, second = normal(0, 80), normal(1, 80, shift=0.5)
    kid = formulas("metric_kid")
    theirs = kid.kid_features_to_metric(
        torch.from_numpy(first), torch.from_numpy(second), kid_subsets=3, kid_subset_size=80, verbose=False
    )
    ours = kernel_distance(first, second, seed=0, subsets=3, size=80)
    assert ours.mean == pytest.approx(theirs[kid.KEY_METRIC_KID_MEAN], rel=1e-10)
    assert ours.deviation == pytest.approx(0, abs=1e-12)


def test_the_distance_over_subsets_agrees_with_torch_fidelity() -> None:
    first, second = normal(0, 300), normal(1, 400, shift=0.5)
    kid = formulas("metric_kid")
    theirs = kid.kid_features_to_metric(
        torch.from_numpy(first), torch.from_numpy(second), kid_subsets=200, kid_subset_size=50, verbose=False
    )
    ours = kernel_distance(first, second, seed=0, subsets=200, size=50)
    mean, deviation = theirs[kid.KEY_METRIC_KID_MEAN], theirs[kid.KEY_METRIC_KID_STD]
    assert ours.mean == pytest.approx(mean, abs=5 * deviation * np.sqrt(2 / 200))
    assert ours.deviation == pytest.approx(deviation, rel=0.3)


def test_the_distance_is_a_plain_double_sum() -> None:
    first, second = normal(2, 7, width=3), normal(3, 7, width=3)

    def kernel(x: Any, y: Any) -> float:
        return float((sum(a * b for a, b in zip(x, y, strict=True)) / 3 + 1) ** 3)

    within = sum(kernel(s[i], s[j]) for s in (first, second) for i in range(7) for j in range(7) if i != j)
    across = sum(kernel(x, y) for x in first for y in second)
    expected = within / (7 * 6) - 2 * across / 49
    assert kernel_distance(first, second, seed=0, subsets=1, size=7).mean == pytest.approx(expected, rel=1e-12)


def test_sets_of_one_distribution_are_at_distance_zero_on_average() -> None:
    values = [
        kernel_distance(normal(seed, 40), normal(seed + 1000, 40), seed=0, subsets=1, size=40).mean
        for seed in range(300)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)


def test_subsets_are_a_function_of_the_seed() -> None:
    first, second = normal(0, 50), normal(1, 50)
    ours = [kernel_distance(first, second, seed=seed, subsets=5, size=20) for seed in (0, 0, 1)]
    assert ours[0] == ours[1] != ours[2]
    assert ours[0].deviation > 0  # the subsets differ


def test_subsets_of_both_sides_are_drawn_independently() -> None:
    features = normal(0, 400)
    products = (features @ features.T / 6 + 1) ** 3
    own, others = np.diag(products).mean(), (products.sum() - np.trace(products)) / (400 * 399)
    # Two subsets share a sample in one of 400 pairs; if they were the same, in one of 20.
    found = kernel_distance(features, features, seed=0, subsets=300, size=20)
    assert found.mean == pytest.approx(-2 * (own - others) / 400, abs=4 * found.deviation / np.sqrt(300))
    assert found.mean > -0.5 * (own - others) / 20


def test_the_order_of_sets_and_samples_does_not_matter_to_whole_sets() -> None:
    first, second = normal(0, 30), normal(1, 30, shift=1.0)
    expected = pytest.approx(kernel_distance(first, second, seed=0, subsets=1, size=30).mean, rel=1e-12)
    assert kernel_distance(second, first, seed=0, subsets=1, size=30).mean == expected
    assert kernel_distance(first[::-1], second, seed=3, subsets=1, size=30).mean == expected


def test_fewer_samples_than_a_subset_are_refused_with_their_number() -> None:
    with pytest.raises(HistodsError, match=r"A set has 999 samples, fewer than a subset .*1,000"):
        kernel_distance(normal(0, 1000), normal(1, 999), seed=0)


@pytest.mark.parametrize(("subsets", "size"), [(0, 10), (1, 1), (1, 0)])
def test_subsets_without_pairs_are_refused(subsets: int, size: int) -> None:
    with pytest.raises(HistodsError, match="take 1 or more of 2 or more"):
        kernel_distance(normal(0, 10), normal(1, 10), seed=0, subsets=subsets, size=size)


def test_constant_features_have_the_distance_of_their_values() -> None:
    ones, twos = np.ones((5, 1)), np.full((5, 1), 2.0)
    assert kernel_distance(ones, ones, seed=0, subsets=2, size=5) == (0.0, 0.0)
    assert kernel_distance(ones, twos, seed=0, subsets=2, size=5).mean == pytest.approx(2**3 + 5**3 - 2 * 3**3)
