"""`lossy_mask`: a mask stored with a lossy compression, whatever its suffix says."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find masks of JPEG content, or with a lossy compression inside TIFF or WebP."""
    jpeg = pl.when(pl.col("mask_format") == "jpeg").then(pl.lit("JPEG"))
    how = pl.coalesce("lossy", jpeg)
    message = pl.format(
        "mask is stored as {}, which invents labels along edges; export it again from its source as PNG", how
    )
    return found(samples.filter(pl.col("mask_path").is_not_null() & how.is_not_null()), "mask_path", message)


CHECK = Check(
    code="lossy_mask",
    severity="warning",
    summary="A mask stored as JPEG or with another lossy compression, which invents labels along edges.",
    judge=judge,
)
