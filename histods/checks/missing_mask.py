"""`missing_mask`: an image without a mask that nobody said has none by design."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find images without a mask; files that compete have their own finding."""
    maskless = pl.col("image_path").is_not_null() & pl.col("mask_path").is_null()
    compete = pl.col("collision").is_not_null() | pl.col("rivals").is_not_null()
    missing = samples.filter(maskless & ~pl.col("by_design") & ~compete)
    pairs = samples.select((pl.col("image_path").is_not_null() & pl.col("mask_path").is_not_null()).any()).item()
    return found(missing, "image_path", _AMONG_PAIRS if pairs else _WITHOUT_PAIRS)


_AMONG_PAIRS = (
    "image has no mask; add the mask, or say that images without masks are meant: --allow-unpaired for all "
    "of them, --unconditional DIR for those of a folder"
)
_WITHOUT_PAIRS = (
    "image has no mask, and neither has any other; say which files are the masks: --mask-suffix, "
    "--image-pattern and --mask-pattern, or --pairs FILE"
)


CHECK = Check(
    code="missing_mask",
    severity="error",
    summary="An image without a mask that is not without one by design.",
    judge=judge,
)
