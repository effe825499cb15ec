"""What the checks of `--quality` share: how much of a picture is tissue, and whether it was measured.

A cell of 4x4 pixels, at reduced scale, counts as tissue if it is coloured (its largest and smallest channel
differ by more than 12) or textured (its luma deviates by more than 6), where the picture is first brightened so
that its brightest parts are white. Measured as JPEG of quality 50 and 90: glass of a brightness of 200 and more,
with noise of a standard deviation of up to 2 grey levels, has no such cell; darker or noisier glass has some,
and is told by its lack of contrast. 20 real patches have at least 36 % of them, a patch of glass with a speck of
tissue 4 %, and 500 generated patches of skin at least 67 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pyarrow as pa

from histods.images.reduced import SMALLEST_SIDE, cell_variance
from histods.measurement.extra_measure import Measure

if TYPE_CHECKING:
    from histods.checks.base import Context
    from histods.images.reduced import Picture

COLOURED, TEXTURED = 12.0, 6.0
LEAST_TISSUE = 0.05
"""Share of tissue below which a picture holds too little to judge its focus, its exposure or its stain."""
LEAST_CONTRAST = 2.0
"""Deviation of colours, in grey levels, below which a picture is flat."""
_DARKEST = 64  # brightest luma of a picture that is brightened; the noise of darker ones would count as tissue


def measure_tissue(picture: Picture) -> float | None:
    """Share of cells that are coloured or textured, 0 to 1."""
    if picture.is_small:
        return None
    gain = _gain(picture)
    red, green, blue = cv2.split(picture.cells)
    chroma = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    tissue = (chroma > COLOURED / gain) | (cell_variance(picture) > (TEXTURED / gain) ** 2)
    return cv2.countNonZero(tissue.view(np.uint8)) / tissue.size


def measure_contrast(picture: Picture) -> float | None:
    """Largest standard deviation of the channels over cells, in grey levels of the brightened picture."""
    if picture.is_small:
        return None
    return float(cv2.meanStdDev(picture.cells)[1].max()) * _gain(picture)


def measure_brightest(picture: Picture) -> int | None:
    """The 99th percentile of luma."""
    return None if picture.is_small else picture.brightest


def _gain(picture: Picture) -> float:
    return 255 / max(picture.brightest, _DARKEST)


TISSUE = Measure(column="tissue", version=2, type=pa.float32(), quality=True, of_image=measure_tissue)
CONTRAST = Measure(column="contrast", version=2, type=pa.float32(), quality=True, of_image=measure_contrast)
BRIGHTEST = Measure(column="brightest", version=2, type=pa.uint8(), quality=True, of_image=measure_brightest)


def has_tissue(least: float = LEAST_TISSUE) -> pl.Expr:
    """Rows whose image was measured, shows enough tissue, and is not of one colour."""
    return ((pl.col("tissue") >= least) & (pl.col("contrast") >= LEAST_CONTRAST)).fill_null(value=False)


def note_small(samples: pl.DataFrame, _: Context) -> str | None:
    """How many images have too few pixels for all checks of `--quality`."""
    read = pl.col("image_error").is_null() & pl.col("image_width").is_not_null()
    small = samples.filter(read & pl.col("tissue").is_null()).height
    if not small:
        return None
    images = "image is" if small == 1 else "images are"
    return f"{small:,} {images} narrower or lower than {SMALLEST_SIDE} px: --quality does not judge them."


def percent(column: str | pl.Expr) -> pl.Expr:
    """A share as a whole percentage for messages, rounded down so that it never reads as the limit it is below."""
    share = pl.col(column) if isinstance(column, str) else column
    return (share * 100).floor().cast(pl.Int32)
