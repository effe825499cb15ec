"""What is prepared for all draws gives the values of the metrics themselves on the rows of a draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from training.evaluation.metrics import resampled
from training.evaluation.metrics.cmmd import cmmd
from training.evaluation.metrics.copies import authentic_percent, data_copying
from training.evaluation.metrics.frechet import frechet_distance
from training.evaluation.metrics.intervals import GroupedSet, Resampled
from training.evaluation.metrics.kernel import kernel_distance
from training.evaluation.metrics.precision_recall import precision_recall
from training.evaluation.metrics.resampled import (
    by_rows,
    resampled_authentic,
    resampled_cmmd,
    resampled_copying,
    resampled_frechet,
    resampled_kernel,
    resampled_precision,
    resampled_recall,
)

TRAINING = np.random.default_rng(9).normal(size=(80, 3))
SEEDS = st.integers(0, 2**32 - 1)


def grouped(seed: int, samples: int, groups: int, shift: float = 0.0) -> GroupedSet:
    random = np.random.default_rng(seed)
    numbers = random.permutation(np.arange(samples) % groups)
    return GroupedSet(random.normal(shift, size=(samples, 3)), numbers, groups)


def ones(drawn: GroupedSet) -> Any:
    return np.ones(drawn.groups, dtype=np.int64)


PREPARED: dict[str, tuple[Any, Any]] = {
    "frechet": (resampled_frechet, frechet_distance),
    "kernel": (resampled_kernel, lambda x, y: kernel_distance(x, y, seed=0, subsets=1, size=60).mean),
    "cmmd": (resampled_cmmd, cmmd),
    "precision": (resampled_precision, lambda x, y: precision_recall(x, y).precision),
    "recall": (resampled_recall, lambda x, y: precision_recall(x, y).recall),
    "authentic": (resampled_authentic(TRAINING), lambda _, y: authentic_percent(TRAINING, y)),
    "copying": (
        resampled_copying(TRAINING, seed=3, cells=2),
        lambda x, y: data_copying(TRAINING, x, y, seed=3, cells=2).statistic,
    ),
    "rows": (by_rows(frechet_distance), frechet_distance),
}


@pytest.mark.parametrize(("prepare", "metric"), PREPARED.values(), ids=PREPARED)
def test_a_draw_of_each_group_once_has_the_value_of_the_metric(prepare: Any, metric: Any) -> None:
    real, generated = grouped(0, 60, 7), grouped(1, 60, 5, shift=0.4)
    value = prepare(real, generated)(ones(real), ones(generated))
    assert value == pytest.approx(metric(real.features_ND, generated.features_ND), rel=1e-9)


@pytest.mark.parametrize("name", ["frechet", "cmmd", "authentic", "copying", "rows"])
@given(seed=SEEDS)
def test_a_draw_has_the_value_of_the_metric_on_its_rows(name: str, seed: int) -> None:
    prepare, metric = PREPARED[name]
    real, generated = grouped(seed, 60, 6), grouped(seed + 1, 70, 5, shift=0.4)
    random = np.random.default_rng(seed)
    counts = np.bincount(random.integers(0, 6, 6), minlength=6), np.bincount(random.integers(0, 5, 5), minlength=5)
    expected = metric(real.features_ND[real.rows(counts[0])], generated.features_ND[generated.rows(counts[1])])
    assert prepare(real, generated)(*counts) == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_covariances_from_rows_are_those_from_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = grouped(0, 50, 6, shift=100.0), grouped(1, 40, 5)
    counts = np.array([0, 3, 1, 1, 1, 0]), np.array([2, 0, 0, 2, 1])
    from_sums = resampled_frechet(real, generated)(*counts)
    monkeypatch.setattr(resampled, "_SUMS_BYTES", 0)
    assert resampled_frechet(real, generated)(*counts) == pytest.approx(from_sums, rel=1e-9)


def kernel(x: Any, y: Any) -> float:
    return float((x @ y / 3 + 1) ** 3)


def mean_of_others(features: Any, rows: Any) -> float:
    return float(np.mean([kernel(features[i], features[j]) for i in rows for j in rows if i != j]))


def test_a_sample_and_its_repetition_are_not_a_pair_of_the_kernel_distance() -> None:
    real, generated = grouped(0, 9, 3), grouped(1, 8, 4, shift=0.4)
    counts = np.array([2, 0, 1]), np.array([0, 3, 1, 0])
    x, y = real.rows(counts[0]), generated.rows(counts[1])
    across = np.mean([kernel(real.features_ND[i], generated.features_ND[j]) for i in x for j in y])
    expected = mean_of_others(real.features_ND, x) + mean_of_others(generated.features_ND, y) - 2 * across
    assert resampled_kernel(real, generated)(*counts) == pytest.approx(expected, rel=1e-10)


def test_a_draw_of_one_sample_has_no_kernel_distance() -> None:
    real, generated = grouped(0, 2, 2), grouped(1, 8, 4)
    with pytest.raises(HistodsError, match="one sample only, repeated; add images"):
        resampled_kernel(real, generated)(np.array([2, 0]), ones(generated))


@given(seed=SEEDS)
def test_balls_of_a_draw_are_those_of_the_whole_set(seed: int) -> None:
    real, generated = grouped(seed, 30, 5), grouped(seed + 1, 20, 4)
    counts = np.array([2, 0, 3, 0, 0]), np.array([1, 0, 2, 1])

    def share(centres: GroupedSet, drawn: Any, queries: GroupedSet, often: Any) -> float:
        within = np.sqrt(((centres.features_ND[:, None] - centres.features_ND) ** 2).sum(-1))
        radii = np.sort(within, axis=1)[:, 3]
        apart = np.sqrt(((queries.features_ND[:, None] - centres.features_ND) ** 2).sum(-1))
        inside = (apart <= radii)[:, np.isin(centres.groups_N, np.flatnonzero(drawn))].any(axis=1)
        return float(np.mean(inside[queries.rows(often)]))

    precision, recall = (metric(real, generated)(*counts) for metric in (resampled_precision, resampled_recall))
    assert precision == pytest.approx(share(real, counts[0], generated, counts[1]))
    assert recall == pytest.approx(share(generated, counts[1], real, counts[0]))


def test_repetitions_do_not_change_precision() -> None:
    real, generated = grouped(0, 40, 4), grouped(1, 30, 3)
    metric: Resampled = resampled_precision(real, generated)
    assert metric(ones(real), ones(generated)) == metric(5 * ones(real), 2 * ones(generated))
