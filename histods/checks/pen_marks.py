"""`pen_marks`: ink of a marker on the slide: strong blue or green, or black over an area.

Pixels, averaged over 4x4 at reduced scale, count as ink by colour in HSV: blue from 190 to 245 degrees with a
saturation of at least 0.45 (nuclei in haematoxylin are purple, 250 degrees and more, or pale), green from 75 to
190 degrees with at least 0.25 (nothing in H&E is green), and black if the largest channel is below 0.4 of the
picture's brightest parts, in areas that hold a square of 8x8 pixels, which nuclei and grains of pigment do
not. Red ink is not looked for, since blood and eosin have its colour. Limits by colour are also how the filters
for pen marks of Erickson's "deep-histopath" (IBM, 2018) work; ours were set on our own images: 21 real patches
and 500 generated ones have no such pixel.

Other stains are blue, green and black throughout (trichrome, silver). Where more than a fifth of the images, and
at least ten, have ink of a colour, it is taken as the stain's: those images have no finding, and the audit says
so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pyarrow as pa

from histods.checks.base import Check, Threshold, found
from histods.checks.pictures import BRIGHTEST, percent
from histods.measurement.extra_measure import Measure

if TYPE_CHECKING:
    from histods.checks.base import Context
    from histods.images.reduced import Picture

COLOURS = ("blue", "green", "black")
_DEGREES = 255 / 360  # of OpenCV's hue from 0 to 255
_BLUE, _GREEN = (190, 245, 0.45), (75, 190, 0.25)  # first and last degree, least saturation
_LEAST_VALUE = 40  # of the largest channel: what is darker has no certain hue
_BLACK = 0.4  # of the brightest luma
_AREA = 2  # cells
_FEWEST = 10  # images with a colour that may be the stain's


def measure_ink(picture: Picture) -> dict[str, float] | None:
    """Share of the picture that has the colour of each ink."""
    if picture.is_small:
        return None
    hsv = cv2.cvtColor(picture.cells, cv2.COLOR_RGB2HSV_FULL)
    pixels = hsv[..., 0].size
    shares = {}
    for name, (first, last, saturation) in (("blue", _BLUE), ("green", _GREEN)):
        low = np.array([first * _DEGREES, 255 * saturation, _LEAST_VALUE])
        high = np.array([last * _DEGREES, 255, 255])
        shares[name] = cv2.countNonZero(cv2.inRange(hsv, low, high)) / pixels
    black = cv2.inRange(hsv[..., 2], np.array([0.0]), np.array([_BLACK * picture.brightest]))
    shares["black"] = 0.0
    if cv2.countNonZero(black):
        black = cv2.morphologyEx(black, cv2.MORPH_OPEN, np.ones((_AREA, _AREA), np.uint8))
        shares["black"] = cv2.countNonZero(black) / pixels
    return shares


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Name the inks of each image and the share that they cover."""
    stains = _stains(samples, context)
    inks = [name for name in COLOURS if name not in stains]
    if not inks:
        return found(samples.clear(), "image_path", "")
    inked = [_share(name) > context.limits["share"] for name in inks]
    names = pl.concat_str(
        [
            pl.when(flag).then(pl.format(f"{name} ink on {{}} %", percent(_share(name))))
            for name, flag in zip(inks, inked, strict=True)
        ],
        separator=", ",
        ignore_nulls=True,
    )
    message = pl.format("{} of the image; leave it out, or cut the mark off", names)
    return found(samples.filter(pl.any_horizontal(inked)), "image_path", message)


def note(samples: pl.DataFrame, context: Context) -> str | None:
    """Which colours are taken as the stain's."""
    stains = _stains(samples, context)
    if not stains:
        return None
    images = ", ".join(f"{name} in {number:,}" for name, number in stains.items())
    return (
        f"Strong {images} of {_measured(samples):,} images: taken as their stain and not as pen marks; "
        "if they are, use --set checks.pen_marks.stain=1."
    )


def _stains(samples: pl.DataFrame, context: Context) -> dict[str, int]:
    """Colours that too many images have to be ink, with their number of images."""
    most = max(context.limits["stain"] * _measured(samples), _FEWEST - 1)
    numbers = {name: samples.filter(_share(name) > context.limits["share"]).height for name in COLOURS}
    return {name: number for name, number in numbers.items() if number > most}


def _measured(samples: pl.DataFrame) -> int:
    return len(samples) - samples["ink"].null_count()


def _share(name: str) -> pl.Expr:
    return pl.col("ink").struct.field(name)


CHECK = Check(
    code="pen_marks",
    severity="warning",
    summary="Blue, green or black ink of a marker (with `--quality`).",
    judge=judge,
    measures=(
        BRIGHTEST,
        Measure(
            column="ink",
            version=2,
            type=pa.struct([(name, pa.float32()) for name in COLOURS]),
            quality=True,
            of_image=measure_ink,
        ),
    ),
    thresholds=(
        Threshold(
            name="share",
            default=0.01,
            meaning="a larger share of ink is a mark",
            source="measured: 21 real patches and 500 generated ones have none; a stroke across 512 px covers 4 %",
        ),
        Threshold(
            name="stain",
            default=0.2,
            meaning="a colour in a larger share of the images is that of their stain",
            source="chosen: marks are rare, stains are in nearly all images",
        ),
    ),
    quality=True,
    note=note,
)
