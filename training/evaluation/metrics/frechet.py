"""Fréchet distance between Gaussians fitted to two sets of features; with Inception features, it is the FID.

Shapes: N and M samples of two sets, D features, R rank of a covariance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from training.evaluation.metrics.matrices import feature_matrices

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from training.evaluation.metrics.matrices import Matrix


class Gaussian(NamedTuple):
    """A Gaussian of D dimensions.

    Attributes:
        mean_D: float64.
        covariance_DD: float64, symmetric, may be singular.
    """

    mean_D: Matrix
    covariance_DD: Matrix


def frechet_distance(first_ND: ArrayLike, second_MD: ArrayLike) -> float:
    """The squared Fréchet distance between Gaussians fitted to two sets of features.

    Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, "GANs trained by a two time-scale update rule converge
    to a local Nash equilibrium", NeurIPS 2017, eq. 6. Covariances are unbiased (divided by N - 1). The distance of
    few samples is too large on average: compare distances of equal numbers of samples only.

    Args:
        first_ND: features, one row per image.
        second_MD: features of the other set; the order of sets does not matter.

    Raises:
        HistodsError: a set has fewer than 2 samples, or the features do not fit each other.
    """
    first, second = feature_matrices(first=first_ND, second=second_MD, least=2)
    return gaussian_distance(fit_gaussian(first), fit_gaussian(second))


def fit_gaussian(features_ND: Matrix) -> Gaussian:
    """The mean and the unbiased covariance of at least 2 samples."""
    mean_D = features_ND.mean(axis=0)
    centred_ND = features_ND - mean_D
    return Gaussian(mean_D, centred_ND.T @ centred_ND / (len(features_ND) - 1))


def gaussian_distance(first: Gaussian, second: Gaussian) -> float:
    """The squared Fréchet distance between Gaussians: |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2).

    Dowson and Landau, "The Fréchet distance between multivariate normal distributions", J. Multivariate Analysis
    1982. The trace of the root is the sum of the roots of the eigenvalues of S1 S2. With S = R'R these are
    the singular values of R1 R2', which are computed without taking a root of a rounding error: singular
    covariances, as of constant features and of fewer samples than features, are as exact as others.
    """
    difference_D = first.mean_D - second.mean_D
    product = _root(first.covariance_DD) @ _root(second.covariance_DD).T
    shared = np.linalg.svd(product, compute_uv=False).sum() if product.size else 0.0
    traces = np.trace(first.covariance_DD) + np.trace(second.covariance_DD)
    return max(float(difference_D @ difference_D + traces - 2 * shared), 0.0)


def _root(covariance_DD: Matrix) -> Matrix:
    """R of shape [R, D] with R'R = S; eigenvalues that rounding cannot tell from zero are left out."""
    values_D, vectors_DD = np.linalg.eigh(covariance_DD)
    kept = values_D > values_D[-1] * len(values_D) * np.finfo(np.float64).eps
    root_RD: Matrix = np.sqrt(values_D[kept])[:, None] * vectors_DD[:, kept].T
    return root_RD
