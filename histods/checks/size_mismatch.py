"""`size_mismatch`: an image and its mask differ in width or height."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found, measured_mask

FIRST_QUARTER_TURN = 5  # orientations 5 to 8 swap width and height


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find pairs whose sizes are both known and differ."""
    differs = (pl.col("image_width") != pl.col("mask_width")) | (pl.col("image_height") != pl.col("mask_height"))
    message = pl.format(
        "image is {}x{}, mask is {}x{}; export the mask again at the image's size",
        "image_width",
        "image_height",
        "mask_width",
        "mask_height",
    )
    sized = pl.all_horizontal(pl.col("image_width", "image_height", "mask_width", "mask_height").is_not_null())
    return found(samples.filter(measured_mask() & sized & differs & ~_alike_once_turned()), "mask_path", message)


def _alike_once_turned() -> pl.Expr:
    """Width and height are swapped, and a tag rotates one of the two files; `turned` reports this."""
    swapped = (pl.col("image_width") == pl.col("mask_height")) & (pl.col("image_height") == pl.col("mask_width"))
    by_tag = pl.max_horizontal("image_orientation", "mask_orientation") >= FIRST_QUARTER_TURN
    return (swapped & by_tag).fill_null(value=False)


CHECK = Check(
    code="size_mismatch",
    severity="error",
    summary="An image and its mask differ in width or height.",
    judge=judge,
)
