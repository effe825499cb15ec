"""How well masks fit their images, compared with other placements of the same mask and with other masks.

Over the whole dataset, a linear regression learns how the cells of each label differ in colour and texture from
the mean of their image. A mask then predicts how its image looks, up to the image's own mean. The agreement of
mask and image is the correlation of prediction and image over all cells and features, which are first scaled and
decorrelated by what the regression leaves unexplained (as in linear discriminant analysis; Fisher 1936,
doi:10.1111/j.1469-1809.1936.tb02137.x). It is 1 for a perfect fit and about 0 for a mask of something else.

Chance has a scale of its own in each image, since smooth structures agree or disagree as a whole: the deviation of
the agreement with the masks of the 63 or more samples beside it. An agreement divided by that is called z.

No sample is judged by what was learned of itself: a regression is solved four times, each time without a quarter
of the samples. It is then repeated with each mask placed as it agrees best and without those that agree in no
position, so that misplaced masks do not blur what is learned, even if they are the majority.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from histods.masks.grids import CELLS, FEATURES, SIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Bytes = NDArray[np.uint8]

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
_FOLDS = 4
_CHUNK = 4096  # samples that are learned from at a time
_LEARNED = 20_000  # samples at most: more would not show better how labels look
_RIDGE = 0.5 * CELLS  # a label needs about half an image before its appearance counts in full
_NOISE = 1.0  # variance, in grey levels, that rounding alone leaves
_BETTER = 2.0  # z by which a turned mask must agree better to be learned from as turned
_LEAST = 1.0  # z below which nothing is learned from a mask
_TRIED = 0.8  # of the usual agreement; masks that agree better are not shifted
_OWN_WEIGHT = 0.8  # of an image's own scale of chance; the rest is the dataset's
_MEAN = np.full((1, CELLS), 1 / CELLS, np.float32)  # times the cells of an image


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fit:
    """Agreements of n samples, float32; z is an agreement divided by `chance`.

    Attributes:
        turned: [8, n] of the mask after each of `TURNS`; -inf where a turn would change its shape.
        usual: [n] the agreement to be expected of a mask in its place: the less its labels differ in appearance,
            the lower it is.
        chance: [n] deviation of the agreement with other samples' masks.
        nearest: [n] which other sample's mask agrees best, among those compared.
        other: [n] its agreement.
        shifted: [n] the best agreement of a shifted mask with the rest of the image; -inf where not tried.
        shift: [n] its place in `SHIFTS`.
    """

    turned: Floats
    usual: Floats
    chance: Floats
    nearest: NDArray[np.intp]
    other: Floats
    shifted: Floats
    shift: NDArray[np.intp]


def _turn(number: int) -> NDArray[np.intp]:
    """Where each cell of a mask comes from after one of `TURNS`: [CELLS]."""
    cells = np.arange(CELLS).reshape(SIDE, SIDE)
    cells = cells.T if number >= 4 else cells
    cells = cells[::-1] if number & 1 else cells
    return (cells[:, ::-1] if number & 2 else cells).ravel()


CELLS_AFTER = np.stack([_turn(number) for number in range(len(TURNS))])
"""Where each cell of a mask comes from after each of `TURNS`: [8, CELLS]."""
_VALUES_AFTER = (CELLS_AFTER[..., None] * FEATURES + np.arange(FEATURES)).reshape(len(TURNS), -1)


def compare(appearances: Bytes, layouts: Bytes, labels: int, square: NDArray[np.bool_]) -> Fit:
    """Compare masks with their images, after learning from all of them.

    Args:
        appearances: [n, CELLS, FEATURES] of the images.
        layouts: [n, CELLS] of the masks: numbers below `labels`.
        labels: how many numbers there are.
        square: [n] whether a patch is as high as wide, so that its mask can be turned by 90 degrees.

    Returns:
        What depends on nothing but these arrays. 250,000 samples take about half a minute on one core.
    """
    step = -(-len(layouts) // _LEARNED)
    some = np.flatnonzero(np.arange(len(layouts)) // _FOLDS % max(step, 1) == 0)  # as many of each fold
    model = _learn_in_place(appearances[some], layouts[some], labels, square[some])
    return _compare(model, appearances, layouts, square, try_shifts=True)


def _learn_in_place(appearances: Bytes, layouts: Bytes, labels: int, square: NDArray[np.bool_]) -> _Model:
    """Learn twice, the second time from each mask as it agrees best, without those that never agree."""
    model = _learn(appearances, layouts, labels, np.ones(len(layouts), np.bool_))
    first = _compare(model, appearances, layouts, square, try_shifts=False)
    z = first.turned / first.chance
    best = z.argmax(0)
    moved = z.max(0) - z[0] > _BETTER
    placed = layouts.copy()
    for number in range(1, len(TURNS)):
        rows = np.flatnonzero(moved & (best == number))
        placed[rows] = layouts[rows][:, CELLS_AFTER[number]]
    fitting = np.where(moved, z.max(0), z[0]) > _LEAST
    if fitting.sum() < len(layouts) / 10:
        return model
    return _learn(appearances, placed, labels, fitting)


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """Appearance of each label [folds, labels, features], and the scaling of features [features, features]."""

    looks: Floats
    scale: Floats


def _centred(appearances: Bytes) -> Floats:
    values = appearances.astype(np.float32)
    return values - _MEAN @ values


def _learn(appearances: Bytes, layouts: Bytes, labels: int, used: NDArray[np.bool_]) -> _Model:
    """Least squares of cells on labels, with each image's mean taken out of both."""
    normal = np.zeros((_FOLDS, labels, labels))
    sums = np.zeros((_FOLDS, labels, FEATURES))
    total = np.zeros((FEATURES, FEATURES))
    for start in range(0, len(layouts), _CHUNK):
        for fold in range(_FOLDS):
            rows = np.arange(start + fold, min(start + _CHUNK, len(layouts)), _FOLDS)
            rows = rows[used[rows]]
            layout, values = layouts[rows].astype(np.intp), _centred(appearances[rows])
            places = np.arange(len(rows))[:, None] * labels + layout
            counts = (
                np.bincount(places.ravel(), minlength=len(rows) * labels).reshape(-1, labels).astype(np.float64)
            )
            normal[fold] += np.diag(counts.sum(0)) - counts.T @ counts / CELLS
            for feature in range(FEATURES):
                sums[fold, :, feature] += np.bincount(layout.ravel(), values[..., feature].ravel(), labels)
            flat = values.reshape(-1, FEATURES)
            total += flat.T @ flat
    ridge = np.eye(labels) * _RIDGE
    looks = np.linalg.solve(normal.sum(0) - normal + ridge, sums.sum(0) - sums)
    explained = np.linalg.solve(normal.sum(0) + ridge, sums.sum(0)).T @ sums.sum(0)
    unexplained = (total - (explained + explained.T) / 2) / max(CELLS * int(used.sum()), 1)
    scale = np.linalg.cholesky(np.linalg.inv(unexplained + np.eye(FEATURES) * _NOISE))
    return _Model((looks @ scale).astype(np.float32), scale.astype(np.float32))


