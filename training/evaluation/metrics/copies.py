"""Are generated images copies of training images? Two measures of distances to the nearest training image.

Shapes: N training, M test and L generated samples, D features.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.errors import HistodsError
from histods.sampling.streams import Stream
from training.evaluation.metrics.clusters import find_clusters, nearest_cluster
from training.evaluation.metrics.matrices import feature_matrices
from training.evaluation.metrics.nearest import nearest_neighbours, neighbours_within

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from training.evaluation.metrics.matrices import Matrix
    from training.evaluation.metrics.nearest import Neighbours

LEAST_GENERATED = 20
"""Generated samples of a cell that counts: so many, the paper's tau = 20 / L, are needed for a normal z."""


class Cell(NamedTuple):
    """A cluster of training samples, and the samples of the other sets that are nearest to it.

    Attributes:
        training: number of training samples.
        test: number of test samples.
        generated: number of generated samples.
        z: Mann-Whitney z of the distances of generated samples against those of test samples; below 0 if generated
            samples are nearer to training samples. None for a cell that does not count.
    """

    training: int
    test: int
    generated: int
    z: float | None


class DataCopying(NamedTuple):
    """The test for copied training samples.

    Attributes:
        statistic: C_T. About 0 if generated samples are as far from training samples as test samples are; far
            below 0 (-3 and less) if they are nearer; far above if they are farther, as those of poor quality are.
        cells: the cells, the one with most training samples first.
    """

    statistic: float
    cells: tuple[Cell, ...]


def authentic_percent(training_ND: ArrayLike, generated_LD: ArrayLike) -> float:
    """The percentage of generated samples that are authentic (AuthPct).

    A sample is authentic if it is farther from its nearest training sample than that one is from its own nearest
    training sample. Alaa, van Breugel, Saveliev and van der Schaar, "How faithful is your synthetic data?", ICML
    2022, arXiv 2102.08921 (the code that its authors published searches the other way round, for the generated
    sample nearest to each training sample). Copies are never authentic.

    Args:
        training_ND: features, one row per training image.
        generated_LD: features of generated images.

    Raises:
        HistodsError: fewer than 2 training samples, no generated one, or features do not fit each other.
    """
    training, generated = feature_matrices(training=training_ND, generated=generated_LD)
    return find_originals(training, neighbours_within(training), generated).percent


class Originals(NamedTuple):
    """The training sample nearest to each generated sample.

    Attributes:
        indices_L: int64, that sample.
        distances_L: float64, its distance.
        own_L: float64, its distance to its own nearest training sample.
    """

    indices_L: NDArray[np.int64]
    distances_L: Matrix
    own_L: Matrix

    @property
    def authentic(self) -> NDArray[np.bool_]:
        """Whether each generated sample is authentic; see `authentic_percent`."""
        return self.distances_L > self.own_L

    @property
    def percent(self) -> float:
        """The percentage of authentic samples."""
        return 100 * float(self.authentic.mean())


def find_originals(training_ND: Matrix, within: Neighbours, generated_LD: Matrix) -> Originals:
    """Find the training sample nearest to each generated sample.

    Args:
        training_ND: features of training images.
        within: their own nearest neighbours, by `neighbours_within`, which several sets can share.
        generated_LD: features of generated images.
    """
    nearest = nearest_neighbours(generated_LD, training_ND)
    indices_L = nearest.indices_NK[:, 0]
    return Originals(indices_L, nearest.distances_NK[:, 0], within.distances_NK[indices_L, 0])


