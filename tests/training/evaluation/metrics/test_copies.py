"""Planted copies are found by both measures, independent samples are not, and numbers equal plain searches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.sampling.streams import Stream
from training.evaluation.metrics.clusters import find_clusters
from training.evaluation.metrics.copies import LEAST_GENERATED, authentic_percent, data_copying

SEEDS = st.integers(0, 2**32 - 1)


def normal(seed: int, samples: int, width: int = 6) -> Any:
    return np.random.default_rng(seed).normal(size=(samples, width))


def distances(first: Any, second: Any) -> Any:
    return np.sqrt(((first[:, None] - second) ** 2).sum(-1))


@given(seed=SEEDS, samples=st.integers(2, 20), width=st.integers(1, 4))
def test_the_authentic_share_is_that_of_a_plain_search(seed: int, samples: int, width: int) -> None:
    training, generated = normal(seed, samples, width), normal(seed + 1, 15, width)
    count = 0
    for sample in generated:
        near = min(range(samples), key=lambda i: float(distances(sample[None], training[[i]])[0, 0]))
        own = min(float(distances(training[[near]], training[[i]])[0, 0]) for i in range(samples) if i != near)
        count += distances(sample[None], training[[near]])[0, 0] > own
    assert authentic_percent(training, generated) == pytest.approx(100 * count / 15)


def test_planted_copies_are_not_authentic() -> None:
    training, fresh = normal(0, 200), normal(1, 100)
    among_fresh = authentic_percent(training, fresh)
    assert 30 < among_fresh < 70
    assert authentic_percent(training, training[:50]) == 0
    assert authentic_percent(training, training[:50] + 1e-6) == 0
    mixed = np.concatenate([fresh, training[:100]])
    assert authentic_percent(training, mixed) == pytest.approx(among_fresh / 2)


def test_order_and_rotation_do_not_matter() -> None:
    training, test, generated = normal(0, 300), normal(1, 200), normal(2, 250)
    turn, _ = np.linalg.qr(normal(3, 6))
    random = np.random.default_rng(0)
    expected = authentic_percent(training, generated)
    assert authentic_percent(random.permutation(training), random.permutation(generated)) == expected
    assert authentic_percent(training @ turn, generated @ turn) == pytest.approx(expected)
    statistic = data_copying(training, test, generated, seed=0, cells=1).statistic
    turned = data_copying(training @ turn, random.permutation(test @ turn), generated @ turn, seed=0, cells=1)
    assert turned.statistic == pytest.approx(statistic)


def by_scipy(training: Any, test: Any, generated: Any, cells: int) -> tuple[float, int]:
    """C_T with the U of scipy, and the number of cells that do not count."""
    centres = find_clusters(training, cells, seed=0, stream=Stream.COPYING_CELLS)
    places = [distances(x, centres).argmin(1) for x in (training, test, generated)]
    total = weights = without = 0.0
    for cell in range(cells):
        t, p, q = (x[place == cell] for x, place in zip((training, test, generated), places, strict=True))
        if len(q) < LEAST_GENERATED or not len(p):
            without += 1
            continue
        u = scipy.stats.mannwhitneyu(distances(q, t).min(1), distances(p, t).min(1)).statistic
        n, m = len(q), len(p)
        total += len(p) / len(test) * (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
        weights += len(p) / len(test)
    return total / weights, int(without)


@pytest.mark.parametrize(("cells", "generated"), [(1, 100), (4, 300), (8, 150)])
def test_the_statistic_is_that_of_scipy_s_mann_whitney(cells: int, generated: int) -> None:
    training, test, fresh = normal(0, 300, 2), normal(1, 160, 2), normal(2, generated, 2) * 0.7
    expected, without = by_scipy(training, test, fresh, cells)
    found = data_copying(training, test, fresh, seed=0, cells=cells)
    assert found.statistic == pytest.approx(expected, rel=1e-9)
    assert [cell.z for cell in found.cells].count(None) == without
    assert without > 0 or cells < 8  # cells with few samples are tested, too


def test_ties_count_half_in_the_statistic() -> None:
    training, test = np.array([[0.0], [10.0]]), np.array([[1.0], [2.0], [10.0], [12.0]])
    generated = np.repeat([[1.0], [11.0], [13.0]], 10, axis=0)
    expected, _ = by_scipy(training, test, generated, 1)
    assert data_copying(training, test, generated, seed=0, cells=1).statistic == pytest.approx(expected, rel=1e-12)


def test_independent_samples_have_a_statistic_about_zero() -> None:
    values = [
        data_copying(*(normal(3 * seed + part, 200) for part in range(3)), seed=seed, cells=2).statistic
        for seed in range(60)
    ]
    # Two cells of like size: each z has deviation 1, so their mean has about 0.7.
    assert abs(np.mean(values)) < 4 * 0.72 / math.sqrt(60)
    assert 0.5 < np.std(values) < 0.95


def test_planted_copies_make_the_statistic_very_negative_and_poor_samples_very_positive() -> None:
    training, test, fresh = normal(0, 500), normal(1, 300), normal(2, 400)
    assert data_copying(training, test, training[:400] + 1e-3 * fresh, seed=0, cells=3).statistic < -8
    some = np.concatenate([training[:200], fresh[:200]])
    assert data_copying(training, test, some, seed=0, cells=3).statistic < -3
    assert data_copying(training, test, 2 * fresh, seed=0, cells=3).statistic > 3


def test_cells_have_the_numbers_of_their_samples() -> None:
    centres = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    sets = [
        np.concatenate([normal(seed + 10 * part, size, 2) + centres[part] for part, size in enumerate(sizes)])
        for seed, sizes in enumerate([(60, 40, 20), (30, 10, 5), (25, 20, 19)])
    ]
    found = data_copying(*sets, seed=0, cells=3)
    assert [cell[:3] for cell in found.cells] == [(60, 30, 25), (40, 10, 20), (20, 5, 19)]
    first, second, third = (cell.z for cell in found.cells)
    assert first is not None
    assert second is not None
    assert third is None  # 19 generated samples
    assert found.statistic == pytest.approx((30 * first + 10 * second) / 40)


def test_constant_features_tell_nothing() -> None:
    ones = np.ones((30, 2))
    assert data_copying(ones, ones, ones, seed=0).statistic == 0
    assert authentic_percent(ones, ones) == 0


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(HistodsError, match="None of 2 cells has a test sample and 20 of 19 generated samples"):
        data_copying(normal(0, 30), normal(1, 30), normal(2, 19), seed=0, cells=2)
    with pytest.raises(HistodsError, match="number of cells is 0"):
        data_copying(normal(0, 30), normal(1, 30), normal(2, 30), seed=0, cells=0)
    with pytest.raises(HistodsError, match="Each of 1 samples cannot have 1 nearest neighbours"):
        authentic_percent(normal(0, 1), normal(1, 5))
