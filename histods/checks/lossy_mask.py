"""`lossy_mask`: a mask stored as JPEG, whatever its suffix says."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find masks whose content is JPEG: along edges their labels are no longer those that were drawn."""
    return found(
        samples.filter(pl.col("mask_path").is_not_null() & (pl.col("mask_format") == "jpeg")),
        "mask_path",
        "mask is stored as JPEG, which invents labels along edges; export it again from its source as PNG",
    )


CHECK = Check(
    code="lossy_mask",
    severity="warning",
    summary="A mask stored as JPEG, which invents labels along edges.",
    judge=judge,
)
