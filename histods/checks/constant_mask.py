"""`constant_mask`: every pixel of a mask has one label other than 0."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found, has_off_palette_pixels, measured_mask


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Find masks of one label; pixels off the palette do not count as a label."""
    constant = (pl.col("labels").list.len() == 1) & (pl.col("labels").list.first() != 0)
    flagged = samples.filter(measured_mask() & constant & ~has_off_palette_pixels())
    names = {label: f" ({name})" for label, name in context.names.items()}
    label = pl.col("labels").list.first()
    name = label.cast(pl.Int64).replace_strict(names, default="", return_dtype=pl.String)
    message = pl.format("every pixel is {}{}; check that one label is meant for the whole patch", label, name)
    return found(flagged, "mask_path", message)


CHECK = Check(
    code="constant_mask",
    severity="info",
    summary="Every pixel of a mask has one label other than 0.",
    judge=judge,
)
