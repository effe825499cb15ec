"""`too_dark`: an image so dark that even its brightest parts are.

Judged by the 99th percentile of luma, as CleanVision does with a limit of 0.32 (82 of 255). Ours is higher,
since bright-field images show light between structures: 21 real patches have 222 to 251, 500 generated ones of
skin at least 183, and the real ones at half their brightness 111 to 125, at 0.4 of it 88 to 100.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from histods.checks.base import Check, Threshold, found
from histods.checks.pictures import BRIGHTEST

if TYPE_CHECKING:
    from histods.checks.base import Context


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Say how bright the brightest parts of an image are."""
    dark = samples.filter(pl.col("brightest") < context.limits["brightest"])
    message = pl.format(
        "even its brightest parts have a brightness of {} of 255; scan it again, or leave it out", "brightest"
    )
    return found(dark, "image_path", message)


CHECK = Check(
    code="too_dark",
    severity="warning",
    summary="An image that is dark even in its brightest parts (with `--quality`).",
    judge=judge,
    measures=(BRIGHTEST,),
    thresholds=(
        Threshold(
            name="brightest",
            default=110.0,
            meaning="a lower 99th percentile of luma is too dark",
            source="measured: sound patches have at least 183, real ones at 0.4 of their brightness at most 100",
            most=255.0,
        ),
    ),
    quality=True,
)
