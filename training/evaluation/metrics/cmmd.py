"""CMMD: maximum mean discrepancy of normalised features under a wide Gaussian kernel.

Shapes: N and M samples of two sets, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError
from training.evaluation.metrics.matrices import feature_matrices, sum_over_pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from training.evaluation.metrics.matrices import Kernel, Matrix


def cmmd(first_ND: ArrayLike, second_MD: ArrayLike, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """The squared maximum mean discrepancy under exp(-|x - y|^2 / (2 sigma^2)) of normalised features.

    Jayasumana, Ramalingam, Veit, Glasner, Chakrabarti and Kumar, "Rethinking FID: towards a better evaluation
    metric for image generation", CVPR 2024, whose features are CLIP's. As in the code that its authors published
    (google-research/cmmd), the estimate is the biased one (Gretton et al., "A kernel two-sample test", JMLR 2012,
    eq. 5): means over all pairs, those of a sample with itself included. It is never negative, zero for identical
    sets, and falls with the number of samples where sets are alike: compare results of equal numbers only. Each
    row is divided by its length first; rows of length 1 stay as they are.

    Args:
        first_ND: features, one row per image.
        second_MD: features of the other set; the order of sets does not matter.
        sigma: width of the kernel.
        scale: factor of the result.

    Raises:
        HistodsError: all features of a sample are zero, or the features do not fit each other.
    """
    first, second = feature_matrices(first=first_ND, second=second_MD)
    first, second = normalised("first", first), normalised("second", second)
    kernel = gaussian_kernel(sigma)
    pairs = (first, first), (second, second), (first, second)
    first_mean, second_mean, across = (sum_over_pairs(kernel, x, y) / (len(x) * len(y)) for x, y in pairs)
    return max(scale * (first_mean + second_mean - 2 * across), 0.0)


def normalised(name: str, features_ND: Matrix) -> Matrix:
    """Divide each row by its length.

    Args:
        name: the name of the set in messages.
        features_ND: features, one row per image.

    Raises:
        HistodsError: all features of a sample are zero.
    """
    lengths_N1 = np.linalg.norm(features_ND, axis=1, keepdims=True)
    if not lengths_N1.all():
        raise HistodsError(
            f"All features of sample {np.flatnonzero(lengths_N1 == 0)[0]:,} (counted from 0) of the {name} set "
            "are zero, so they cannot be normalised; leave the sample out, or take another extractor."
        )
    unit_ND: Matrix = features_ND / lengths_N1
    return unit_ND


def gaussian_kernel(sigma: float) -> Kernel:
    """The kernel exp(-|x - y|^2 / (2 sigma^2)) less 1, of rows of length 1, for which |x - y|^2 is 2 - 2 x.y.

    The discrepancy does not depend on that 1, and without it rounding is less: the kernel is nearly 1 everywhere.
    """
    return lambda products: np.expm1((products - 1) / sigma**2)
