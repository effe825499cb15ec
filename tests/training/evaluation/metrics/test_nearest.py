"""Nearest neighbours are those of a search by differences for all chunks, and copies are at distance zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from training.evaluation.metrics import matrices
from training.evaluation.metrics.nearest import (
    inside_any_ball,
    inside_balls_of_groups,
    nearest_neighbours,
    neighbours_within,
)

SEEDS = st.integers(0, 2**32 - 1)


def normal(seed: int, samples: int, width: int = 4) -> Any:
    return np.random.default_rng(seed).normal(size=(samples, width))


def brute(queries: Any, points: Any, k: int, *, itself: bool) -> list[list[tuple[float, int]]]:
    return [
        sorted(
            (float(np.sqrt(((query - point) ** 2).sum())), column)
            for column, point in enumerate(points)
            if not (itself and row == column)
        )[:k]
        for row, query in enumerate(queries)
    ]


@given(seed=SEEDS, samples=st.integers(4, 40), width=st.integers(1, 6), k=st.integers(1, 3))
def test_neighbours_are_those_of_a_plain_search(seed: int, samples: int, width: int, k: int) -> None:
    points = np.round(normal(seed, samples, width), 1)  # some are equal, and some equally far
    queries = np.round(normal(seed + 1, samples + 5, width), 1)
    for found, expected in (
        (nearest_neighbours(queries, points, k), brute(queries, points, k, itself=False)),
        (neighbours_within(points, k), brute(points, points, k, itself=True)),
    ):
        distances = [[distance for distance, _ in row] for row in expected]
        np.testing.assert_allclose(found.distances_NK, distances, rtol=1e-12)
        assert (np.diff(found.distances_NK, axis=1) >= 0).all()


def test_of_equally_near_points_the_first_is_found() -> None:
    points = np.array([[2.0], [1.0], [-1.0], [1.0], [0.5]])
    assert nearest_neighbours(np.zeros((1, 1)), points, 4).indices_NK.tolist() == [[4, 1, 2, 3]]


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_copies_are_at_distance_zero_exactly(shift: float) -> None:
    points = normal(0, 50, 64) + shift
    found = nearest_neighbours(points[::-1], points)
    assert (found.distances_NK == 0).all()
    assert found.indices_NK[:, 0].tolist() == list(range(50))[::-1]


def test_a_copy_in_another_row_is_a_neighbour_and_the_row_itself_is_not() -> None:
    points = np.array([[0.0, 0.0], [5.0, 5.0], [0.0, 0.0], [7.0, 5.0]])
    found = neighbours_within(points)
    assert found.distances_NK[:, 0].tolist() == [0, 2, 0, 2]
    assert found.indices_NK[:, 0].tolist() == [2, 3, 0, 1]


def test_results_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    points, queries, radii = normal(0, 60), normal(1, 50), np.full(60, 0.8)
    whole = (
        nearest_neighbours(queries, points, 3),
        neighbours_within(points, 3),
        inside_any_ball(queries, points, radii),
    )
    monkeypatch.setattr(matrices, "_CHUNK", 7 * 60)
    cut = (
        nearest_neighbours(queries, points, 3),
        neighbours_within(points, 3),
        inside_any_ball(queries, points, radii),
    )
    for first, second in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(first, second)


@given(seed=SEEDS, samples=st.integers(1, 30), width=st.integers(1, 3))
def test_a_query_is_in_a_ball_up_to_its_surface(seed: int, samples: int, width: int) -> None:
    centres = np.round(10 * normal(seed, samples, width))  # whole numbers, so that some are just on a surface
    queries = np.concatenate([np.round(10 * normal(seed + 1, 20, width)), centres])
    radii = np.round(np.random.default_rng(seed).uniform(0, 5, samples))
    distances = np.sqrt(((queries[:, None] - centres) ** 2).sum(-1))
    np.testing.assert_array_equal(inside_any_ball(queries, centres, radii), (distances <= radii).any(axis=1))
    groups = np.random.default_rng(seed).permutation(np.arange(samples) % 3)
    count = min(samples, 3)
    expected = [
        (distances[:, groups == group] <= radii[groups == group] + 1e-9).any(axis=1) for group in range(count)
    ]
    np.testing.assert_array_equal(inside_balls_of_groups(queries, centres, radii, groups, count), expected)


@pytest.mark.parametrize("k", [0, 5])
def test_more_neighbours_than_points_are_refused(k: int) -> None:
    with pytest.raises(HistodsError, match=f"Each of 5 samples cannot have {k} nearest neighbours.* 1 to 4"):
        neighbours_within(normal(0, 5), k)
