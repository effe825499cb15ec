"""`unreadable_image`: an image that the reader rejected."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def reason_and_advice(column: str) -> pl.Expr:
    """A reader's reason with advice: the reason's own, which follows a semicolon, or a default.

    Args:
        column: the column of reasons.
    """
    reason = pl.col(column)
    advice = (
        pl.when(reason.str.contains("; ", literal=True))
        .then(pl.lit(""))
        .when(reason.str.starts_with("cannot be opened"))
        .then(pl.lit("; make it readable and audit again"))
        .when(reason.str.starts_with("too large for the memory"))
        .then(pl.lit("; audit again with fewer --workers"))
        .when(reason == "not a regular file")
        .then(pl.lit("; put a file in its place"))
        .otherwise(pl.lit("; restore it from its source"))
    )
    return pl.concat_str(reason, advice)


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Turn the reader's reason for each rejected image into a finding."""
    refused = pl.col("image_path").is_not_null() & pl.col("image_error").is_not_null() & ~pl.col("image_outside")
    message = pl.format("image cannot be read: {}", reason_and_advice("image_error"))
    return found(samples.filter(refused), "image_path", message)


CHECK = Check(
    code="unreadable_image",
    severity="error",
    summary="An image that is missing, empty, damaged or too large to decode.",
    judge=judge,
)
