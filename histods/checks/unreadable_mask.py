"""`unreadable_mask`: a mask that the reader rejected."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found
from histods.checks.unreadable_image import reason_and_advice


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Turn the reader's reason for each rejected mask into a finding."""
    refused = pl.col("mask_path").is_not_null() & pl.col("mask_error").is_not_null() & ~pl.col("mask_outside")
    message = pl.format("mask cannot be read: {}", reason_and_advice("mask_error"))
    return found(samples.filter(refused), "mask_path", message)


CHECK = Check(
    code="unreadable_mask",
    severity="error",
    summary="A mask that is missing, empty, damaged or too large to decode.",
    judge=judge,
)
