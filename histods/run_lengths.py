"""Run lengths of a mask: the one pass over the pixels from which every number of an audit comes.

A run is a maximal stretch of equal labels in row-major order (a run may cross a row's end). On a
512x512 mask the runs take 70 us where `numpy.bincount` takes 345 us and `numpy.unique` 3,300 us
(one core, measured in one run), and they also show specks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPECK_PIXELS = 3
"""Longest run that can be a speck: resampling and JPEG leave 1 to 3 px of wrong labels along an edge."""


class Runs(NamedTuple):
    """Labels and lengths of the runs of a mask, both of shape [runs]; the lengths add up to its pixels."""

    labels: NDArray[np.unsignedinteger[Any]]
    lengths: NDArray[np.int64]


def find_runs(mask: NDArray[np.unsignedinteger[Any]]) -> Runs:
    """Split a mask of any shape with at least one pixel into runs, in row-major order."""
    flat = mask.reshape(-1)
    changes = (flat[1:] != flat[:-1]).nonzero()[0]
    bounds = np.empty(changes.size + 2, dtype=np.int64)  # by hand: np.append and np.diff cost more than the work
    bounds[0], bounds[1:-1], bounds[-1] = -1, changes, flat.size - 1
    return Runs(flat[bounds[1:]], bounds[1:] - bounds[:-1])


def histogram(runs: Runs) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Labels that occur, ascending, and the pixels of each: two arrays of the same length."""
    counts = np.bincount(runs.labels, weights=runs.lengths)
    labels = counts.nonzero()[0]
    return labels.astype(np.uint16), counts[labels].astype(np.uint32)


def count_specks(runs: Runs) -> int:
    """Number of runs of at most `SPECK_PIXELS` whose two neighbours differ from each other.

    Such a run lies on the edge between two other labels, which drawing tools do not leave, but
    interpolation (values between the two) and JPEG (ringing around both) do at every edge.
    """
    between = runs.labels[:-2] != runs.labels[2:]
    return int(np.count_nonzero(between & (runs.lengths[1:-1] <= SPECK_PIXELS)))


def count_between(runs: Runs) -> int:
    """Number of specks whose label lies between those of their two neighbours, as interpolated values do."""
    before, label, after = runs.labels[:-2], runs.labels[1:-1], runs.labels[2:]
    between = ((before < label) & (label < after)) | ((before > label) & (label > after))
    return int(np.count_nonzero(between & (runs.lengths[1:-1] <= SPECK_PIXELS)))
