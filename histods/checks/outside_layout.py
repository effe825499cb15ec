"""`outside_layout`: a picture that is neither an image nor a mask in the layout."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Find the pictures that the layout does not cover; they are excluded."""
    reason = pl.format(" ({})", "derived").fill_null("")
    message = pl.format(
        "neither image nor mask in this layout{}; if it is meant, {}",
        reason,
        pl.lit(_ADD_LINE if context.has_pairs else _NAME_FOLDER),
    )
    path = pl.coalesce("image_path", "mask_path")
    return found(samples.filter("outside").with_columns(path=path), "path", message)


_ADD_LINE = "add a line for it to the file given with --pairs"
_NAME_FOLDER = "name its folder with --unconditional, or change the layout with --image-pattern and --mask-pattern"


CHECK = Check(
    code="outside_layout",
    severity="warning",
    summary="A picture that is neither image nor mask in the layout.",
    judge=judge,
)
