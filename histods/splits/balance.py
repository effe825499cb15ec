"""Whole units in few splits, so that each split gets its share of everything: placing, moving and swapping.

A unit (a slide, some images with the same bytes) is a vector: its share of the conditional samples, of the
unconditional samples, and of the pixels of each label. What should become small is the sum, over all splits, of
the squared length of (what the split has - what it should have). Shares are whole multiples of 2**-20, kept as
floats whose sums and products stay below 2**53: every result is exact, so that it is the same on every machine,
with every BLAS and any number of threads.

Shapes: U units, S splits, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float64]
    Splits = NDArray[np.int64]

ROLES = 2
"""Features that come before the labels: conditional and unconditional samples."""
PAIRS = 50_000_000
"""Pairs of units that one search may look at: about two seconds."""
_MAX_LABELS = 256
_MIN_WEIGHT = 0.01
"""Of a label that one unit holds: enough to leave it to the larger split where all else is equal."""
_SCALE = 2.0**20
_CHUNK = 256


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Content:
    """What samples hold, as a list of entries: sample `rows[i]` has `amounts[i]` of feature `columns[i]`.

    `scale` is what one sample, or one pixel, of each feature weighs; [F].
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    amounts: NDArray[np.float64]
    scale: NDArray[np.float64]

    def sum_by(self, bins: NDArray[np.int64], count: int) -> Vectors:
        """Vectors of sets of samples.

        Args:
            bins: [samples] the set of each sample, -1 for none.
            count: number of sets.

        Returns:
            [count, F] whole numbers.
        """
        inside = bins[self.rows] >= 0
        width = len(self.scale)
        cells = bins[self.rows[inside]] * width + self.columns[inside]
        sums = np.bincount(cells, weights=self.amounts[inside], minlength=count * width)
        return np.rint(sums.reshape(count, width) * self.scale)

    def squares(self) -> NDArray[np.float64]:
        """Squared length of each sample's vector, [samples]: how much it matters to the balance."""
        squares: NDArray[np.float64] = np.rint(self.amounts * self.scale[self.columns]) ** 2
        return np.bincount(self.rows, weights=squares).astype(np.float64)


def list_content(
    units: NDArray[np.int64],
    conditional: NDArray[np.bool_],
    labels: NDArray[np.uint16],
    pixels: NDArray[np.uint32],
    offsets: NDArray[np.int64],
) -> Content:
    """The content of samples: their roles, and the pixels of each of their labels.

    However rare it is, a label weighs 1 if it is spread over many units: 1 - the sum of the squared shares of the
    units (Simpson's diversity). It weighs next to nothing if one unit holds all of it, since no split can balance
    that. Each role weighs twice as much as all labels together could. Beyond 256 labels, those with the fewest
    pixels count as one.

    Args:
        units: [samples] the unit of each.
        conditional: [samples] the role of each.
        labels: labels of all samples, flattened.
        pixels: pixels of each.
        offsets: [samples + 1]; sample i has the entries `offsets[i]` up to `offsets[i + 1]`.
    """
    samples = np.arange(len(conditional))
    totals = np.bincount(labels, weights=pixels)
    present = np.flatnonzero(totals)
    ranked = present[np.argsort(-totals[present], kind="stable")]
    feature = np.zeros(len(totals), dtype=np.int64)
    feature[ranked] = ROLES + np.minimum(np.arange(len(ranked)), _MAX_LABELS - 1)
    filled = pixels > 0
    columns = np.concatenate([np.where(conditional, 0, 1), feature[labels[filled]]])
    amounts = np.concatenate([np.ones(len(samples)), pixels[filled]])
    rows = np.concatenate([samples, np.repeat(samples, np.diff(offsets))[filled]])
    count = min(len(ranked), _MAX_LABELS)
    sums = np.maximum(np.bincount(columns, weights=amounts, minlength=ROLES + count), 1)
    weights = np.maximum(1 - _sum_squared_shares(units[rows], columns, amounts, sums), _MIN_WEIGHT)
    weights[:ROLES] = 2 * max(count, 1)
    scale = _SCALE * np.sqrt(weights) / sums
    return Content(rows=rows, columns=columns, amounts=amounts, scale=scale)


def _sum_squared_shares(
    units: NDArray[np.int64], columns: NDArray[np.int64], amounts: NDArray[np.float64], sums: NDArray[np.float64]
) -> NDArray[np.float64]:
    """For each feature, the squares of the shares that units have of it, added up; [F]."""
    cells = units * len(sums) + columns
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    held = np.add.reduceat(amounts[order], starts)
    column = cells[order[starts]] % len(sums)
    squares: NDArray[np.float64] = (held / sums[column]) ** 2
    return np.bincount(column, weights=squares, minlength=len(sums)).astype(np.float64)


