"""`blur`: an image out of focus.

Sharpness is the energy of the finest structures over that of the next coarser ones (differences of Gaussians of
0.8 px, and of 0.8 and 3.2 px), at half the image's resolution or less, the coarser at every other pixel: that
takes half the time, and changes the ratio by 0.5 % in the mean. The ratio depends little on what the image
shows, since focus removes fine structures first, whatever their contrast; comparing an image with a blurred copy
of itself is the idea of Crete et al. (SPIE 6492, 2007), whose own measure separated our images worse. Measured,
as JPEG of quality 50 to 95, blurred at full resolution by a Gaussian of so many pixels, minimum to maximum:

| images                | 0           | 1.5         | 2           | 2.5         | 3           | 4           |
| --------------------- | ----------- | ----------- | ----------- | ----------- | ----------- | ----------- |
| 12 lung patches       | 0.25 - 0.70 | 0.08 - 0.15 | 0.05 - 0.09 | 0.04 - 0.06 | 0.03 - 0.05 | 0.02 - 0.04 |
| 9 more, other slides  | 0.17 - 0.43 | 0.06 - 0.10 | 0.05 - 0.07 | 0.03 - 0.05 | 0.03 - 0.04 | 0.02 - 0.04 |
| 500 generated         | 0.22 - 0.62 | 0.10 - 0.22 | 0.07 - 0.14 | 0.05 - 0.09 | 0.03 - 0.07 | 0.02 - 0.06 |

Real patches have 512x512 pixels, generated ones 256x256 to 768x768 (125 of them were blurred).

A blur of less than 1.5 px, and a blur in a small part of the image, is not found; nor is one followed by noise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pyarrow as pa

from histods.checks.base import Check, Threshold, found
from histods.checks.pictures import CONTRAST, TISSUE, has_tissue
from histods.measurement.extra_measure import Measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.checks.base import Context
    from histods.images.reduced import Picture

_LEAST_ENERGY = 0.25  # squared grey levels: less is rounding, not structure


def measure_sharpness(picture: Picture) -> float | None:
    """Energy of fine structures over that of coarser ones; null for pictures that are small or flat."""
    if picture.is_small:
        return None
    grey = picture.grey
    if picture.header.width == grey.shape[1]:  # decoded in full
        grey = np.asarray(cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    fine = cv2.sepFilter2D(grey, cv2.CV_32F, _FINE, _FINE)
    some = np.ascontiguousarray(fine[::2, ::2])
    coarse = cv2.sepFilter2D(some, cv2.CV_32F, _FINE_TO_COARSE, _FINE_TO_COARSE)
    energy = cv2.norm(some, coarse, cv2.NORM_L2SQR) / some.size
    if energy < _LEAST_ENERGY:
        return None
    return cv2.norm(grey.astype(np.float32), fine, cv2.NORM_L2SQR) / grey.size / energy


def _gaussian(deviation: float) -> NDArray[np.float32]:
    """A Gaussian of three deviations, in pixels, to each side."""
    return np.asarray(cv2.getGaussianKernel(2 * round(3 * deviation) + 1, deviation, cv2.CV_32F), np.float32)


_FINE = _gaussian(0.8)
_FINE_TO_COARSE = _gaussian(math.sqrt(3.2**2 - 0.8**2) / 2)  # for every other pixel of the fine image


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Give the sharpness of each blurred image."""
    blurred = samples.filter(has_tissue() & (pl.col("sharpness") < context.limits["sharpness"]))
    message = pl.format(
        "out of focus: sharpness {}, where sharp images have over {}; scan it again, or leave it out",
        pl.col("sharpness").round(3),
        pl.lit(f"{context.limits['sharpness']:g}"),
    )
    return found(blurred, "image_path", message)


CHECK = Check(
    code="blur",
    severity="warning",
    summary="An image out of focus (with `--quality`).",
    judge=judge,
    measures=(
        TISSUE,
        CONTRAST,
        Measure(column="sharpness", version=2, type=pa.float32(), quality=True, of_image=measure_sharpness),
    ),
    thresholds=(
        Threshold(
            name="sharpness",
            default=0.13,
            meaning="less is blurred",
            source="measured: sharp images have 0.17 and more, blurred by 2 px 0.05 to 0.14",
            most=10.0,
        ),
    ),
    quality=True,
)