def data_copying(
    training_ND: ArrayLike, test_MD: ArrayLike, generated_LD: ArrayLike, *, seed: int, cells: int = 10
) -> DataCopying:
    """C_T: whether generated samples are nearer to training samples than test samples are.

    Meehan, Chaudhuri and Dasgupta, "A non-parametric test to detect data-copying in generative models", AISTATS
    2020, arXiv 2004.05675. Cells are the clusters of the training samples by k-means. In each, the distances to
    the nearest training sample of the cell are compared by the z of Mann and Whitney's U, without corrections for
    ties and continuity; C_T is the mean of z over cells with at least 20 generated samples, weighted by their
    shares of the test samples.

    Args:
        training_ND: features, one row per training image.
        test_MD: features of real images from slides that were not trained on.
        generated_LD: features of generated images.
        seed: seed of the clusters.
        cells: number of cells.

    Raises:
        HistodsError: no cell has test samples and 20 generated samples, or the features do not fit each other.
    """
    training, test, generated = feature_matrices(training=training_ND, test=test_MD, generated=generated_LD)
    if cells < 1:
        raise HistodsError(f"The number of cells is {cells}; take 1 or more.")
    partition = Partition.of(training, cells, seed=seed)
    return compare_in_cells(partition, partition.place(test), partition.place(generated))


class Placed(NamedTuple):
    """Where samples are in a partition.

    Attributes:
        cells_N: int64, the cell of each sample.
        distances_N: float64, its distance to the nearest training sample of that cell; NaN in a cell without any.
    """

    cells_N: NDArray[np.int64]
    distances_N: Matrix

    def rows(self, rows: NDArray[np.int64]) -> Placed:
        """Some of the samples."""
        return Placed(self.cells_N[rows], self.distances_N[rows])


class Partition(NamedTuple):
    """Cells of the space of features: the training samples of each, and the centres that define them.

    Attributes:
        centres_KD: float64.
        training: features of the training samples of each cell.
    """

    centres_KD: Matrix
    training: list[Matrix]

    @classmethod
    def of(cls, training_ND: Matrix, cells: int, *, seed: int) -> Partition:
        """The clusters of training samples."""
        centres_KD = find_clusters(training_ND, cells, seed=seed, stream=Stream.COPYING_CELLS)
        clusters_N = nearest_cluster(training_ND, centres_KD)
        return cls(centres_KD, [training_ND[clusters_N == number] for number in range(len(centres_KD))])

    def place(self, features_ND: Matrix) -> Placed:
        """Find the cell of each sample, and its distance to the training samples there."""
        cells_N = nearest_cluster(features_ND, self.centres_KD)
        distances_N = np.full(len(features_ND), np.nan)
        for number, training in enumerate(self.training):
            own = cells_N == number
            if len(training):
                distances_N[own] = nearest_neighbours(features_ND[own], training).distances_NK[:, 0]
        return Placed(cells_N, distances_N)


def compare_in_cells(partition: Partition, test: Placed, generated: Placed) -> DataCopying:
    """C_T of samples that were placed; see `data_copying`.

    Raises:
        HistodsError: no cell has test samples and 20 generated samples.
    """
    found = []
    for number, training in enumerate(partition.training):
        tests, others = (x.distances_N[x.cells_N == number] for x in (test, generated))
        counts = len(training) and len(tests) and len(others) >= LEAST_GENERATED
        found.append(
            Cell(len(training), len(tests), len(others), _mann_whitney(others, tests) if counts else None)
        )
    counted = [(cell.test, cell.z) for cell in found if cell.z is not None]
    if not counted:
        raise HistodsError(
            f"None of {len(found):,} cells has a test sample and {LEAST_GENERATED} of {len(generated.cells_N):,} "
            "generated samples, so copies cannot be told from others; add images, or take fewer cells."
        )
    statistic = sum(weight * z for weight, z in counted) / sum(weight for weight, _ in counted)
    return DataCopying(statistic, tuple(sorted(found, key=lambda cell: -cell.training)))


def _mann_whitney(first_N: Matrix, second_M: Matrix) -> float:
    """The z of U, the number of pairs in which the first is larger, and half of those in which both are equal.

    Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the other",
    Annals of Mathematical Statistics 1947.
    """
    n, m, ordered = len(first_N), len(second_M), np.sort(second_M)
    larger = np.searchsorted(ordered, first_N, side="left") + np.searchsorted(ordered, first_N, side="right")
    return (float(larger.sum()) / 2 - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
