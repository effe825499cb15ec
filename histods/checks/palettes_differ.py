"""`palettes_differ`: palette masks whose palettes give one index several colours, or one colour several indices.

The labels of a palette mask are its indices. Programs that reduce colours to a palette number them separately in
each file, by frequency or brightness, so one index may be tumour in one mask and stroma in another. Only entries
that masks use are compared. A colour that occurs twice in a palette proves nothing, since palettes are padded with
black.
"""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found, palette_entries

TOLERANCE = 8  # per channel: the same colour after a colour profile; greys must be equal, since they may be labels
FEW = 0.25  # if at most this share of masks deviates, the others are right, provided they have
MIN_ALIKE = 5  # at least this number, all with one palette, which was then designed and not computed per file


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Flag masks that deviate from the usual palette; if many do, all masks with a contested index or colour."""
    entries = palette_entries(samples)
    if entries["palette"].n_unique() < 2:
        return found(samples.clear(), "mask_path", "")
    masks = entries["row"].n_unique()
    contested = pl.concat([_indices(entries), _colours(entries)])
    deviating = contested.filter("deviates")
    alike = entries.filter(~pl.col("row").is_in(deviating["row"].implode()))
    designed = alike["palette"].n_unique() == 1 and alike["row"].n_unique() >= MIN_ALIKE
    if designed and deviating["row"].n_unique() <= FEW * masks:
        contested = deviating
    first = contested.sort("row", "place").unique("row", keep="first", maintain_order=True)
    flagged = samples.with_row_index("row").join(first, on="row", how="inner")
    message = pl.format(
        "{}, so that palette indices mean different things; write these masks as RGB, "
        "for example with 'magick IN.png PNG24:OUT.png', and draft a labels file with --write-labels FILE",
        "conflict",
    )
    return found(flagged, "mask_path", message)


def _indices(entries: pl.DataFrame) -> pl.DataFrame:
    """Entries whose index has another colour in other masks."""
    usual, other = _rivals(entries, of="index", which="colour", differs=_far("colour", "usual"))
    joined = entries.join(usual, on="index").join(other, on="index")
    deviates = _far("colour", "usual")
    rival = pl.when(deviates).then("usual").otherwise("other")
    number = pl.when(deviates).then("usual_masks").otherwise("other_masks")
    text = pl.format(
        "palette index {} is {} here and {} in {} other masks", "index", "name", "rival_name", "number"
    )
    return (
        joined.with_columns(deviates.alias("deviates"), rival.alias("rival"), number.alias("number"))
        .with_columns(_name("colour").alias("name"), _name("rival").alias("rival_name"))
        .select("row", pl.col("index").cast(pl.Int64).alias("place"), "deviates", text.alias("conflict"))
    )


def _colours(entries: pl.DataFrame) -> pl.DataFrame:
    """Entries whose colour has another index in other masks, unless one palette holds that colour twice."""
    per_palette = entries.group_by("palette", "colour").agg(pl.col("index").n_unique())
    doubled = per_palette.filter(pl.col("index") > 1)["colour"].unique()
    single = entries.filter(~pl.col("colour").is_in(doubled.implode()))
    differs = pl.col("index") != pl.col("usual")
    usual, other = _rivals(single, of="colour", which="index", differs=differs)
    joined = single.join(usual, on="colour").join(other, on="colour")
    rival = pl.when(differs).then("usual").otherwise("other")
    number = pl.when(differs).then("usual_masks").otherwise("other_masks")
    text = pl.format("{} has palette index {} here and {} in {} other masks", "name", "index", "rival", "number")
    return (
        joined.with_columns(differs.alias("deviates"), rival.alias("rival"), number.alias("number"))
        .with_columns(_name("colour").alias("name"))
        .select("row", (256 + pl.col("index").cast(pl.Int64)).alias("place"), "deviates", text.alias("conflict"))
    )


def _rivals(entries: pl.DataFrame, *, of: str, which: str, differs: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    """For each value of `of`: the value of `which` that most masks have, and the next one that differs from it."""
    pairs = entries.group_by(of, which).agg(pl.col("row").n_unique().alias("masks"))
    pairs = pairs.sort(of, "masks", which, descending=[False, True, False])
    usual = pairs.group_by(of, maintain_order=True).agg(
        pl.col(which).first().alias("usual"), pl.col("masks").first().alias("usual_masks")
    )
    others = pairs.join(usual, on=of, maintain_order="left").filter(differs)
    other = others.group_by(of, maintain_order=True).agg(
        pl.col(which).first().alias("other"), pl.col("masks").first().alias("other_masks")
    )
    return usual, other


def _far(one: str, other: str) -> pl.Expr:
    """Whether two colours differ by more than a colour profile can cause."""
    ones, others = ([pl.col(name) // 2**shift % 256 for shift in (16, 8, 0)] for name in (one, other))
    distance = pl.max_horizontal(
        (a.cast(pl.Int64) - b.cast(pl.Int64)).abs() for a, b in zip(ones, others, strict=True)
    )
    greys = (ones[0] == ones[1]) & (ones[1] == ones[2]) & (others[0] == others[1]) & (others[1] == others[2])
    return pl.when(greys).then(distance > 0).otherwise(distance > TOLERANCE)


def _name(column: str) -> pl.Expr:
    """Colours in the form #rrggbb."""
    return pl.col(column).map_elements(lambda colour: f"#{colour:06x}", return_dtype=pl.String)


CHECK = Check(
    code="palettes_differ",
    severity="warning",
    summary="Palettes give one index different colours from mask to mask, or one colour different indices.",
    judge=judge,
)
