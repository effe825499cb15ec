"""`several_masks`: an image has several masks, and it is unclear which is meant."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Report which masks compete; the finding is at the row's mask, or at the image if there is none."""
    rivals = samples.filter(pl.col("rivals").is_not_null()).with_columns(
        path=pl.coalesce("mask_path", "image_path")
    )
    return found(rivals, "path", pl.format("{}; keep one mask, or merge them into one", "rivals"))


CHECK = Check(
    code="several_masks",
    severity="error",
    summary="An image has several masks.",
    judge=judge,
)
