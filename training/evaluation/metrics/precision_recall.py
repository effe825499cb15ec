"""Precision and recall of generated images, from balls around samples that reach to their neighbours.

Shapes: N real and M generated samples, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from training.evaluation.metrics.matrices import feature_matrices
from training.evaluation.metrics.nearest import inside_any_ball, neighbours_within

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class PrecisionRecall(NamedTuple):
    """Shares from 0 to 1.

    Attributes:
        precision: generated samples that are near real ones: how many look real.
        recall: real samples that are near generated ones: how much of the real variety is generated.
    """

    precision: float
    recall: float


def precision_recall(real_ND: ArrayLike, generated_MD: ArrayLike, k: int = 3) -> PrecisionRecall:
    """The share of generated samples that are in balls of real ones, and of real ones in balls of generated ones.

    The ball of a sample reaches to its k-th nearest other sample of the same set. Kynkäänniemi, Karras, Laine,
    Lehtinen and Aila, "Improved precision and recall metric for assessing generative models", NeurIPS 2019,
    eq. 1 and 2, with its k = 3. Both depend on the numbers of samples: compare results of equal numbers only.

    Args:
        real_ND: features, one row per image.
        generated_MD: features of generated images.
        k: the neighbour that a ball reaches to.

    Raises:
        HistodsError: k is below 1, a set has fewer than k + 1 samples, or the features do not fit each other.
    """
    real, generated = feature_matrices(real=real_ND, generated=generated_MD, least=k + 1)
    real_radii = neighbours_within(real, k).distances_NK[:, -1]
    generated_radii = neighbours_within(generated, k).distances_NK[:, -1]
    return PrecisionRecall(
        precision=float(inside_any_ball(generated, real, real_radii).mean()),
        recall=float(inside_any_ball(real, generated, generated_radii).mean()),
    )
