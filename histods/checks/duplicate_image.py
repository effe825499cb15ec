"""`duplicate_image`: several images have the same bytes.

Their masks should then be equal too. If they are not, one of them was drawn for another image, or two people
annotated the same image; the message asks the user to decide which pair is right.
"""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Flag every image of a group of equal digests and name the first other one.

    Unreadable images are skipped: empty files are all equal, and have their own finding.
    """
    if not context.hashed:
        return found(samples.clear(), "image_path", "")
    sound = (
        pl.col("image_path").is_not_null() & pl.col("image_digest").is_not_null() & pl.col("image_error").is_null()
    )
    repeated = pl.col("image_digest").is_duplicated()
    group = (
        samples.filter(sound)
        .filter(repeated)
        .select("key", "image_path", "image_digest", _mask_content().alias("mask"))
        .sort("image_path", "key")
    )
    others = group.with_columns(
        pl.int_range(pl.len()).over("image_digest").alias("position"),
        pl.col("image_path").first().over("image_digest").alias("first"),
        pl.col("image_path").get(1).over("image_digest").alias("second"),
        (pl.len().over("image_digest").cast(pl.Int64) - 2).alias("more"),
        (pl.col("mask").n_unique().over("image_digest") > 1).alias("differ"),
    )
    other = pl.when(pl.col("position") == 0).then("second").otherwise("first")
    rest = pl.when(pl.col("more") > 0).then(pl.format(" and {} more", "more")).otherwise(pl.lit(""))
    masks = (
        pl.when("differ")
        .then(pl.lit(", but their masks differ; keep the pair whose mask is right"))
        .otherwise(pl.lit("; keep one of them"))
    )
    return found(others, "image_path", pl.format("same bytes as {}{}{}", other, rest, masks))


def _mask_content() -> pl.Expr:
    """The content of a mask as text: its labels, which do not depend on the encoder, or its bytes if unread."""
    numbers = [pl.col(name).cast(pl.List(pl.String)).list.join(",") for name in ("labels", "pixels")]
    read = pl.concat_str(*numbers, pl.col("runs").cast(pl.String), separator=" ")
    return pl.coalesce(read, "mask_digest", "mask_error", "mask_not_index").fill_null("")


CHECK = Check(
    code="duplicate_image",
    severity="warning",
    summary="Several images have the same bytes (with `--hash`).",
    judge=judge,
)
