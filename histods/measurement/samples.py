"""From measured files to samples: joining, roles, counts and totals, as whole-table arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from histods.records import Counts, LabelCount, LabelTotals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from histods.measurement.worker import MeasureOptions

# Column of a measured file -> column of the sample it belongs to.
_IMAGE_COLUMNS = {
    "error": "image_error",
    "format": "image_format",
    "width": "image_width",
    "height": "image_height",
    "digest": "image_digest",
    "bytes": "image_bytes",
    "mtime_ns": "image_mtime_ns",
    "look": "look",
    "orientation": "image_orientation",
    "converted": "image_converted",
}
_MASK_COLUMNS = {
    "error": "mask_error",
    "not_index": "mask_not_index",
    "format": "mask_format",
    "kind": "mask_kind",
    "width": "mask_width",
    "height": "mask_height",
    "labels": "labels",
    "pixels": "pixels",
    "digest": "mask_digest",
    "runs": "runs",
    "specks": "specks",
    "off_palette": "off_palette",
    "colours": "colours",
    "colours_total": "colours_total",
    "palette": "palette",
    "lossy": "lossy",
    "inverted": "inverted",
    "blobs": "blobs",
    "compact": "compact",
    "ground_runs": "ground_runs",
    "between": "between",
    "bytes": "mask_bytes",
    "mtime_ns": "mask_mtime_ns",
    "orientation": "mask_orientation",
}


def join_measurements(
    paired: pl.DataFrame, measured: pl.DataFrame, options: MeasureOptions | None = None
) -> pl.DataFrame:
    """Give each sample what was measured of its image and of its mask; null where there is no such file.

    Args:
        paired: one row per sample with `image_path` and `mask_path`.
        measured: one row per file with `path` and `is_mask`.
        options: how they were measured. What an earlier audit measured with `quality` is null without it.

    Returns:
        The rows of `paired`, in their order, with the columns of both files.
    """
    joined, measures = paired, options.measures if options else ()
    if options is not None and not options.quality:
        measured = measured.with_columns(
            pl.lit(None, measured.schema[measure.column]).alias(measure.column)
            for measure in measures
            if measure.quality
        )
    of_images = _IMAGE_COLUMNS | {measure.column: measure.column for measure in measures if measure.of_image}
    of_masks = _MASK_COLUMNS | {measure.column: measure.column for measure in measures if measure.of_mask}
    for is_mask, path, columns in ((False, "image_path", of_images), (True, "mask_path", of_masks)):
        files = measured.filter(pl.col("is_mask") == is_mask).select(pl.col("path").alias(path), *columns)
        joined = joined.join(files.rename(columns), on=path, how="left", maintain_order="left")
    return joined


def with_likeness(samples: pl.DataFrame, findings: pl.DataFrame) -> pl.DataFrame:
    """Add `looks_like`: the key of the first image, by path, of the set of near-duplicates that a sample is in.

    Args:
        samples: rows of samples.
        findings: the findings of all checks, with `other`.
    """
    first: dict[str, str] = {}
    links = findings.filter(code="near_duplicate").sort("path")
    for key, other in links.select("key", "other").iter_rows():  # `other` comes before `key`
        first[key] = first.setdefault(other, other)
    keys = samples["key"].replace_strict(first, default=None, return_dtype=pl.String)
    return samples.with_columns(keys.alias("looks_like"))


def with_roles(samples: pl.DataFrame, findings: pl.DataFrame) -> pl.DataFrame:
    """Add `role`.

    A sample is excluded if it has an error, was not read, is outside the layout, or has no mask though nobody said
    so. Else it is conditional with a non-zero mask, and unconditional with a zero mask or none.
    """
    wrong = findings.filter(pl.col("severity") == "error").get_column("key").unique()
    unread = pl.col("image_outside") | pl.col("mask_outside")
    maskless = pl.col("mask_path").is_null() & ~pl.col("by_design")
    excluded = pl.col("key").is_in(wrong.implode()) | unread | pl.col("outside") | maskless
    role = (
        pl.when(excluded)
        .then(pl.lit("excluded"))
        .when(_is_meaningful())
        .then(pl.lit("conditional"))
        .otherwise(pl.lit("unconditional"))
    )
    return samples.with_columns(role=role)


def _is_meaningful() -> pl.Expr:
    """The mask was read and has a label other than 0."""
    return (pl.col("labels").list.max() > 0).fill_null(value=False)


def count(samples: pl.DataFrame, findings: pl.DataFrame) -> Counts:
    """Count files and samples; see `Counts`."""
    no_images = findings.filter(pl.col("code") == "looks_like_mask")["path"].implode()
    neither = pl.col("outside") | pl.col("image_path").is_in(no_images).fill_null(value=False)
    image, mask = (pl.col(path).is_not_null() & ~neither for path in ("image_path", "mask_path"))
    pair = image & mask
    numbers = samples.select(
        images=image.sum(),
        masks=mask.sum(),
        pairs=pair.sum(),
        orphan_masks=(mask & ~image & pl.col("collision").is_null() & pl.col("rivals").is_null()).sum(),
        images_without_mask=(image & ~mask).sum(),
        zero_masks=(pair & (pl.col("labels").list.max() == 0)).sum(),
        meaningful_masks=(pair & _is_meaningful()).sum(),
        conditional=(pl.col("role") == "conditional").sum(),
        unconditional=(pl.col("role") == "unconditional").sum(),
        excluded=(pl.col("role") == "excluded").sum(),
    )
    return Counts(**numbers.row(0, named=True))


def total_labels(samples: pl.DataFrame, names: Mapping[int, str]) -> tuple[LabelTotals, LabelTotals]:
    """Add up the labels of the samples in use, and those of the excluded samples whose masks can be read.

    Args:
        samples: one row per sample with `role`, `labels` and `pixels`.
        names: names of labels; others are called by their number.

    Returns:
        Totals of the conditional and unconditional samples, and totals of the excluded ones.
    """
    read = samples.filter(pl.col("labels").is_not_null()).select("role", "labels", "pixels")
    excluded = pl.col("role") == "excluded"
    return _add_up(read.filter(~excluded), names), _add_up(read.filter(excluded), names)


def _add_up(read: pl.DataFrame, names: Mapping[int, str]) -> LabelTotals:
    """Totals of masks that could be read."""
    labels = read.get_column("labels").explode().to_numpy()
    pixels = read.get_column("pixels").explode().to_numpy()
    if labels.size == 0:
        return LabelTotals(masks=len(read), pixels=0, labels=())
    # Weights are summed as float64, which is exact up to 2**53 pixels: 34 billion patches of 512x512.
    totals = np.bincount(labels, weights=pixels).astype(np.int64)
    images = np.bincount(labels)
    everything = int(totals.sum())
    counts = tuple(
        LabelCount(
            label=label,
            name=names.get(label, f"label {label}"),
            pixels=int(totals[label]),
            percent=100 * int(totals[label]) / everything,
            images=int(images[label]),
        )
        for label in np.flatnonzero(images).tolist()
    )
    return LabelTotals(masks=len(read), pixels=everything, labels=counts)