def place(vectors: Vectors, deviations: Vectors, fractions: NDArray[np.float64]) -> Splits:
    """Give each unit the split that it helps most in proportion to that split's fraction, largest units first.

    The greedy placing of rare things first is that of iterative stratification: Sechidis, Tsoumakas and
    Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011; for whole groups it is that of
    scikit-learn's StratifiedGroupKFold. A unit is large if it has much of anything, a rare label included.

    Args:
        vectors: [U, F]; among units of about the same size, the first is placed first.
        deviations: [S, F] what each split has minus what it should have; brought up to date.
        fractions: [S] of everything that each split should have.

    Returns:
        [U] split of each unit.
    """
    fractions = np.maximum(fractions, 1 / _SCALE)
    squares = _squares(vectors)
    splits = np.zeros(len(vectors), dtype=np.int64)
    halvings = np.frexp(squares)[1]  # so that the order within a size differs from seed to seed
    for unit in np.argsort(-halvings, kind="stable"):
        split = ((2 * (deviations @ vectors[unit]) + squares[unit]) / fractions).argmin()
        deviations[split] += vectors[unit]
        splits[unit] = split
    return splits


def fill_empty(vectors: Vectors, splits: Splits, deviations: Vectors, occupied: NDArray[np.bool_]) -> None:
    """Move to each empty split the unit that costs least there, from a split that keeps another.

    Args:
        vectors: [U, F].
        splits: [U] split of each unit; brought up to date.
        deviations: [S, F]; brought up to date.
        occupied: [S] splits that other samples are in already.
    """
    for split in range(len(deviations)):
        counts = np.bincount(splits, minlength=len(deviations))
        movable = np.flatnonzero(counts[splits] > 1)
        if counts[split] or occupied[split] or not movable.size:
            continue
        change = vectors @ (deviations[split] - deviations).T
        costs = change[np.arange(len(splits)), splits] + _squares(vectors)
        _move(movable[costs[movable].argmin()], split, vectors, splits, deviations)


def improve(vectors: Vectors, splits: Splits, deviations: Vectors, keep: NDArray[np.int64]) -> None:
    """Move and swap units until nothing helps any more, or the search has looked at enough.

    Args:
        vectors: [U, F].
        splits: [U] split of each unit; brought up to date.
        deviations: [S, F]; brought up to date.
        keep: [S] units that must stay in each split, so that it does not become empty.
    """
    left, changed = PAIRS, True
    while changed and left >= len(splits):
        moved = _moves(vectors, splits, deviations, keep)
        swapped, left = swap(vectors, splits, deviations, left)
        changed = moved or swapped


def swap(vectors: Vectors, splits: Splits, deviations: Vectors, left: int = PAIRS) -> tuple[bool, int]:
    """Go through the units, largest first, and swap each with the unit of another split that helps most.

    Args:
        vectors: [U, F].
        splits: [U] split of each unit; brought up to date.
        deviations: [S, F]; brought up to date.
        left: pairs that may be looked at.

    Returns:
        Whether anything was swapped, and how many pairs may still be looked at.
    """
    squares = _squares(vectors)
    order = np.argsort(-squares, kind="stable")[: left // max(len(splits), 1)]
    along = vectors @ deviations.T  # [U, S], kept up to date
    own = _own(along, splits)
    swapped = False
    for first in range(0, len(order), _CHUNK):
        chunk = order[first : first + _CHUNK]
        for unit, products in zip(chunk, vectors[chunk] @ vectors.T, strict=True):
            here = splits[unit]
            # |D_here + v|^2 + |D_there - v|^2 for v = partner - unit, less what it is now, by half
            change = along[:, here] - own - own[unit] + along[unit][splits]
            change += squares + squares[unit] - 2 * products
            partner = change.argmin()
            if change[partner] >= 0:
                continue
            there, step = splits[partner], vectors[partner] - vectors[unit]
            deviations[here] += step
            deviations[there] -= step
            reach = vectors @ step
            along[:, here] += reach
            along[:, there] -= reach
            splits[unit], splits[partner] = there, here
            own = _own(along, splits)
            swapped = True
    return swapped, left - len(order) * len(splits)


def _moves(vectors: Vectors, splits: Splits, deviations: Vectors, keep: NDArray[np.int64]) -> bool:
    """Move each unit to another split where that helps; whether any was moved."""
    squares = _squares(vectors)
    along = vectors @ deviations.T
    counts = np.bincount(splits, minlength=len(deviations))
    moved = False
    for unit in np.flatnonzero(along.min(axis=1) - _own(along, splits) + squares < 0):
        now, here = deviations @ vectors[unit], splits[unit]
        there = now.argmin()
        if now[there] - now[here] + squares[unit] >= 0 or counts[here] <= keep[here]:
            continue
        counts[here] -= 1
        counts[there] += 1
        _move(unit, there, vectors, splits, deviations)
        moved = True
    return moved


def _move(
    unit: np.integer, there: int | np.integer, vectors: Vectors, splits: Splits, deviations: Vectors
) -> None:
    deviations[splits[unit]] -= vectors[unit]
    deviations[there] += vectors[unit]
    splits[unit] = there


def _own(along: Vectors, splits: Splits) -> NDArray[np.float64]:
    """The entry of each unit's own split."""
    own: NDArray[np.float64] = along[np.arange(len(splits)), splits]
    return own


def _squares(vectors: Vectors) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = (vectors * vectors).sum(axis=1)
    return squares
