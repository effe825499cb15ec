"""`stain_outlier`: an image whose stain is far from that of the dataset.

The stain is described as in the hue-saturation-density model of van der Laak et al. (Cytometry 2000): the mean
optical density (OD) of red, green and blue over tissue gives two chromatic coordinates, which do not depend on
the amount of stain, and a density. Tissue are cells of 4x4 pixels, at reduced scale, with a mean OD above 0.15,
the limit of Macenko et al. (ISBI 2009). The distance of an image is that from the dataset's median, in robust
deviations (1.4826 times the median absolute deviation, MAD), of both chromatic coordinates together or of the
density. Iglewicz and Hoaglin (1993) take 3.5 for an outlier of one normal value; tissues differ by more than
normal values do, so the limit is 5: in 500 generated patches of many tissues the largest distance is 3.8, in 20
real ones of two scans 4.4.

Half of the images may be outliers at most, so two stains of equal frequency are not told apart. Where more than
a fifth are, the audit says that the dataset rather has several stains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pyarrow as pa

from histods.checks import over_exposed, too_dark
from histods.checks.base import Check, Threshold, found
from histods.checks.pictures import CONTRAST, TISSUE, has_tissue
from histods.measurement.extra_measure import Measure

if TYPE_CHECKING:
    from histods.checks.base import Context
    from histods.images.reduced import Picture

CHANNELS = ("red", "green", "blue")
_STAINED = 0.15  # mean optical density
_SEVERAL = 0.2  # of the images; with more outliers, there is more than one stain
_MAD_TO_DEVIATION = 1.4826
_LEAST = {"red_share": 0.02, "green_blue": 0.02, "density": 0.1}
"""Deviations below which a dataset of equal images is not divided."""


def measure_absorbance(picture: Picture) -> dict[str, float] | None:
    """Mean optical density of red, green and blue over stained tissue; null where there is hardly any."""
    if picture.is_small:
        return None
    density = cv2.LUT(picture.cells, _DENSITIES)
    stained = (cv2.transform(density, np.full((1, 3), 1 / 3)) > _STAINED).view(np.uint8)
    if cv2.countNonZero(stained) < 0.05 * stained.size:
        return None
    return dict(zip(CHANNELS, cv2.mean(density, stained)[:3], strict=True))


_DENSITIES = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Say how far the stain of each outlier is, and in which way it differs."""
    judged = _described(samples, context)
    if len(judged) < context.limits["images"]:
        return found(samples.clear(), "image_path", "")
    for name, least in _LEAST.items():
        middle = judged[name].median()
        spread = (judged[name] - middle).abs().median()
        assert isinstance(spread, float)  # noqa: S101 - there are images, and none is null
        deviation = max(_MAD_TO_DEVIATION * spread, least)
        judged = judged.with_columns(((pl.col(name) - middle) / deviation).alias(name))
    colour = (pl.col("red_share") ** 2 + pl.col("green_blue") ** 2).sqrt()
    judged = judged.with_columns(colour=colour, distance=pl.max_horizontal(colour, pl.col("density").abs()))
    way = (
        pl.when(pl.col("colour") >= pl.col("density").abs())
        .then(pl.lit("another colour"))
        .when(pl.col("density") > 0)
        .then(pl.lit("stronger"))
        .otherwise(pl.lit("paler"))
    )
    message = pl.format(
        "its stain is {}: {} robust deviations from the median of the dataset; "
        "leave it out, or normalise stains before training",
        way,
        pl.col("distance").round(1),
    )
    return found(judged.filter(pl.col("distance") > context.limits["distance"]), "image_path", message)


def note(samples: pl.DataFrame, context: Context) -> str | None:
    """Why no stain was compared, or that there are several."""
    images, fewest = _described(samples, context).height, int(context.limits["images"])
    if images < fewest:
        return (
            f"Stains were not compared: {images:,} images show tissue, and fewer than {fewest:,} do not tell what "
            "is usual; change it with --set checks.stain_outlier.images=NUMBER."
        )
    outliers = judge(samples, context).height
    if outliers <= _SEVERAL * images:
        return None
    return (
        f"The stains of {outliers:,} of {images:,} images are outliers: rather than leave these out, audit images "
        "of each stain or scanner in a folder of their own, or normalise stains before training."
    )


def _described(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Well exposed images with tissue: coordinates `red_share` and `green_blue`, and the logarithm `density`."""
    red, green, blue = (pl.col("absorbance").struct.field(name).cast(pl.Float64) for name in CHANNELS)
    density = (red + green + blue) / 3
    exposed = [
        check.judge(samples, check.context(context))["path"] for check in (too_dark.CHECK, over_exposed.CHECK)
    ]
    wrong = pl.col("image_path").is_in(pl.concat(exposed).implode())
    return samples.filter(has_tissue() & pl.col("absorbance").is_not_null() & ~wrong).select(
        "key",
        "image_path",
        red_share=red / density - 1,
        green_blue=(green - blue) / (density * 3**0.5),
        density=density.log(),
    )


CHECK = Check(
    code="stain_outlier",
    severity="warning",
    summary="An image whose stain is far from that of the dataset (with `--quality`).",
    judge=judge,
    measures=(
        TISSUE,
        CONTRAST,
        *too_dark.CHECK.measures,
        *over_exposed.CHECK.measures,
        Measure(
            column="absorbance",
            version=2,
            type=pa.struct([(name, pa.float32()) for name in CHANNELS]),
            quality=True,
            of_image=measure_absorbance,
        ),
    ),
    thresholds=(
        Threshold(
            name="distance",
            default=5.0,
            meaning="a larger distance from the median is an outlier, in robust deviations",
            source="measured: at most 4.4 in 520 sound patches; 3.5 in Iglewicz and Hoaglin 1993",
            most=1000.0,
        ),
        Threshold(
            name="images",
            default=30,
            meaning="with fewer images that show tissue, stains are not compared",
            source="chosen: the median absolute deviation of fewer images varies by a fifth and more",
            least=3,
            most=1_000_000,
        ),
    ),
    quality=True,
    note=note,
)
