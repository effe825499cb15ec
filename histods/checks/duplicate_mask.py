"""`duplicate_mask`: the same mask file for several images, for example after copying the wrong file.

Masks of one label are skipped: they are rightly equal, and often most of a dataset. So are masks with few runs,
such as a straight border, which can be equal by chance, and masks whose images are equal as well (see
`duplicate_image`).
"""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found

MIN_RUNS = 16  # a shape that crosses fewer rows can be drawn twice


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Flag every mask of a group of equal digests under different images, and name the first other one."""
    pair = pl.col("image_path").is_not_null() & pl.col("mask_path").is_not_null()
    drawn = samples.lazy().filter(pair & pl.col("mask_digest").is_not_null() & _has_shape())
    columns = drawn.select("key", "image_path", "image_digest", "mask_path", "mask_digest").collect()
    repeated = columns.filter(pl.col("mask_digest").is_duplicated()).filter(
        pl.col("mask_path").n_unique().over("mask_digest") > 1
    )
    image = pl.coalesce("image_digest", "image_path")
    group = (
        repeated.filter(image.n_unique().over("mask_digest") > 1)
        .select("key", "mask_path", "mask_digest")
        .sort("mask_path", "key")
        .with_columns(
            pl.int_range(pl.len()).over("mask_digest").alias("position"),
            pl.col("mask_path").first().over("mask_digest").alias("first"),
            pl.col("mask_path").get(1).over("mask_digest").alias("second"),
            (pl.len().over("mask_digest").cast(pl.Int64) - 2).alias("more"),
        )
    )
    other = pl.when(pl.col("position") == 0).then("second").otherwise("first")
    rest = pl.when(pl.col("more") > 0).then(pl.format(" and {} more", "more")).otherwise(pl.lit(""))
    message = pl.format(
        "same bytes as {}{}, under another image{}; find out whose mask it is, and export the others again",
        other,
        rest,
        pl.lit("" if context.hashed else " file (--hash tells whether the images are equal, too)"),
    )
    return found(group, "mask_path", message)


def _has_shape() -> pl.Expr:
    """Whether a mask holds several labels, or as many colours, in more than a few runs."""
    several = (pl.col("labels").list.len() > 1).fill_null(value=False)
    return several & (pl.col("runs") >= MIN_RUNS)


CHECK = Check(
    code="duplicate_mask",
    severity="warning",
    summary="The same mask file under several images.",
    judge=judge,
)
