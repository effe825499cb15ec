"""`missing_mask`: an image without a mask outside the folders that have none by design."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find images without a mask; files that collide are told of once, as a collision."""
    maskless = pl.col("image_path").is_not_null() & pl.col("mask_path").is_null()
    expected = ~pl.col("by_design") & pl.col("collision").is_null()
    return found(
        samples.filter(maskless & expected),
        "image_path",
        "image has no mask; add the mask, or pass its folder with --unconditional if it has none by design",
    )


CHECK = Check(
    code="missing_mask",
    severity="warning",
    summary="An image without a mask, outside the folders that have none by design.",
    judge=judge,
)
