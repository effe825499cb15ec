"""`inverted_mask`: 0 is shown as white, so that the values are the opposite of what a viewer shows.

Two ways of storing masks do that. A TIFF file can declare that its 0 is white, like fax machines. A palette can
have white before black: if all its colours are greys that decrease from index to index, nothing tells which of
them is the background. A palette that also has colours, such as a white background and coloured classes, has a
deliberate order, even in masks that use only its white and black.
"""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found, measured_mask, palette_entries
from histods.colours.colour_counts import GREY_SPREAD

WHITE = 0xFFFFFF


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Find TIFF masks whose 0 is white, and palettes of greys from white to black without colours for labels."""
    tiff = samples.filter(measured_mask() & pl.col("inverted"))
    message = (
        "the TIFF stores 0 as white, so that its values are the opposite of what a viewer shows; compare it with "
        "its image: if a viewer shows it right, write it with 'magick IN.tif OUT.png', else store 0 as black"
    )
    return pl.concat([found(tiff, "mask_path", message), _palettes(samples, context)])


def _palettes(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    entries = palette_entries(samples)
    if entries.is_empty() or context.has_colours:
        return found(samples.clear(), "mask_path", "")
    channels = [(pl.col("colour") // 2**shift % 256).cast(pl.Int64) for shift in (16, 8, 0)]
    spread = pl.max_horizontal(channels) - pl.min_horizontal(channels)
    greys = _without_colours(entries, entries.filter(spread > GREY_SPREAD))
    falling = (
        greys.sort("row", "index")
        .group_by("row", maintain_order=True)
        .agg(
            pl.len().alias("used"),
            (channels[1].diff().drop_nulls() < 0).all().alias("falls"),
            pl.col("colour").first().alias("first"),
            pl.col("index").first().alias("index"),
        )
    )
    proof = falling.filter((pl.col("used") > 1) & pl.col("falls"))
    if proof.is_empty():
        return found(samples.clear(), "mask_path", "")
    # An all-white mask is read as zero if the other masks show that their white is 0.
    alike = falling.filter((pl.col("used") == 1) & (pl.col("index") == 0) & (pl.col("first") == WHITE))
    rows = pl.concat([proof, alike])["row"]
    message = (
        "palette indices count up from white to black, and nothing says which is the background; give each label "
        "its colour in a --labels file, or write it with 'magick IN.png -type bilevel OUT.png' if black is 0"
    )
    flagged = samples.with_row_index("row").filter(pl.col("row").is_in(rows.implode()))
    return found(flagged, "mask_path", message)


def _without_colours(entries: pl.DataFrame, coloured: pl.DataFrame) -> pl.DataFrame:
    """Entries of masks that neither have the palette of a coloured mask, nor use only entries of one."""
    inside = entries.filter(pl.col("row").is_in(coloured["row"].unique().implode()))
    other = entries.filter(~pl.col("palette").is_in(coloured["palette"].unique().implode()))
    unsettled = other.join(inside.select("index", "colour"), on=["index", "colour"], how="anti")["row"].unique()
    return other.filter(pl.col("row").is_in(unsettled.implode()))


CHECK = Check(
    code="inverted_mask",
    severity="warning",
    summary="0 is stored as white, so that values are the opposite of what a viewer shows.",
    judge=judge,
)
