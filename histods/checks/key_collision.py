"""`key_collision`: several files share one key, so it is unclear which belong together."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Report which files compete; the finding is at the row's image if it has one."""
    collided = samples.filter(pl.col("collision").is_not_null())
    named = collided.with_columns(path=pl.coalesce("image_path", "mask_path"))
    return found(named, "path", pl.format("{}; keep one of them", "collision"))


CHECK = Check(
    code="key_collision",
    severity="error",
    summary="Several files share one key.",
    judge=judge,
)
