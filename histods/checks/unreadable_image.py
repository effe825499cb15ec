"""`unreadable_image`: an image that the reader refused."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Turn the reader's reason for each refused image into a finding."""
    refused = pl.col("image_path").is_not_null() & pl.col("image_error").is_not_null() & ~pl.col("image_outside")
    message = pl.format("image cannot be read: {}; restore it from its source", "image_error")
    return found(samples.filter(refused), "image_path", message)


CHECK = Check(
    code="unreadable_image",
    severity="error",
    summary="An image that is missing, empty, damaged or too large to decode.",
    judge=judge,
)
