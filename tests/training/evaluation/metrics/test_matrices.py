"""Features that no metric can use are refused by one line; sums over pairs are the same for all cuts."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from histods.errors import HistodsError
from training.evaluation.metrics import matrices
from training.evaluation.metrics.cmmd import cmmd
from training.evaluation.metrics.copies import authentic_percent, data_copying
from training.evaluation.metrics.frechet import frechet_distance
from training.evaluation.metrics.kernel import kernel_distance
from training.evaluation.metrics.matrices import feature_matrices, row_chunks, sum_over_pairs
from training.evaluation.metrics.precision_recall import precision_recall

GOOD = np.random.default_rng(0).normal(size=(60, 4))
METRICS: dict[str, Any] = {
    "frechet": frechet_distance,
    "kernel": lambda first, second: kernel_distance(first, second, seed=0, size=10),
    "cmmd": cmmd,
    "precision": precision_recall,
    "authentic": authentic_percent,
    "copying": lambda first, second: data_copying(first, GOOD, second, seed=0, cells=1),
}


def with_value(value: float) -> Any:
    wrong = GOOD.copy()
    wrong[7, 2] = value
    return wrong


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (with_value(np.nan), "1 of 60 samples.*NaN.*sample 7 .*float32"),
        (with_value(-np.inf), "1 of 60 samples.*infinite.*sample 7 .*float32"),
        (with_value(1e200), "1 of 60 samples.*above 1e20.*sample 7 "),
        (GOOD[:, :3], "different numbers of features.*4.*3|different numbers of features.*3.*4"),
        (GOOD[0], r"shape \(4,\), expected \[samples, features\]"),
        (GOOD[:, :0], r"shape \(60, 0\), expected \[samples, features\]"),
        (GOOD[:0], "(has|have|of) 0 samples.*add images"),
    ],
    ids=["nan", "infinite", "huge", "widths", "vector", "no-features", "no-samples"],
)
def test_features_that_cannot_be_used_are_refused(metric: Any, swapped: bool, wrong: Any, reason: str) -> None:
    with pytest.raises(HistodsError) as caught:
        metric(*((wrong, GOOD) if swapped else (GOOD, wrong)))
    assert re.search(reason, str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_lists_and_single_precision_are_computed_in_double_precision(metric: Any) -> None:
    single = GOOD.astype(np.float32)
    assert metric(single, single[::2].tolist()) == metric(
        single.astype(np.float64), single[::2].astype(np.float64)
    )


def test_the_largest_values_that_are_accepted_do_not_overflow() -> None:
    largest = 1e20 * np.array([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, 0.5]])
    for name, metric in METRICS.items():
        if name != "copying":  # it needs more samples
            with np.errstate(all="raise", under="ignore"):
                value = metric(np.tile(largest, (5, 1)), np.tile(-largest, (5, 1)))
            assert np.isfinite(value).all(), name


def test_what_was_passed_is_never_changed() -> None:
    first, second = GOOD.copy(), GOOD[::-1].copy()
    for metric in METRICS.values():
        metric(first, second)
    np.testing.assert_array_equal(first, GOOD)
    np.testing.assert_array_equal(second, GOOD[::-1])


@pytest.mark.parametrize(("rows", "width"), [(0, 5), (1, 10**9), (7, 3), (1000, 2**21)])
def test_chunks_cover_all_rows_once_and_are_small(rows: int, width: int) -> None:
    chunks = list(row_chunks(rows, width))
    assert [row for chunk in chunks for row in range(chunk.start, chunk.stop)] == list(range(rows))
    assert all(chunk.stop - chunk.start == 1 or (chunk.stop - chunk.start) * width <= 2**22 for chunk in chunks)


def test_a_sum_over_pairs_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    (features,) = feature_matrices(only=GOOD)
    whole = sum_over_pairs(np.exp, features, features[:50])
    monkeypatch.setattr(matrices, "_CHUNK", 120)
    assert sum_over_pairs(np.exp, features, features[:50]) == pytest.approx(whole, rel=1e-12)
