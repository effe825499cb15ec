"""`not_an_index_mask`: a colour, alpha or colour-palette mask whose values are not labels."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find masks that decode, but not to labels."""
    colour = pl.col("mask_not_index").is_not_null() & pl.col("mask_error").is_null() & ~pl.col("mask_outside")
    message = pl.format(
        "mask does not hold labels: {}; give each label its colour in a --labels file or export an index mask",
        "mask_not_index",
    )
    return found(samples.filter(pl.col("mask_path").is_not_null() & colour), "mask_path", message)


CHECK = Check(
    code="not_an_index_mask",
    severity="error",
    summary="A mask of colours or transparency whose values are not labels.",
    judge=judge,
)
