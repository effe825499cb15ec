"""Kernel distance between two sets of features; with Inception features, it is the KID.

Shapes: N and M samples of two sets, D features, S samples of a subset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.errors import HistodsError
from histods.printing import counted
from histods.sampling.philox import choose, philox4x64
from histods.sampling.streams import Stream
from training.evaluation.metrics.matrices import feature_matrices, kernel_of_selves, sum_over_pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from training.evaluation.metrics.matrices import Kernel, Matrix


class KernelDistance(NamedTuple):
    """The kernel distance over random subsets.

    Attributes:
        mean: mean of the estimates; as each is unbiased, it may be slightly below zero.
        deviation: their standard deviation. It describes subsets, not how much the mean would vary with other
            images: subsets share most of their samples.
    """

    mean: float
    deviation: float


def kernel_distance(
    first_ND: ArrayLike, second_MD: ArrayLike, *, seed: int, subsets: int = 100, size: int = 1000
) -> KernelDistance:
    """The squared maximum mean discrepancy of two sets of features under the kernel (x.y / D + 1)^3.

    Bińkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs", ICLR 2018: the unbiased estimate
    (Gretton et al., "A kernel two-sample test", JMLR 2012, eq. 3), averaged over random subsets.

    Args:
        first_ND: features, one row per image.
        second_MD: features of the other set.
        seed: seed of the subsets.
        subsets: number of pairs of subsets.
        size: samples of a subset, drawn without replacement.

    Raises:
        HistodsError: a set has fewer than `size` samples, or the features do not fit each other.
    """
    first, second = feature_matrices(first=first_ND, second=second_MD)
    if size < 2 or subsets < 1:
        raise HistodsError(f"There are {subsets} subsets of {size} samples; take 1 or more of 2 or more.")
    fewest = min(len(first), len(second))
    if fewest < size:
        raise HistodsError(
            f"A set has {counted(fewest, 'sample')}, fewer than a subset of the kernel distance ({size:,}); "
            "add images."
        )
    estimates = [
        _unbiased(
            first[_subset(seed, number, 0, len(first), size)], second[_subset(seed, number, 1, len(second), size)]
        )
        for number in range(subsets)
    ]
    return KernelDistance(float(np.mean(estimates)), float(np.std(estimates)))


def _subset(seed: int, number: int, side: int, count: int, size: int) -> NDArray[np.int64]:
    """Indices of a random subset of one side, sorted."""
    return np.sort(choose(count, size, philox4x64(seed, number, Stream.KERNEL_SUBSET, side)))


def cubic_kernel(width: int) -> Kernel:
    """The kernel (x.y / D + 1)^3 of samples of `width` features."""

    def kernel(products: Matrix) -> Matrix:
        values = products / width + 1
        return values * values * values

    return kernel


def _unbiased(first_SD: Matrix, second_SD: Matrix) -> float:
    """Means of the kernel over pairs of different samples of each set, less twice that over pairs of both sets."""
    size, kernel = len(first_SD), cubic_kernel(first_SD.shape[1])
    within = sum(
        sum_over_pairs(kernel, x_SD, x_SD) - float(kernel_of_selves(kernel, x_SD).sum())
        for x_SD in (first_SD, second_SD)
    )
    return within / (size * (size - 1)) - 2 * sum_over_pairs(kernel, first_SD, second_SD) / size**2
