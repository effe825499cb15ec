"""Feature matrices: checked, as float64, and cut into chunks of rows so that memory stays bounded.

A kernel is a function of the inner products of samples, and takes a matrix of them at once.

Shapes: N and M samples of D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError
from histods.printing import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    Matrix = NDArray[np.float64]
    Kernel = Callable[[Matrix], Matrix]

_LARGEST = 1e20
"""Largest feature, far above those of a sound network, with which no formula overflows in float64."""
_CHUNK = 2**22
"""Numbers per chunk of distances or kernel values: 32 MiB."""


def feature_matrices(*, least: int = 1, **sets: ArrayLike) -> tuple[Matrix, ...]:
    """Check the features of several sets, and return them as float64 matrices of equal width.

    Args:
        least: minimum number of samples of each set.
        sets: the features [N, D] of each set by the set's name, which messages use.

    Raises:
        HistodsError: features are no matrix, or have a NaN or infinite value, too few rows, or unequal widths.
    """
    matrices = {name: _matrix(name, features, least) for name, features in sets.items()}
    widths = {name: matrix.shape[1] for name, matrix in matrices.items()}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise HistodsError(f"The sets have different numbers of features ({listed}); use one extractor for all.")
    return tuple(matrices.values())


def _matrix(name: str, features: ArrayLike, least: int) -> Matrix:
    matrix = np.ascontiguousarray(features, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise HistodsError(
            f"The features of the {name} set have the shape {matrix.shape}, expected [samples, features]; "
            "pass a matrix with one row per image."
        )
    if len(matrix) < least:
        raise HistodsError(
            f"The {name} set has {counted(len(matrix), 'sample')}, and this needs at least {least:,}; add images."
        )
    if len(matrix) and not (matrix.min() >= -_LARGEST and matrix.max() <= _LARGEST):  # false for NaN, too
        wrong = np.flatnonzero(~(np.abs(matrix) <= _LARGEST).all(axis=1))
        raise HistodsError(
            f"Features of {len(wrong):,} of {len(matrix):,} samples of the {name} set are NaN, infinite or above "
            f"1e20, first those of sample {wrong[0]:,} (counted from 0); extract them in float32."
        )
    return matrix


def row_chunks(rows: int, numbers_per_row: int) -> Iterator[slice]:
    """Cut rows into slices so that a chunk has at most 4 million numbers, or one row."""
    step = max(1, _CHUNK // max(numbers_per_row, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def sum_over_pairs(kernel: Kernel, first_ND: Matrix, second_MD: Matrix) -> float:
    """The sum of a kernel over all pairs of a sample of the first and one of the second set."""
    chunks = row_chunks(len(first_ND), len(second_MD))
    return sum(float(kernel(first_ND[rows] @ second_MD.T).sum()) for rows in chunks)


def kernel_of_selves(kernel: Kernel, features_ND: Matrix) -> Matrix:
    """The kernel of each sample with itself, [N]."""
    return kernel(np.einsum("nd,nd->n", features_ND, features_ND))
