"""How well masks fit their images, compared with other placements of the same mask and with other masks.

The score of a mask on an image is the log-likelihood of the image given the mask, under a model learned from the
whole dataset (`histods.masks.mixed_model`). What a score means differs from image to image, since smooth
structures fit or do not fit as a whole. Its scale is what chance gives in that image: mean and deviation of the
scores of the masks of the 63 or more samples beside it, or of all others where there are fewer. In these units, z,
a mask of something else has about 0 with a deviation of 1. What a mask in its place has, its usual z, follows from
the model: the expected scores of this mask and of the others on an image that looks as the mask says.

No sample is judged by looks that were learned from it: they are learned four times, each time without a quarter of
the samples; only variances are learned from all. Learning is then repeated with each mask placed as it fits best
and without those that fit in no position, so that misplaced masks do not blur what is learned, even if they are
the majority.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from histods.masks.grids import CELLS, SIDE
from histods.masks.mixed_model import FOLDS, Model, Scorer, centre, learn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Bytes = NDArray[np.uint8]
    Indices = NDArray[np.intp]

TURNS = (
    "as it is",
    "mirrored top to bottom",
    "mirrored left to right",
    "turned by 180 degrees",
    "mirrored left to right and turned by 90 degrees to the left",
    "turned by 90 degrees to the left",
    "turned by 90 degrees to the right",
    "mirrored left to right and turned by 90 degrees to the right",
)
"""What `turn` does to a mask; those from 4 on exchange width and height."""
_STEPS = (-4, -2, 0, 2, 4)
SHIFTS = tuple((down, right) for down in _STEPS for right in _STEPS if down or right)
"""Shifts that are tried, in cells down and to the right: an eighth and a quarter of a side in each direction."""

_BLOCK = 64  # samples that are compared with each other's masks
_LEARNED = 20_000  # samples at most: more would not show better how labels look
_LEAST_CHANCE = 1e-3  # variance of scores, where all masks score alike
_BETTER = 2.0  # z by which a turned mask must fit better to be learned from as turned
_LEAST = 1.0  # z below which nothing is learned from a mask
_TELLING = 1.5  # usual z of masks that are moved
_TRIED = 0.9  # of what is usual in a block; masks that fit better are not moved


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fit:
    """How well the masks of n samples fit, float32: z is 0 by chance, with a deviation of 1.

    Attributes:
        turned: [8, n] z of the mask after each of `TURNS`; -inf where a turn would change its shape.
        usual: [n] z to be expected of a mask in its place: the less its labels differ in looks, the lower it is.
        nearest: [n] which other sample's mask fits best, among those compared.
        other: [n] its z.
        shifted: [n] the best z of a shifted mask, on the part of the image that it still covers; -inf where not
            tried.
        shift: [n] its place in `SHIFTS`.
    """

    turned: Floats
    usual: Floats
    nearest: Indices
    other: Floats
    shifted: Floats
    shift: Indices


def _turn(number: int) -> Indices:
    """Where each cell of a mask comes from after one of `TURNS`: [CELLS]."""
    cells = np.arange(CELLS).reshape(SIDE, SIDE)
    cells = cells.T if number >= 4 else cells
    cells = cells[::-1] if number & 1 else cells
    return (cells[:, ::-1] if number & 2 else cells).ravel()


CELLS_AFTER = np.stack([_turn(number) for number in range(len(TURNS))])
"""Where each cell of a mask comes from after each of `TURNS`: [8, CELLS]."""
_TURNED_BACK = CELLS_AFTER.argsort(axis=1)  # the cell of the image at each cell of a turned mask


def _shift(down: int, right: int) -> Indices:
    """The cell of the image at each cell of a mask that is shifted, or `CELLS` beyond the edge: [CELLS]."""
    row, column = (
        cell + step for cell, step in zip(np.divmod(np.arange(CELLS), SIDE), (down, right), strict=True)
    )
    inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE)
    return np.where(inside, row * SIDE + column, CELLS)


_SHIFTED = np.stack([_shift(down, right) for down, right in SHIFTS])
_IN_PLACE = np.stack(
    [  # of a mask that is not shifted, but only where the shifted one covers the image
        np.where(_shift(-down, -right) < CELLS, np.arange(CELLS), CELLS) for down, right in SHIFTS
    ]
)


def compare(appearances: Bytes, layouts: Bytes, labels: int, square: NDArray[np.bool_]) -> Fit:
    """Compare masks with their images, after learning from all of them.

    Args:
        appearances: [n, CELLS, FEATURES] of the images, at least one.
        layouts: [n, CELLS] of the masks: numbers below `labels`.
        labels: how many numbers there are.
        square: [n] whether a patch is as high as wide, so that its mask can be turned by 90 degrees.

    Returns:
        What depends on nothing but these arrays.
    """
    step = -(-len(layouts) // _LEARNED)
    some = np.flatnonzero(np.arange(len(layouts)) // FOLDS % step == 0)  # as many of each fold
    model = _learn_in_place(appearances[some], layouts[some], labels, square[some])
    return _compare(model, appearances, layouts, square, in_full=True)


def _learn_in_place(appearances: Bytes, layouts: Bytes, labels: int, square: NDArray[np.bool_]) -> Model:
    """Learn twice, the second time from each mask as it fits best, without those that never fit."""
    model = learn(appearances, layouts, labels, np.ones(len(layouts), np.bool_))
    z = _compare(model, appearances, layouts, square, in_full=False).turned
    best = z.argmax(0)
    moved = z.max(0) - z[0] > _BETTER
    placed = layouts.copy()
    for number in range(1, len(TURNS)):
        rows = np.flatnonzero(moved & (best == number))
        placed[rows] = layouts[rows][:, CELLS_AFTER[number]]
    fitting = np.where(moved, z.max(0), z[0]) > _LEAST
    if fitting.sum() < len(layouts) / 10:
        return model
    return learn(appearances, placed, labels, fitting)


def _blocks(samples: int) -> Iterator[Indices]:
    """Rows in blocks of `_BLOCK` or a few more, so that none is small unless there are few samples."""
    yield from np.array_split(np.arange(samples), max(1, samples // _BLOCK))


def _compare(model: Model, appearances: Bytes, layouts: Bytes, square: NDArray[np.bool_], *, in_full: bool) -> Fit:
    samples = len(layouts)
    turned = np.full((len(TURNS), samples), -np.inf, np.float32)
    usual, other = (np.zeros(samples, np.float32) for _ in range(2))
    shifted, shift = np.full(samples, -np.inf, np.float32), np.zeros(samples, np.intp)
    nearest = np.zeros(samples, np.intp)
    for rows in _blocks(samples):
        image = centre(appearances[rows]) @ model.scale
        scorer = Scorer.of(model, layouts[rows], rows)
        scores = scorer.score_all(image)
        mean, chance = _chance(scores)
        z = (scorer.score_placed(image, _TURNED_BACK).T - mean) / chance
        turned[:, rows] = np.where(square[rows] | (np.arange(len(TURNS)) < 4)[:, None], z, -np.inf)
        if not in_full:
            continue
        expected = scorer.expect()
        expected_mean, expected_chance = _chance(expected)
        usual[rows] = (np.diag(expected) - expected_mean) / expected_chance
        np.fill_diagonal(scores, -np.inf)
        best = scores.argmax(0)
        nearest[rows] = rows[best]
        other[rows] = (scores.max(0) - mean) / chance if len(rows) > 1 else 0
        doubtful = np.flatnonzero(_is_doubtful(turned[:, rows], usual[rows]))
        if doubtful.size:
            some = Scorer.of(model, layouts[rows[doubtful]], rows[doubtful])
            gains = some.score_placed(image[doubtful], _SHIFTED) - some.score_placed(image[doubtful], _IN_PLACE)
            shift[rows[doubtful]] = gains.argmax(1)
            shifted[rows[doubtful]] = z[0, doubtful] + gains.max(1) / chance[doubtful]
    return Fit(turned=turned, usual=usual, nearest=nearest, other=other, shifted=shifted, shift=shift)


def _is_doubtful(turned: Floats, usual: Floats) -> NDArray[np.bool_]:
    """Which masks of a block fit less than is usual in it, so that it pays to move them."""
    telling = usual > _TELLING
    typical = float(np.median((turned.max(0) / usual)[telling])) if telling.any() else 1.0
    return np.asarray(telling & (turned[0] < _TRIED * min(typical, 1.0) * usual), np.bool_)


def _chance(scores: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation [n] of the scores [n, n] of other samples' masks on each image, in columns."""
    others = ~np.eye(len(scores), dtype=np.bool_)
    number = max(len(scores) - 1, 1)
    mean = scores.sum(0, where=others) / number
    variance = ((scores - mean) ** 2).sum(0, where=others) / number
    return mean, np.sqrt(variance + _LEAST_CHANCE)
