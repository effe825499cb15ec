"""Nearest neighbours among tens of thousands of samples, in chunks, without a matrix of all distances.

A matrix product finds candidates quickly, but rounds: by it, a sample may be 1e-7 away from its copy. So the
distances of the best candidates are computed again from differences, and these decide. Copies are at distance 0
exactly, and results do not depend on how rows are cut into chunks.

Shapes: N queries, M points, D features, K neighbours, C candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from histods.errors import HistodsError
from training.evaluation.metrics.matrices import row_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from training.evaluation.metrics.matrices import Matrix

_SPARE = 8
"""Candidates besides the neighbours that are asked for, so that rounding does not exclude one of these."""


class Neighbours(NamedTuple):
    """The nearest points of each query, the nearest first; of equally near ones that with the smaller index.

    Attributes:
        distances_NK: float64, Euclidean.
        indices_NK: int64, rows of the points.
    """

    distances_NK: Matrix
    indices_NK: NDArray[np.int64]


def nearest_neighbours(queries_ND: Matrix, points_MD: Matrix, k: int = 1) -> Neighbours:
    """The k nearest points of each query.

    Raises:
        HistodsError: there are fewer than k points.
    """
    return _search(queries_ND, points_MD, k, itself=False)


def neighbours_within(points_MD: Matrix, k: int = 1) -> Neighbours:
    """The k nearest other points of each point; a copy in another row is another point.

    Raises:
        HistodsError: there are fewer than k + 1 points.
    """
    return _search(points_MD, points_MD, k, itself=True)


def inside_any_ball(queries_ND: Matrix, centres_MD: Matrix, radii_M: Matrix) -> NDArray[np.bool_]:
    """Whether each query is in a ball around a centre, or on its surface; of shape [N]."""
    inside_N = np.empty(len(queries_ND), dtype=bool)
    candidates = min(_SPARE, len(centres_MD))
    for rows, squares in _squared_distances(queries_ND, centres_MD, candidates):
        chosen = _smallest(squares - radii_M * radii_M, candidates)
        inside_N[rows] = (_distances(queries_ND[rows], centres_MD, chosen) <= radii_M[chosen]).any(axis=1)
    return inside_N


def inside_balls_of_groups(
    queries_ND: Matrix, centres_MD: Matrix, radii_M: Matrix, groups_M: NDArray[np.int64], groups: int
) -> NDArray[np.bool_]:
    """Whether each query is in a ball around a centre of each group, of shape [groups, N].

    Unlike `inside_any_ball`, it counts a query as inside that is outside by the rounding of distances at most.
    """
    order_M = np.argsort(groups_M, kind="stable")
    centres_MD, squared_radii_M = centres_MD[order_M], radii_M[order_M] ** 2
    starts_G = np.searchsorted(groups_M[order_M], np.arange(groups))
    inside_GN = np.empty((groups, len(queries_ND)), dtype=bool)
    for rows, squares in _squared_distances(queries_ND, centres_MD, 1):
        rounding = 1e-12 * (squares.max() + squared_radii_M.max())
        inside_GN[:, rows] = (np.minimum.reduceat(squares - squared_radii_M, starts_G, axis=1) <= rounding).T
    return inside_GN


def _search(queries_ND: Matrix, points_MD: Matrix, k: int, *, itself: bool) -> Neighbours:
    others = len(points_MD) - itself
    if not 1 <= k <= others:
        raise HistodsError(
            f"Each of {len(points_MD):,} samples cannot have {k:,} nearest neighbours; add images, or take a k "
            f"from 1 to {others:,}."
        )
    distances_NK, indices_NK = np.empty((len(queries_ND), k)), np.empty((len(queries_ND), k), dtype=np.int64)
    candidates = min(k + _SPARE, others)
    for rows, squares in _squared_distances(queries_ND, points_MD, candidates):
        if itself:
            squares[np.arange(len(squares)), np.arange(rows.start, rows.stop)] = np.inf
        chosen = _smallest(squares, candidates)
        distances = _distances(queries_ND[rows], points_MD, chosen)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances_NK[rows] = np.take_along_axis(distances, order, axis=1)
        indices_NK[rows] = np.take_along_axis(chosen, order, axis=1)
    return Neighbours(distances_NK, indices_NK)


def _squared_distances(queries_ND: Matrix, points_MD: Matrix, candidates: int) -> Iterator[tuple[slice, Matrix]]:
    """Chunks of rows, and their squared distances to all points, which are rounded.

    Both sets are moved by the mean of the points, so that less is rounded away.
    """
    centre_D = points_MD.mean(axis=0)
    moved_MD = points_MD - centre_D
    squares_M = np.einsum("md,md->m", moved_MD, moved_MD)
    numbers_per_row = max(len(points_MD), candidates * points_MD.shape[1])
    for rows in row_chunks(len(queries_ND), numbers_per_row):
        moved = queries_ND[rows] - centre_D
        squares = moved @ moved_MD.T
        squares *= -2
        squares += squares_M
        squares += np.einsum("nd,nd->n", moved, moved)[:, None]
        yield rows, squares


def _smallest(values: Matrix, count: int) -> NDArray[np.int64]:
    """Columns of the smallest values of each row, in ascending order of columns."""
    found = torch.topk(torch.from_numpy(values), count, dim=1, largest=False, sorted=False).indices
    return np.sort(found.numpy(), axis=1)


def _distances(queries: Matrix, points_MD: Matrix, chosen: NDArray[np.int64]) -> Matrix:
    """Distances of each query to its chosen points, from differences."""
    differences = queries[:, None, :] - points_MD[chosen]
    distances: Matrix = np.sqrt(np.einsum("ncd,ncd->nc", differences, differences))
    return distances
