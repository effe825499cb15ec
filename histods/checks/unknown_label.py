"""`unknown_label`: a mask holds labels that the labels file does not name."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found, has_off_palette_pixels, measured_mask

LISTED = 8  # a resampled mask can hold hundreds; the first few show the kind of mistake


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """List each mask's unnamed labels with their pixels; without a labels file, all labels are known."""
    if context.labels is None:
        return found(samples.clear(), "mask_path", "")
    reserved = has_off_palette_pixels() & (pl.col("labels") == context.off_palette_label)
    unnamed = ~pl.col("labels").is_in(sorted(context.labels))
    unknown = (
        samples.lazy()
        .filter(measured_mask())
        .select("key", "mask_path", "labels", "pixels", "off_palette")
        .explode("labels", "pixels", empty_as_null=False)
        .filter(unnamed & ~reserved)
        .with_columns(pl.format("{} ({} px)", "labels", "pixels").alias("entry"))
        .group_by("key", "mask_path", maintain_order=True)
        .agg(pl.col("entry").head(LISTED).str.join(", "), (pl.len().cast(pl.Int64) - LISTED).alias("more"))
        .collect()
    )
    rest = pl.when(pl.col("more") > 0).then(pl.format(" and {} more", "more")).otherwise(pl.lit(""))
    message = pl.format(
        "labels that the labels file does not name: {}{}; name them there or correct the mask", "entry", rest
    )
    return found(unknown, "mask_path", message)


CHECK = Check(
    code="unknown_label",
    severity="error",
    summary="A mask holds labels that the file given with `--labels` does not name.",
    judge=judge,
)
