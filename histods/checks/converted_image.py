"""`converted_image`: training sees other pixels than those that are stored."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Report what the reader converts: 16 bits, transparency, CMYK, grey whose 0 is white, animations."""
    meant = pl.col("image_path").is_not_null() & ~pl.col("image_outside") & ~pl.col("outside")
    read = meant & pl.col("image_error").is_null()
    converted = pl.col("image_converted").is_not_null()
    return found(samples.filter(read & converted), "image_path", pl.col("image_converted"))


CHECK = Check(
    code="converted_image",
    severity="warning",
    summary="Training sees an image otherwise than it is stored: 16 bits, transparency, CMYK, an animation.",
    judge=judge,
)
