"""`not_an_index_mask`: a mask whose values are not labels: colours, transparency, a picture, numbers of objects.

Most reasons are known when a mask is decoded. Object numbers (nuclei, glands), one value per object of an image,
can only be proven with the whole dataset. Measured on drawn masks of 60 to 768 pixels, for more than 24 labels:

| masks                                        | regions per label | runs of label 0 |
| -------------------------------------------- | ----------------- | --------------- |
| nuclei, apart or touching                    | 0.98 - 1.00       | 0.32 - 0.50     |
| more than 255 of them in 8 bits              | 2.3 - 5.9         | 0.50            |
| numbers of overlapping objects, added        | 1.0               | 0.44            |
| cells that fill the image                    | 1.0               | 0.00            |
| tissue of 30 to 74 classes                   | 1.2 - 7.8         | 0.00 - 0.03     |

Nine in ten of all these regions are compact, unlike specks and outlines. Object numbers differ from classes that
occur once each in that the number of objects varies between images, and most numbers are in few images.
"""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found, measured_mask

COMPACT = 0.75  # of the regions of a mask; those of a speckled one are not
ONE_REGION = (0.6, 1.3)  # regions per label: small objects vanish, a few are cut in two by others
GROUND = 0.25  # of all runs lie on the ground between objects
ALL_NUMBERS = 200  # labels in 8 bits: no class system fills them, object numbers beyond 255 wrap around to 0
MANY_NUMBERS = 100  # one region each: beyond every class system of tissue
VARIED = 0.5  # different largest numbers per mask
SERIES = 1.1  # largest number, as a multiple of the number of labels, if hardly any number is missing
RARE = 0.5  # different labels per label that a mask holds: most are in only one mask
MIN_MASKS = 3


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Find masks that decode, but not to labels."""
    readable = pl.col("mask_path").is_not_null() & pl.col("mask_error").is_null() & ~pl.col("mask_outside")
    objects = _objects(samples, context)
    suspect = pl.col("mask_not_index").is_not_null() | pl.col("row").is_in(objects["row"].implode())
    if context.hashed:
        suspect |= pl.col("image_digest") == pl.col("mask_digest")
    rows = samples.with_row_index("row").filter(readable & suspect).join(objects, on="row", how="left")
    reason = _copy_of_image(context).fill_null(pl.col("mask_not_index")).fill_null(pl.col("objects"))
    flagged = rows.with_columns(reason.alias("reason")).filter(pl.col("reason").is_not_null())
    colours = pl.col("reason").str.contains("colours?( |$)")
    advice = (
        pl.when(pl.col("reason").str.contains("; ", literal=True))
        .then(pl.lit(""))
        .when(colours)
        .then(pl.lit(f"; {_draft(context)}"))
        .otherwise(pl.lit("; export it again as an index mask"))
    )
    return found(flagged, "mask_path", pl.format("mask does not hold labels: {}{}", "reason", advice))


def _draft(context: Context) -> str:
    """Advice on how to turn colours into labels."""
    if context.has_colours:
        return (
            "add the missing colours to the labels file (--write-labels FILE drafts one) or pass --nearest-colour"
        )
    return "draft a labels file with --write-labels FILE, correct it, and audit again with --labels FILE"


def _copy_of_image(context: Context) -> pl.Expr:
    """A message if a mask equals its image byte for byte; null if not, or if images were not hashed."""
    same = pl.col("image_digest") == pl.col("mask_digest")
    text = "it has the same bytes as its image; put the mask in place of this copy"
    return pl.when(same & context.hashed).then(pl.lit(text))


def _objects(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Rows whose labels number objects, with the reason as `objects`."""
    nothing = pl.DataFrame(schema={"row": pl.get_index_type(), "objects": pl.String()})
    masks = samples.with_row_index("row").filter(measured_mask() & (pl.col("blobs") > 0))
    if masks.is_empty():
        return nothing
    masks = masks.select(
        "row",
        "labels",
        pl.col("blobs").cast(pl.Int64),
        (pl.col("compact") >= COMPACT * pl.col("blobs")).alias("compact"),
        (pl.col("ground_runs") >= GROUND * pl.col("runs")).alias("apart"),
        (pl.col("labels").list.len() - pl.col("labels").list.contains(0).cast(pl.Int64)).alias("count"),
        pl.col("labels").list.max().cast(pl.Int64).alias("top"),
    ).filter("compact", ~pl.col("top").is_in(sorted(context.labels or ())))
    fewest, most = ONE_REGION
    single = pl.col("blobs").is_between(fewest * pl.col("count"), most * pl.col("count"))
    begun_again = (pl.col("count") >= ALL_NUMBERS) & (pl.col("top") <= 255) & (pl.col("blobs") > pl.col("count"))
    numbered = masks.filter(single)
    varied = _is_varied(numbered)
    series = (pl.col("top") <= SERIES * pl.col("count")) & (len(numbered) >= MIN_MASKS)
    proven = masks.filter(
        (begun_again & pl.col("apart"))
        | (single & pl.col("apart") & ((pl.col("count") >= MANY_NUMBERS) | varied))
        | (single & series & varied)
    )
    if proven.is_empty():
        return nothing
    reason = pl.format("its {} labels number objects, each of them one region; {}", "count", pl.lit(_OBJECTS))
    sure = proven.select("row", reason.alias("objects"))
    return pl.concat([sure, _others(samples, context, masks=masks, proven=proven)])


_OBJECTS = "export the class of each object, or name the labels in a --labels file if they are classes"


def _is_varied(numbered: pl.DataFrame) -> bool:
    """Whether the largest numbers of masks differ, or masks hold labels that hardly any other mask has."""
    if len(numbered) < 2:
        return False
    labels = numbered["labels"].explode()
    rare = len(numbered) >= MIN_MASKS and labels.n_unique() >= RARE * len(labels)
    return rare or numbered["top"].n_unique() >= max(2, VARIED * len(numbered))


def _others(samples: pl.DataFrame, context: Context, *, masks: pl.DataFrame, proven: pl.DataFrame) -> pl.DataFrame:
    """Masks of few objects (labels 1, 2, 3 ...) in a dataset whose masks of many labels all number objects."""
    counted = pl.col("labels").list.len() - pl.col("labels").list.contains(0).cast(pl.Int64)
    top = pl.col("labels").list.max().cast(pl.Int64)
    rows = samples.with_row_index("row").filter(measured_mask() & (top > 0))
    few = rows.filter(pl.col("blobs").is_null())
    series = few.filter((top == counted) & ~top.is_in(sorted(context.labels or ())))
    all_many = len(proven) >= max(MIN_MASKS, 0.9 * (len(rows) - len(few))) and len(proven) >= 0.9 * len(masks)
    text = f"its labels number objects, as those of {len(proven)} other masks do; {_OBJECTS}"
    if not all_many or len(series) < 0.9 * len(few):
        series = series.clear()
    return series.select("row", pl.lit(text).alias("objects"))


CHECK = Check(
    code="not_an_index_mask",
    severity="error",
    summary="A mask of colours, transparency, a picture or object numbers: its values are not labels.",
    judge=judge,
)
