"""`over_exposed`: an image whose tissue is clipped.

A pixel is clipped if its largest channel is at least 253 although it is coloured (the smallest is at least 25
lower): glass may be pure white, tissue may not. Measured as a share of all coloured pixels: 21 real patches have
at most 0.05, 500 generated ones of skin at most 0.17; the real ones at 1.3 times their brightness 0.15 to 0.58,
at 1.5 times 0.29 to 0.67.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pyarrow as pa

from histods.checks.base import Check, Threshold, found
from histods.checks.pictures import CONTRAST, TISSUE, has_tissue, percent
from histods.measurement.extra_measure import Measure

if TYPE_CHECKING:
    from histods.checks.base import Context
    from histods.images.reduced import Picture

_CLIPPED, _COLOURED = 253, 25
_LEAST_COLOURED = 0.02  # of the picture


def measure_clipped(picture: Picture) -> float | None:
    """Share of coloured pixels that are clipped, in every other row; null where few are coloured."""
    if picture.is_small:
        return None
    red, green, blue = cv2.split(picture.pixels[::2])
    largest = cv2.max(cv2.max(red, green), blue)
    coloured = largest - cv2.min(cv2.min(red, green), blue) >= _COLOURED
    pixels = np.count_nonzero(coloured)
    if pixels < _LEAST_COLOURED * coloured.size:
        return None
    return np.count_nonzero(coloured & (largest >= _CLIPPED)) / pixels


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Say how much of the tissue is clipped."""
    clipped = samples.filter(has_tissue() & (pl.col("clipped") > context.limits["clipped"]))
    message = pl.format("{} % of its tissue is clipped; scan it again, or leave it out", percent("clipped"))
    return found(clipped, "image_path", message)


CHECK = Check(
    code="over_exposed",
    severity="warning",
    summary="An image whose tissue is clipped (with `--quality`).",
    judge=judge,
    measures=(
        TISSUE,
        CONTRAST,
        Measure(column="clipped", version=2, type=pa.float32(), quality=True, of_image=measure_clipped),
    ),
    thresholds=(
        Threshold(
            name="clipped",
            default=0.22,
            meaning="a larger share of clipped tissue is over-exposed",
            source="measured: sound patches have at most 0.17, at 1.5 times their brightness 0.29 to 0.67",
        ),
    ),
    quality=True,
)
