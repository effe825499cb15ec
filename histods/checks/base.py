"""The definition of a check: a function of the table of all measurements.

Workers read pixels once and reduce them to numbers in a row of `SAMPLES`. A check turns the whole table into
findings, so that a threshold can change without reading files again, and so that a file can be compared with the
rest of its dataset.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from histods.labels.listed import Witness
    from histods.measurement.extra_measure import Measure

Severity = Literal["error", "warning", "info"]

LOOK = pl.Struct(
    {
        "colours": pl.UInt32(),
        "flat": pl.Float32(),
        "solid": pl.Float32(),
        "contrast": pl.UInt8(),
        "darkest": pl.UInt8(),
        "brightest": pl.UInt8(),
        "grey": pl.Boolean(),
    }
)

COLOUR = pl.Struct(
    {
        "colour": pl.UInt32(),  # 0xRRGGBB
        "pixels": pl.UInt32(),
        "runs": pl.UInt32(),
        "border": pl.UInt32(),
        "blended": pl.UInt32(),
        "index": pl.UInt16(),  # of the palette; null in masks of colours
    }
)

SAMPLES = pl.Schema(
    {
        "key": pl.String(),
        "image_path": pl.String(),
        "mask_path": pl.String(),
        "group": pl.String(),
        "by_design": pl.Boolean(),  # the image has no mask by design, as its folder, its row or an option says
        "outside": pl.Boolean(),  # the layout does not cover the picture: neither image nor mask
        "derived": pl.String(),  # why the name suggests that the picture was made from another one
        "mask_word": pl.String(),  # a word for masks in the name of an image without a mask
        "collision": pl.String(),  # names the files that share a key
        "rivals": pl.String(),  # names the files that are masks of one image
        "image_outside": pl.Boolean(),  # a link that leaves the root: not followed, nothing measured
        "mask_outside": pl.Boolean(),
        "image_error": pl.String(),  # the reader's reason, lower-case start, no full stop
        "image_format": pl.String(),  # of the content: jpeg, png, tiff, bmp, webp, gif
        "image_width": pl.UInt32(),
        "image_height": pl.UInt32(),
        "image_digest": pl.String(),
        "mask_error": pl.String(),
        "mask_not_index": pl.String(),  # why the values are not labels
        "mask_format": pl.String(),
        "mask_kind": pl.String(),
        "mask_width": pl.UInt32(),
        "mask_height": pl.UInt32(),
        "labels": pl.List(pl.UInt16),  # ascending
        "pixels": pl.List(pl.UInt32),  # same length; sums to the mask's size
        "mask_digest": pl.String(),
        "runs": pl.UInt32(),  # number of runs in row-major order
        "specks": pl.UInt32(),  # runs of at most 3 pixels between two different labels
        "off_palette": pl.UInt32(),  # pixels whose colour is not in the labels file
        "look": LOOK,  # of an image without a mask that may not be an image; see `histods.masks.looks.Look`
        "colours": pl.List(COLOUR),  # of colour and palette masks, most frequent first; see `ColourCounts`
        "colours_total": pl.UInt32(),  # number of different colours, including those beyond the list
        "palette": pl.String(),  # digest of the whole palette
        "lossy": pl.String(),  # the lossy compression inside another container, such as 'JPEG inside TIFF'
        "inverted": pl.Boolean(),  # 0 is stored as white
        "blobs": pl.UInt32(),  # regions, compact ones, and runs of label 0: of masks with many labels
        "compact": pl.UInt32(),
        "ground_runs": pl.UInt32(),
        "between": pl.UInt32(),  # specks with a label between those of their neighbours; null if specks are few
        "nearest": pl.Boolean(),  # those pixels got the label of the nearest colour, as requested
        "unread_labels": pl.String(),  # file of an unread format with the name of an image without a mask
        "image_orientation": pl.UInt8(),  # EXIF or TIFF, 2 to 8; null for upright
        "mask_orientation": pl.UInt8(),
        "image_converted": pl.String(),  # how training sees other pixels than those stored; advice after "; "
        "in_list": pl.Boolean(),  # `dataset.csv` in the dataset's folder names the sample
        "listed": pl.List(pl.UInt16),  # the labels, or classes, that it lists
        "held": pl.List(pl.UInt32),  # those of the mask, interpreted in the same way
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """A limit of a check that a user can set with `--set checks.CODE.NAME=VALUE`; no file is read again for that.

    Attributes:
        name: its name within the check.
        default: its value unless one is set; the type, int or float, is that of every value.
        meaning: what is flagged, as part of a sentence.
        source: where the default comes from: a publication, or what was measured on which images.
        least: the smallest value that makes sense.
        most: the largest.
    """

    name: str
    default: float
    meaning: str
    source: str
    least: float = 0.0
    most: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Facts about the dataset and options: named labels, whether they have colours, whether images were hashed.

    `has_pairs` tells whether a file of pairs gives the layout. `labels` is None without a labels file.
    `witness` describes `dataset.csv` in the dataset's folder, None without one.
    Pixels off the palette are counted under `off_palette_label`, which is not a label.
    `quality` tells whether the measures of `--quality` were taken. `overrides` are the thresholds that the user
    set, by `CODE.NAME`; `limits` all thresholds of the check at work, by name.
    """

    labels: frozenset[int] | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    off_palette_label: int = 65535
    hashed: bool = False
    has_colours: bool = False
    has_pairs: bool = False
    witness: Witness | None = None
    quality: bool = False
    overrides: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One code of the audit: its severity, a one-sentence summary, and the function that finds the files.

    `judge` takes a table of `SAMPLES`, with the columns of `measures`, and returns the strings `key`, `path` and
    `message`, one row per flagged file; and `other`, the key of the sample that the file is like, if there is one.
    Its context holds the `thresholds` of the check.

    `quality` tells that the check runs only with `--quality`; a check with a measure of images does.
    `note` takes the same as `judge`, and returns a sentence for the audit where the check could not judge some of
    the images: what finds nothing must not look like what was not looked for.
    """

    code: str
    severity: Severity
    summary: str
    judge: Callable[[pl.DataFrame, Context], pl.DataFrame]
    measures: tuple[Measure, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    quality: bool = False
    note: Callable[[pl.DataFrame, Context], str | None] | None = None

    def __post_init__(self) -> None:
        if not self.quality and any(measure.of_image for measure in self.measures):
            raise ValueError(f"the check {self.code} measures images, which needs quality=True")

    def context(self, context: Context) -> Context:
        """The context with this check's thresholds in `limits`."""
        overrides = context.overrides
        limits = {one.name: overrides.get(f"{self.code}.{one.name}", one.default) for one in self.thresholds}
        return replace(context, limits=limits)


