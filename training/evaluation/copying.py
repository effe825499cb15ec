"""Whether generated images are copies of training images, in the space of features and in that of pixels.

Shapes: N training, M held-out real and K generated images, D features, B images of a batch, H and W pixels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError
from histods.io.evaluation_file import CopyTest, NearPair
from training.evaluation.metrics.copies import data_copying, find_originals
from training.evaluation.metrics.nearest import neighbours_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from training.evaluation.metrics.copies import Originals

MAX_C_T = -3.0
"""A C_T below this is suspicious: it is a mean of z-scores."""
MIN_MISSING, MIN_ERRORS = 10.0, 3.0
"""Fewer authentic images than among held-out real ones are suspicious by more than this many percentage points and
this many standard errors."""
PAIRS = 8
"""The most suspicious pairs that are kept."""
_SIDE = 16
_MOST = 1e9  # of a ratio, whose divisor is 0 if a training image is there twice


class SmallPictures:
    """Images as features: their pixels at 16 x 16, so that what is compared is what one sees at a glance."""

    name = "pixels"
    digest = f"pixels-{_SIDE}"
    width = _SIDE * _SIDE * 3

    def __call__(self, images_BHW3: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
        """Pixels from 0 to 1, [B, 768]."""
        import cv2

        pixels = np.asarray(images_BHW3)
        small = [cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for image in pixels]
        return np.stack(small).reshape(len(small), -1).astype(np.float32) / np.float32(255)


def judge_copies(
    space: str,
    training_ND: NDArray[np.float64],
    real_MD: NDArray[np.float64],
    generated_KD: NDArray[np.float64],
    *,
    training_keys: Sequence[str],
    generated_names: Sequence[str],
    seed: int,
) -> CopyTest:
    """Compare generated images with the training images, beside held-out real ones.

    Args:
        space: what the features are, `features` or `pixels`.
        training_ND: features of training images.
        real_MD: features of held-out real images.
        generated_KD: features of generated images.
        training_keys: keys of the training images.
        generated_names: names of the generated images.
        seed: the seed of the cells of C_T.

    Raises:
        HistodsError: there are fewer than two training images.
    """
    within = neighbours_within(training_ND)
    made = find_originals(training_ND, within, generated_KD)
    authentic, real_authentic = made.percent, find_originals(training_ND, within, real_MD).percent
    c_t = _data_copying(training_ND, real_MD, generated_KD, seed)
    missing = real_authentic - authentic
    error = 100 * math.sqrt(0.25 / len(generated_KD) + 0.25 / len(real_MD))
    return CopyTest(
        space=space,
        authentic=authentic,
        real_authentic=real_authentic,
        c_t=c_t,
        pairs=_worst_pairs(made, training_keys, generated_names),
        suspicious=(c_t is not None and c_t < MAX_C_T) or missing > max(MIN_MISSING, MIN_ERRORS * error),
    )


def _data_copying(
    training_ND: NDArray[np.float64], real_MD: NDArray[np.float64], generated_KD: NDArray[np.float64], seed: int
) -> float | None:
    """C_T; with fewer cells where there are too few images for ten, and None where there are too few for one."""
    for cells in (10, 3, 1):
        try:
            statistic = data_copying(training_ND, real_MD, generated_KD, seed=seed, cells=cells).statistic
        except HistodsError:
            continue
        return statistic if math.isfinite(statistic) else None
    return None


def _worst_pairs(
    made: Originals, training_keys: Sequence[str], generated_names: Sequence[str]
) -> tuple[NearPair, ...]:
    """The generated images that are nearest to a training image, by how near that one's own neighbour is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios_K = np.nan_to_num(made.distances_L / made.own_L, nan=1.0, posinf=_MOST)
    worst = np.lexsort((np.arange(len(ratios_K)), ratios_K))[:PAIRS].tolist()
    return tuple(
        NearPair(
            image=generated_names[index],
            training=training_keys[int(made.indices_L[index])],
            distance=float(made.distances_L[index]),
            ratio=float(min(ratios_K[index], _MOST)),
        )
        for index in worst
    )
