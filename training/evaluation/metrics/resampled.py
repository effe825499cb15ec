"""Metrics of sets drawn by groups, prepared once so that hundreds of draws cost little more than one.

The functions here are for `bootstrap`: they take a real and a generated set, and return a function of how often
each group was drawn. If each was drawn once, its value is that of the metric itself.

Shapes: N samples of D features in G groups of one set; M samples in H groups of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError
from training.evaluation.metrics.cmmd import gaussian_kernel, normalised
from training.evaluation.metrics.copies import Partition, compare_in_cells, find_originals
from training.evaluation.metrics.frechet import Gaussian, gaussian_distance
from training.evaluation.metrics.kernel import cubic_kernel
from training.evaluation.metrics.matrices import feature_matrices, kernel_of_selves, row_chunks
from training.evaluation.metrics.nearest import inside_balls_of_groups, neighbours_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from training.evaluation.metrics.intervals import Counts, GroupedSet, Prepare, Resampled
    from training.evaluation.metrics.matrices import Kernel, Matrix

_SUMS_BYTES = 2**30
"""Limit of the memory for the sums of all groups of a set."""


def by_rows(metric: Callable[[Matrix, Matrix], float]) -> Prepare:
    """Any function of real and generated features: each draw computes it again, on repeated rows.

    A function of nearest neighbours takes repetitions of a sample for its neighbours.
    """

    def prepare(real: GroupedSet, generated: GroupedSet) -> Resampled:
        return lambda real_G, generated_H: metric(
            real.features_ND[real.rows(real_G)], generated.features_ND[generated.rows(generated_H)]
        )

    return prepare


def resampled_frechet(real: GroupedSet, generated: GroupedSet) -> Resampled:
    """The Fréchet distance, from sums of x and xx' over each group.

    The sums take 8 G D^2 bytes per set; where that is more than 1 GiB, a draw computes its covariances from rows.
    Then it takes the time of three decompositions of D x D matrices.
    """
    real_draw, generated_draw = _gaussian_of_draws(real), _gaussian_of_draws(generated)
    return lambda real_G, generated_H: gaussian_distance(real_draw(real_G), generated_draw(generated_H))


def _gaussian_of_draws(drawn: GroupedSet) -> Callable[[Counts], Gaussian]:
    """The Gaussian of a draw; features are moved by their mean first, so that squares do not round it away."""
    centre_D = drawn.features_ND.mean(axis=0)
    moved_ND = drawn.features_ND - centre_D
    sizes_G, width = _sizes(drawn), len(centre_D)
    sums_GD = np.zeros((drawn.groups, width))
    np.add.at(sums_GD, drawn.groups_N, moved_ND)
    products = None
    if 8 * drawn.groups * width**2 <= _SUMS_BYTES:
        parts = (moved_ND[drawn.groups_N == number] for number in range(drawn.groups))
        products = np.stack([part.T @ part for part in parts]).reshape(drawn.groups, -1)

    def gaussian(counts_G: Counts) -> Gaussian:
        size = int(counts_G @ sizes_G)
        mean_D = counts_G @ sums_GD / size
        if products is None:
            weights_N = counts_G[drawn.groups_N]
            rows_ND = moved_ND[weights_N > 0] * np.sqrt(weights_N[weights_N > 0])[:, None]
            squares_DD = rows_ND.T @ rows_ND
        else:
            squares_DD = (counts_G @ products).reshape(width, width)
        covariance_DD = (squares_DD - size * np.outer(mean_D, mean_D)) / (size - 1)
        return Gaussian(centre_D + mean_D, covariance_DD)

    return gaussian


def resampled_kernel(real: GroupedSet, generated: GroupedSet) -> Resampled:
    """The kernel distance over all pairs, of which its mean over subsets is an approximation.

    A sample and its repetition are not a pair. The kernel is computed once, for all pairs of samples.
    """
    kernel = cubic_kernel(real.features_ND.shape[1])
    across_GH = _group_sums(kernel, real, generated)
    real_mean, generated_mean = _mean_of_others(kernel, real), _mean_of_others(kernel, generated)
    real_sizes_G, generated_sizes_H = _sizes(real), _sizes(generated)

    def distance(real_G: Counts, generated_H: Counts) -> float:
        pairs = int(real_G @ real_sizes_G) * int(generated_H @ generated_sizes_H)
        across = float(real_G @ across_GH @ generated_H) / pairs
        return real_mean(real_G) + generated_mean(generated_H) - 2 * across

    return distance


def _mean_of_others(kernel: Kernel, drawn: GroupedSet) -> Callable[[Counts], float]:
    """The mean of a kernel over the pairs of different samples of a draw."""
    sums_GG, sizes_G = _group_sums(kernel, drawn, drawn), _sizes(drawn)
    selves_G = np.bincount(drawn.groups_N, kernel_of_selves(kernel, drawn.features_ND), drawn.groups)

    def mean(counts_G: Counts) -> float:
        squares_G = counts_G * counts_G
        pairs = int(counts_G @ sizes_G) ** 2 - int(squares_G @ sizes_G)
        if not pairs:
            raise HistodsError("A draw has one sample only, repeated; add images to the groups.")
        return float(counts_G @ sums_GG @ counts_G - squares_G @ selves_G) / pairs

    return mean


def resampled_cmmd(real: GroupedSet, generated: GroupedSet) -> Resampled:
    """CMMD with its usual width and scale. The kernel is computed once, for all pairs of samples."""
    kernel = gaussian_kernel(10.0)
    real = real._replace(features_ND=normalised("real", real.features_ND))
    generated = generated._replace(features_ND=normalised("generated", generated.features_ND))
    real_GG, generated_HH = _group_sums(kernel, real, real), _group_sums(kernel, generated, generated)
    across_GH = _group_sums(kernel, real, generated)
    real_sizes_G, generated_sizes_H = _sizes(real), _sizes(generated)

    def distance(real_G: Counts, generated_H: Counts) -> float:
        p_G, q_H = real_G / (real_G @ real_sizes_G), generated_H / (generated_H @ generated_sizes_H)
        return max(1000.0 * float(p_G @ real_GG @ p_G + q_H @ generated_HH @ q_H - 2 * p_G @ across_GH @ q_H), 0.0)

    return distance


def _group_sums(kernel: Kernel, first: GroupedSet, second: GroupedSet) -> Matrix:
    """The sum of a kernel over the pairs of samples of each pair of groups, [G, H]."""
    order_M = np.argsort(second.groups_N, kind="stable")
    ordered_MD = second.features_ND[order_M]
    starts_H = np.searchsorted(second.groups_N[order_M], np.arange(second.groups))
    sums_GH = np.zeros((first.groups, second.groups))
    for rows in row_chunks(len(first.features_ND), len(ordered_MD)):
        values = kernel(first.features_ND[rows] @ ordered_MD.T)
        np.add.at(sums_GH, first.groups_N[rows], np.add.reduceat(values, starts_H, axis=1))
    return sums_GH


def resampled_precision(real: GroupedSet, generated: GroupedSet, k: int = 3) -> Resampled:
    """Precision. The balls of real samples are those of the whole set, which repetitions do not make smaller.

    It takes G bytes per generated sample.
    """
    feature_matrices(real=real.features_ND, least=k + 1)
    radii_N = neighbours_within(real.features_ND, k).distances_NK[:, -1]
    inside_GM = inside_balls_of_groups(
        generated.features_ND, real.features_ND, radii_N, real.groups_N, real.groups
    )

    def share(real_G: Counts, generated_H: Counts) -> float:
        inside_M = inside_GM[real_G > 0].any(axis=0)
        return float(np.average(inside_M, weights=generated_H[generated.groups_N]))

    return share


def resampled_recall(real: GroupedSet, generated: GroupedSet, k: int = 3) -> Resampled:
    """Recall, which is the precision of real samples among generated ones; see `resampled_precision`."""
    share = resampled_precision(generated, real, k)
    return lambda real_G, generated_H: share(generated_H, real_G)


def resampled_authentic(training_LD: ArrayLike) -> Prepare:
    """AuthPct. Training samples are not drawn, and the real set of the bootstrap has no part in it."""

    def prepare(_: GroupedSet, generated: GroupedSet) -> Resampled:
        training, *_others = feature_matrices(training=training_LD, generated=generated.features_ND)
        authentic_M = find_originals(training, neighbours_within(training), generated.features_ND).authentic
        return lambda _, generated_H: 100 * float(np.average(authentic_M, weights=generated_H[generated.groups_N]))

    return prepare


def resampled_copying(training_LD: ArrayLike, *, seed: int, cells: int = 10) -> Prepare:
    """C_T. The real set of the bootstrap has the test samples; training samples and so the cells are not drawn."""

    def prepare(real: GroupedSet, generated: GroupedSet) -> Resampled:
        training, *_ = feature_matrices(training=training_LD, test=real.features_ND)
        partition = Partition.of(training, cells, seed=seed)
        test, others = partition.place(real.features_ND), partition.place(generated.features_ND)
        return lambda real_G, generated_H: (
            compare_in_cells(
                partition, test.rows(real.rows(real_G)), others.rows(generated.rows(generated_H))
            ).statistic
        )

    return prepare


def _sizes(drawn: GroupedSet) -> Counts:
    """The number of samples of each group, [G]."""
    return np.bincount(drawn.groups_N, minlength=drawn.groups)