def found(flagged: pl.DataFrame, path: str, message: str | pl.Expr) -> pl.DataFrame:
    """Findings for all rows of `flagged`: `path` names the column of the file, `message` says what to do."""
    text = pl.lit(message) if isinstance(message, str) else message
    return flagged.select("key", pl.col(path).alias("path"), text.alias("message"))


def measured_mask() -> pl.Expr:
    """Rows whose mask was read as labels; the other masks have no measurements."""
    unread = pl.col("mask_error").is_not_null() | pl.col("mask_not_index").is_not_null() | pl.col("mask_outside")
    return pl.col("mask_path").is_not_null() & pl.col("labels").is_not_null() & ~unread


def palette_entries(samples: pl.DataFrame) -> pl.DataFrame:
    """Entries that palette masks use: the columns row, palette (a digest), colour, index; one row per entry."""
    masks = samples.with_row_index("row").filter(
        measured_mask() & (pl.col("mask_kind") == "palette") & pl.col("colours").is_not_null()
    )
    entries = masks.select("row", "palette", "colours").explode("colours", empty_as_null=False)
    return entries.unnest("colours").drop_nulls("index").select("row", "palette", "colour", "index")


def has_off_palette_pixels() -> pl.Expr:
    """Rows whose mask was read from colours, some of which are not in the labels file."""
    return pl.col("off_palette").fill_null(0) > 0
