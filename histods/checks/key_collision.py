"""`key_collision`: several files claim one key, so that nobody can say which belong together."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Repeat which files compete; the finding stands at the row's mask where that is one of them."""
    image, mask = pl.col("image_path"), pl.col("mask_path")
    masks_compete = pl.col("collision").str.contains(mask, literal=True)
    path = pl.when(image.is_null() | masks_compete).then(mask).otherwise(image)
    collided = samples.filter(pl.col("collision").is_not_null()).with_columns(path.alias("path"))
    return found(collided, "path", pl.format("{}; keep one image and one mask", "collision"))


CHECK = Check(
    code="key_collision",
    severity="error",
    summary="Several images or several masks share one key.",
    judge=judge,
)