def _blocks(samples: int) -> Iterator[NDArray[np.intp]]:
    """Rows in blocks of `_BLOCK` or a few more, so that none is small unless there are few samples."""
    yield from np.array_split(np.arange(samples), max(1, samples // _BLOCK))


def _compare(
    model: _Model, appearances: Bytes, layouts: Bytes, square: NDArray[np.bool_], *, try_shifts: bool
) -> Fit:
    samples = len(layouts)
    turned = np.full((len(TURNS), samples), -np.inf, np.float32)
    usual, chance, other = (np.zeros(samples, np.float32) for _ in range(3))
    shifted, shift = np.full(samples, -np.inf, np.float32), np.zeros(samples, np.intp)
    nearest = np.zeros(samples, np.intp)
    for rows in _blocks(samples):
        image = (_centred(appearances[rows]) @ model.scale).reshape(len(rows), -1)
        looks = model.looks[rows[:, None] % _FOLDS, layouts[rows]]
        mask = (looks - _MEAN @ looks).reshape(len(rows), -1)
        signal = _dot(mask, mask)
        usual[rows] = np.sqrt(signal / (signal + CELLS * FEATURES))
        image = _normed(image)
        mask = _normed(mask)
        for number, values in enumerate(_VALUES_AFTER):
            agreement = _dot(np.take(mask, values, axis=1), image)
            turned[number, rows] = np.where(square[rows] | (number < 4), agreement, -np.inf)
        all_pairs = image @ mask.T
        np.fill_diagonal(all_pairs, 0)
        chance[rows] = (all_pairs * all_pairs).sum(1) / max(len(rows) - 1, 1)
        np.fill_diagonal(all_pairs, -1)
        best = all_pairs.argmax(1)
        nearest[rows], other[rows] = rows[best], all_pairs[np.arange(len(rows)), best]
        if try_shifts:
            telling = usual[rows] > np.sqrt(chance[rows])  # no others can be flagged
            doubtful = np.flatnonzero(telling & (turned[0, rows] < _TRIED * usual[rows]))
            if doubtful.size:
                agreements = _shift(image[doubtful], mask[doubtful])
                shift[rows[doubtful]], shifted[rows[doubtful]] = agreements.argmax(0), agreements.max(0)
    typical = float(np.median(chance)) if samples else 0.0
    chance = np.sqrt(_OWN_WEIGHT * chance + (1 - _OWN_WEIGHT) * typical + 1e-6).astype(np.float32)
    return Fit(
        turned=turned,
        usual=usual,
        chance=chance,
        nearest=nearest,
        other=other,
        shifted=shifted,
        shift=shift,
    )


def _dot(left: Floats, right: Floats) -> Floats:
    """Products [n] of vectors [n, length]."""
    return np.asarray(np.einsum("nv,nv->n", left, right), np.float32)


def _normed(vectors: Floats) -> Floats:
    """Vectors [n, length] scaled to length 1; those of length 0 stay 0."""
    lengths = np.sqrt(_dot(vectors, vectors))
    return np.asarray(vectors / np.maximum(lengths, 1e-6)[:, None], np.float32)


def _shift(image: Floats, mask: Floats) -> Floats:
    """Agreement of each shifted mask with the part of the image that it still covers: [shifts, n]."""
    agreements = np.empty((len(SHIFTS), len(image)), np.float32)
    image, mask = (values.reshape(-1, SIDE, SIDE, FEATURES) for values in (image, mask))
    for number, (down, right) in enumerate(SHIFTS):
        rows, columns = (slice(max(step, 0), SIDE + min(step, 0)) for step in (down, right))
        from_rows, from_columns = (slice(max(-step, 0), SIDE - max(step, 0)) for step in (down, right))
        covered = image[:, rows, columns], mask[:, from_rows, from_columns]
        here, there = (_normed(_recentred(part)) for part in covered)
        agreements[number] = _dot(here, there)
    return agreements


def _recentred(part: Floats) -> Floats:
    """Values [n, rows, columns, FEATURES] without the mean of each feature, as vectors [n, length]."""
    cells = part.reshape(len(part), -1, FEATURES)
    mean = np.full((1, cells.shape[1]), 1 / cells.shape[1], np.float32)
    return (cells - mean @ cells).reshape(len(part), -1)
