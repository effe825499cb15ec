"""`zero_mask`: every pixel of a mask is 0."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found, measured_mask


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find masks whose only label is 0: their images are unconditional."""
    only_zero = pl.col("labels").list.max() == 0
    return found(
        samples.filter(measured_mask() & only_zero),
        "mask_path",
        "every pixel is 0, so the image counts as unconditional; annotate it if that is not meant",
    )


CHECK = Check(
    code="zero_mask",
    severity="info",
    summary="Every pixel of a mask is 0, so its image counts as unconditional.",
    judge=judge,
)
