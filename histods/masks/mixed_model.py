"""A linear mixed model of the cells of images given their masks, learned from a whole dataset.

A cell is the image's own mean, plus the look of its label (a fixed effect), plus what this label deviates from
that in this image (a random effect), plus noise; the last two are Gaussian and independent (Henderson 1953,
doi:10.2307/3001853). The image's mean is free, so that stains may differ, and integrated out (restricted
likelihood; Patterson and Thompson 1971, doi:10.1093/biomet/58.3.545). A mask thus fits if its labels look as they
do elsewhere, and also if what it draws as one region looks alike, whatever it looks like. Features are scaled and
rotated so that noise has the variance 1 in each, and the deviations of labels are independent (as in linear
discriminant analysis; Fisher 1936, doi:10.1111/j.1469-1809.1936.tb02137.x).

Shapes: n samples, g regions (the cells of a label in a mask), m masks, p images or placements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from histods.masks.grids import CELLS, FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Bytes = NDArray[np.uint8]
    Indices = NDArray[np.intp]

FOLDS = 4
"""Looks are learned this many times, each time without the samples of one fold; sample k is of fold k % FOLDS."""
ALIKE = 8.0
"""Cells that tell as much as one, since neighbouring ones resemble each other."""
_CHUNK = 4096  # samples that are learned from at a time
_RIDGE = 0.5  # ridge penalty: weight, in regions, that draws looks towards 0
_NOISE = 1.0  # squared grey levels, added to the variance of noise so that it is never 0
_LEAST_SPREAD = 0.01  # least variance of a label's look between images, as a share of that of noise


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What is learned of a dataset.

    Attributes:
        looks: [folds, labels, FEATURES] how cells of each label differ from other ones, scaled.
        scale: [FEATURES, FEATURES] by which features are multiplied, so that noise has the variance 1.
        spread: [FEATURES] variance of a label's look between images, scaled.
    """

    looks: Floats
    scale: Floats
    spread: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The cells of each label in each of several masks, g regions in all, in the order of masks.

    Attributes:
        mask: [g] place of its mask.
        label: [g] its label.
        cells: [g] how many cells it has.
        of_cell: [masks, CELLS] the region of each cell.
        starts: [masks] the first region of each mask.
    """

    mask: Indices
    label: Indices
    cells: Floats
    of_cell: Indices
    starts: Indices

    @classmethod
    def of(cls, layouts: Bytes, labels: int) -> Regions:
        """Find the regions of layouts [masks, cells], of at least one mask."""
        places = np.arange(len(layouts))[:, None] * labels + layouts.astype(np.intp)
        counts = np.bincount(places.ravel(), minlength=len(layouts) * labels)
        region = np.flatnonzero(counts)
        number = np.cumsum(counts > 0) - 1
        mask = region // labels
        starts = np.searchsorted(mask, np.arange(len(layouts)))
        return cls(mask, region % labels, counts[region].astype(np.float32), number[places], starts)


def centre(appearances: Bytes) -> Floats:
    """Cells [n, CELLS, FEATURES] without the mean of their image."""
    values = appearances.astype(np.float32)
    return values - np.full((1, CELLS), 1 / CELLS, np.float32) @ values


def learn(appearances: Bytes, layouts: Bytes, labels: int, used: NDArray[np.bool_]) -> Model:
    """Estimate looks by weighted least squares of regions' means, and variances by moments.

    The noise in the means of regions is not subtracted, so that spreads are too large by about 0.1. Measured on
    generated tissue, subtracting it finds fewer misplaced masks.

    Args:
        appearances: [n, CELLS, FEATURES] of the images.
        layouts: [n, CELLS] of the masks: numbers below `labels`.
        labels: how many numbers there are.
        used: [n] which samples to learn from; at least one.
    """
    rows = np.flatnonzero(used)
    parts = [_means(appearances[part], layouts[part], labels) for part in _chunks(rows)]
    sample = np.concatenate([part[mask] for part, (mask, *_) in zip(_chunks(rows), parts, strict=True)])
    label, cells, means = (np.concatenate([part[place] for part in parts]) for place in (1, 2, 3))
    within = sum((part[4] for part in parts), np.zeros((FEATURES, FEATURES)))
    noise = within / max(CELLS * len(rows) - len(cells), 1) + np.eye(FEATURES) * _NOISE
    looks = _looks(sample, label, cells, means, labels)
    # Deviations of the regions that show them, from the mean of those of the same image.
    large = np.flatnonzero(cells >= ALIKE)
    sample, deviations = sample[large], means[large] - looks[sample[large] % FOLDS, label[large]]
    _, image, regions = np.unique(sample, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(image, values) for values in deviations.T], 1) / regions[:, None]
    deviations -= mean[image]
    between = deviations.T @ deviations / max(len(sample) - len(regions), 1)
    whiten = np.linalg.cholesky(np.linalg.inv(noise))
    spread, turn = np.linalg.eigh(whiten.T @ between @ whiten)
    scale = whiten @ turn
    spread = np.maximum(spread, _LEAST_SPREAD)
    return Model((looks @ scale).astype(np.float32), scale.astype(np.float32), spread.astype(np.float32))


def _chunks(rows: Indices) -> list[Indices]:
    return np.array_split(rows, len(rows) // _CHUNK + 1)


def _means(appearances: Bytes, layouts: Bytes, labels: int) -> tuple[Indices, Indices, Doubles, Doubles, Doubles]:
    """Mask, label, cells and mean of each region, and the scatter of cells within regions."""
    regions = Regions.of(layouts, labels)
    values = centre(appearances).reshape(-1, FEATURES)
    of_cell, number = regions.of_cell.ravel(), len(regions.mask)
    cells = regions.cells.astype(np.float64)
    means = np.stack([np.bincount(of_cell, column, number) for column in values.T], 1) / cells[:, None]
    scatter = (values.T @ values).astype(np.float64) - means.T @ (means * cells[:, None])
    return regions.mask, regions.label, cells, means, scatter


def _looks(sample: Indices, label: Indices, cells: Doubles, means: Doubles, labels: int) -> Doubles:
    """Least squares of regions' means on labels, with each image's mean free: [folds, labels, FEATURES]."""
    weights = cells / (cells + ALIKE)
    _, image = np.unique(sample, return_inverse=True)
    total = np.bincount(image, weights)
    mean = np.stack([np.bincount(image, weights * values) for values in means.T], 1) / total[:, None]
    normal, sums = np.zeros((FOLDS, labels, labels)), np.zeros((FOLDS, labels, FEATURES))
    for fold in range(FOLDS):
        mine = np.flatnonzero(sample % FOLDS == fold)
        share = np.zeros((int(image.max(initial=-1)) + 1, labels), np.float32)
        share[image[mine], label[mine]] = weights[mine]
        normal[fold] = np.diag(share.sum(0)) - (share / total[:, None]).T @ share
        centred = weights[mine, None] * (means[mine] - mean[image[mine]])
        sums[fold] = np.stack([np.bincount(label[mine], values, labels) for values in centred.T], 1)
    return np.linalg.solve(normal.sum(0) - normal + np.eye(labels) * _RIDGE, sums.sum(0) - sums)


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """Log-likelihoods of images given each of several masks, up to what depends on the image alone.

    With n cells, look m and deviations of variance s, of which the noise of cells has 1, let k = 1 / (1 + n s) for
    each region, feature by feature, and d be the sum of what cells differ from m. Twice the log-likelihood is the
    sum over the regions of a mask of 2 m x - n m m + s k d d + log k, plus (sum of k d)^2 / a - log a for the
    image's free mean, where x is the sum of the cells and a that of n k. Cells count 1 / `ALIKE` each.

    Attributes:
        regions: of the masks.
        looks: [g, FEATURES] of each region.
        spread: [FEATURES] of the model.
        members: [g, CELLS] 1 where a cell is of a region.
    """

    regions: Regions
    looks: Floats
    spread: Floats
    members: Floats

    @classmethod
    def of(cls, model: Model, layouts: Bytes, rows: Indices) -> Scorer:
        """For masks [m, CELLS] of the samples `rows`, with looks that were not learned from them."""
        regions = Regions.of(layouts, model.looks.shape[1])
        looks = model.looks[rows[regions.mask] % FOLDS, regions.label]
        members = np.zeros((len(regions.mask), CELLS), np.float32)
        members[regions.of_cell, np.arange(CELLS)] = 1
        return cls(regions, looks, model.spread, members)

    def score_all(self, images: Floats) -> Floats:
        """Log-likelihoods [m, p] of images [p, CELLS, FEATURES] given each mask."""
        columns = images.transpose(1, 0, 2).reshape(CELLS, -1)
        sums = (self.members @ columns).reshape(-1, len(images), FEATURES)
        return self._score(sums, self.regions.cells[:, None])

    def score_placed(self, images: Floats, sources: Indices) -> Floats:
        """Log-likelihoods [m, p] of the cells of each mask's own image [m, CELLS, FEATURES], given it at p places.

        Args:
            images: of the masks, in their order.
            sources: [p, CELLS] the cell of the image at each cell of the mask, or `CELLS` for none.
        """
        inside = (sources < CELLS).T.astype(np.float32)
        sums = np.empty((len(self.members), len(sources), FEATURES), np.float32)
        for image, start, end in zip(images, self.regions.starts, self._ends(), strict=True):
            cells = np.concatenate([image, np.zeros((1, FEATURES), np.float32)])
            placed = cells[sources.T].reshape(CELLS, -1)
            sums[start:end] = (self.members[start:end] @ placed).reshape(-1, len(sources), FEATURES)
        return self._score(sums, self.members @ inside)

    def _ends(self) -> Indices:
        return np.append(self.regions.starts[1:], len(self.members))

    def expect(self) -> Floats:
        """Expected log-likelihoods [m, m], given each mask, of images that look as each mask (columns) says.

        The expectation of a quadratic form is its value at the mean plus its trace with the covariance.
        """
        overlap = self.members @ self.members.T  # [g, g] cells
        cells = self.regions.cells[:, None]
        mean = np.stack([self._per_image(overlap * look) for look in self.looks.T], -1)
        expected = self._score(mean, cells)
        overlap, cells = overlap / np.float32(ALIKE), cells / np.float32(ALIKE)
        kept = 1 / (1 + cells * self.spread)
        total = self._per_mask(cells * kept)
        noise = self._per_mask(1 - kept) + self._per_mask(cells * kept * kept) / total
        for feature, spread in enumerate(self.spread):
            k = kept[:, feature, None]
            square = spread * self._per_mask(k * overlap * overlap)
            square += self._per_mask(k * overlap) ** 2 / total[:, feature, None]
            expected += (noise[:, feature, None] + spread * self._per_image(square)) / 2
        return expected

    def _score(self, sums: Floats, cells: Floats) -> Floats:
        """Log-likelihoods [m, p] of the sums [g, p, FEATURES] of this many cells [g, p or 1] in each region."""
        sums, cells = sums / np.float32(ALIKE), cells[..., None] / np.float32(ALIKE)
        kept = 1 / (1 + cells * self.spread)
        total = self._per_mask(cells * kept)
        looks = self.looks[:, None]
        apart = sums - cells * looks
        fixed = (cells * looks * looks - np.log(kept)).sum(-1)
        linear = np.einsum("gpf,gf->gp", sums, 2 * self.looks)
        square = np.einsum("gpf,gpf->gp", apart * (self.spread * kept), apart)
        free = self._per_mask(apart * kept)
        both = self._per_mask(linear + square - fixed) + (free * free / total - np.log(total)).sum(-1)
        return np.asarray(both / 2, np.float32)

    def _per_mask(self, values: NDArray[np.floating]) -> Floats:
        """Sums over the regions of each mask: [m, ...] of [g, ...]."""
        return np.asarray(np.add.reduceat(values, self.regions.starts, axis=0), np.float32)

    def _per_image(self, values: NDArray[np.floating]) -> Floats:
        """The same along the last axis: [..., m] of [..., g]."""
        return np.asarray(np.add.reduceat(values, self.regions.starts, axis=1), np.float32)
