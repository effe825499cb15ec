"""`wide_mask`: small labels in 16-bit storage, which careless readers turn into zeros."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found, measured_mask

LARGEST_BYTE = 255  # labels up to here fit 8 bits


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find 16-bit grey masks whose labels would all fit 8 bits; a zero mask has nothing to lose."""
    largest = pl.col("labels").list.max()
    small = (pl.col("mask_kind") == "gray16") & largest.is_between(1, LARGEST_BYTE)
    message = pl.format(
        "labels up to {} are stored as 16 bits, of which many readers keep the high byte and see zeros; "
        "'histods fix wide_mask --repair --to DIR' writes 8 bits",
        largest,
    )
    return found(samples.filter(measured_mask() & small), "mask_path", message)


CHECK = Check(
    code="wide_mask",
    severity="warning",
    summary="Labels that fit 8 bits are stored as 16 bits, which some readers turn into zeros.",
    judge=judge,
)
