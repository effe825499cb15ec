"""`looks_like_mask`: a picture that would count as an image is a mask, or was made from another picture.

Every picture that is not recognised as a mask counts as an image. So a mask with an unusual name or in an
unsupported format, a copy of a mask, an overlay or a prediction would be used for training as tissue.
"""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found
from histods.masks.looks import Look


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find images without a mask whose names or pixels show that they are not images."""
    lonely = pl.col("image_path").is_not_null() & pl.col("mask_path").is_null() & ~pl.col("outside")
    suspects = samples.filter(lonely & (pl.col("derived").is_not_null() | pl.col("look").is_not_null()))
    columns = suspects.select("derived", "mask_word", "look").iter_rows()
    reasons = pl.Series("reason", [_reason(*row) for row in columns], dtype=pl.String)
    flagged = suspects.with_columns(reasons).filter(pl.col("reason").is_not_null())
    message = pl.format(
        "a mask or a picture made from another one, not an image: {}; move it out with "
        "'histods fix looks_like_mask --to DIR', or name the masks with --mask-suffix or --mask-pattern",
        "reason",
    )
    return found(flagged, "image_path", message)


def _reason(derived: str | None, mask_word: str | None, fields: dict[str, float] | None) -> str | None:
    if derived is not None:
        return derived
    look = None if fields is None else Look(**fields)  # type: ignore[arg-type]  # as they were measured
    if look is None or not (look.is_mask or (mask_word is not None and look.may_be_mask)):
        return None
    colours = "1 colour" if look.colours == 1 else f"{look.colours:,} colours"
    named = "" if mask_word is None else f", and its name says {mask_word!r}"
    return f"it has {colours}, and {100 * look.flat:.0f} % of its pixels are like their neighbours{named}"


CHECK = Check(
    code="looks_like_mask",
    severity="error",
    summary="A picture without a mask is itself a mask, or an overlay, prediction or copy.",
    judge=judge,
)
