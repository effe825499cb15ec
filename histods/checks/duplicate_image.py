"""`duplicate_image`: several images have the same bytes."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Flag every image of a group of equal digests and name the first other one.

    Images that cannot be read are left out: empty files are all alike, and have their own finding.
    """
    if not context.hashed:
        return found(samples.clear(), "image_path", "")
    sound = (
        pl.col("image_path").is_not_null() & pl.col("image_digest").is_not_null() & pl.col("image_error").is_null()
    )
    repeated = pl.col("image_digest").is_duplicated()
    group = (
        samples.filter(sound)
        .select("key", "image_path", "image_digest")
        .filter(repeated)
        .sort("image_path", "key")
    )
    others = group.with_columns(
        pl.int_range(pl.len()).over("image_digest").alias("position"),
        pl.col("image_path").first().over("image_digest").alias("first"),
        pl.col("image_path").get(1).over("image_digest").alias("second"),
        (pl.len().over("image_digest").cast(pl.Int64) - 2).alias("more"),
    )
    other = pl.when(pl.col("position") == 0).then("second").otherwise("first")
    rest = pl.when(pl.col("more") > 0).then(pl.format(" and {} more", "more")).otherwise(pl.lit(""))
    return found(others, "image_path", pl.format("same bytes as {}{}; keep one of them", other, rest))


CHECK = Check(
    code="duplicate_image",
    severity="warning",
    summary="Several images have the same bytes (with `--hash`).",
    judge=judge,
)
