"""`orphan_mask`: a mask whose image is missing."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find masks without an image; colliding files are reported only as a collision."""
    compete = pl.col("collision").is_not_null() | pl.col("rivals").is_not_null()
    orphan = pl.col("mask_path").is_not_null() & pl.col("image_path").is_null() & ~compete
    return found(
        samples.filter(orphan),
        "mask_path",
        "mask has no image; restore the image or move the mask out of the dataset",
    )


CHECK = Check(code="orphan_mask", severity="error", summary="A mask whose image is missing.", judge=judge)
