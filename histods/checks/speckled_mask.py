"""`speckled_mask`: labels in specks along edges, as resampling or lossy storage leaves them.

A speck is a run of 1 to 3 pixels between two different labels. Measured on 93 masks (real lung and skin-like
ones, ellipses and polygons of 64 to 512 pixels, 1 to 5 labels), specks as a share of runs, 5th to 95th percentile:

| masks                                        | share       |
| -------------------------------------------- | ----------- |
| as drawn, or resampled to nearest            | 0.00 - 0.06 |
| noisy edges: each pixel from 1 or 4 px away  | 0.00 - 0.11 |
| JPEG of quality 95, 75, 50                   | 0.10 - 0.80 |
| bilinear: halved, enlarged, there and back   | 0.02 - 0.83 |
| a sound class that outlines, 2 or 3 px wide  | 0.13 - 0.46 |
| a label drawn at random for every pixel      | 0.00 - 0.98 |

The share alone would therefore flag intact outlines and noise, so more numbers are used to separate them. With
them the check finds 93 % of the masks after JPEG and 89 % of the resampled ones (81 % and 68 % of a few such masks
in a dataset full of outlines), and 1 % of the intact ones: tiny masks of five labels with frayed edges. It mostly
misses masks such as {0, 1, 2}, which have no label in between that could be wrong.
"""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found, measured_mask

SMALLEST_COUNT = 16  # fewer specks occur where three regions of an intact mask meet
SMALLEST_SHARE = 0.2  # of all runs; see the table above

# Intact runs between edges are long. Pure noise averages below 1.6 pixels per run, while the most finely
# structured JPEG mask of the table averages 1.8. Noise of more labels than FEW_LABELS is refused on decoding, so
# other masks with shorter runs are soft: probabilities, or blurred edges.
SHORTEST_MEAN_RUN = 1.6
FEW_LABELS = 32

# Specks of a damaged mask are spread over values in between, each rarer than the specks: those labels hold 0.5 to
# 3.5 pixels per speck. An outline is one label with all the specks (0 pixels per speck), and small objects, each
# with its own label, hold far more pixels than there are specks.
SPREAD_PIXELS = (0.5, 4.0)

# Every run of an outline is next to one that is not a speck, so outlines stay below one half.
OUTLINE_SHARE = 0.55

# If the specks of this share of suspects are spread, the others were damaged in the same way. Datasets with
# outlines stay at 0.02; damaged ones with neighbouring labels such as 1 to 5 reach 0.25 and more.
ASSOCIATED_SHARE = 0.25

# Share of specks with a label between those of their neighbours: 0.5 to 1 after resampling, 0.27 and more after
# JPEG, at most 0.35 where vessels, nerves or small nuclei of several classes cross regions. JPEG also leaves many
# labels of very few pixels, unlike thin structures.
BETWEEN_SHARE = 0.4
STRAY_LABELS, STRAY_PIXELS = 4, 0.05  # labels, each with fewer pixels than this share of the specks


def speckled(samples: pl.DataFrame) -> pl.Series:
    """Which rows hold a speckled mask, as booleans."""
    few_pixels, many_pixels = SPREAD_PIXELS
    share = pl.col("specks") / pl.col("runs")
    no_noise = (pl.col("pixels").list.sum() >= SHORTEST_MEAN_RUN * pl.col("runs")) | (
        pl.col("labels").list.len() > FEW_LABELS
    )
    suspect = (pl.col("specks") >= SMALLEST_COUNT) & (share >= SMALLEST_SHARE) & no_noise
    rows = samples.with_row_index("row")
    suspects = rows.filter(measured_mask() & suspect).select(
        "row", "pixels", "specks", "between", share.alias("share")
    )
    rare = (
        suspects.explode("pixels", empty_as_null=False)
        .filter(pl.col("pixels") < pl.col("specks"))
        .group_by("row")
        .agg(
            pl.col("pixels").sum().alias("rare"),
            (pl.col("pixels") < STRAY_PIXELS * pl.col("specks")).sum().alias("strays"),
        )
    )
    blended = (pl.col("between") >= BETWEEN_SHARE * pl.col("specks")).fill_null(value=True)
    stray = (pl.col("strays") >= STRAY_LABELS).fill_null(value=False)
    spread = (pl.col("rare") / pl.col("specks")).is_between(few_pixels, many_pixels).fill_null(value=False)
    judged = (
        suspects.join(rare, on="row", how="left")
        .filter(blended | stray)
        .select("row", (spread | (pl.col("share") >= OUTLINE_SHARE)).alias("sure"))
    )
    damaged = judged
    if judged["sure"].sum() < ASSOCIATED_SHARE * len(judged):
        damaged = judged.filter("sure")
    return rows["row"].is_in(damaged["row"].implode())


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Report how many of a mask's runs are specks, and how to export it without them."""
    message = pl.format(
        "{} of {} runs are specks between two other labels, as resampling or lossy storage leaves them; "
        "export the mask again with nearest-neighbour resampling as PNG, or see what "
        "'histods fix speckled_mask --repair --remedy specks --to DIR' would remove",
        "specks",
        "runs",
    )
    return found(samples.filter(speckled(samples)), "mask_path", message)


CHECK = Check(
    code="speckled_mask",
    severity="warning",
    summary="Labels in specks along edges, as resampling or lossy storage leaves them.",
    judge=judge,
)
