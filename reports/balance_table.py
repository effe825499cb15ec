"""How the pixels of each class are divided among the splits: counted, and written as CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from histods.dataset.manifest import Manifest, read_table, to_polars
from histods.measurement.findings_file import to_csv
from histods.splits.split_table import read_split
from reports.class_table import RAW

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from histods.io.workspace import Workspace
    from reports.class_table import ClassSystem

_FIRST = ("train", "val", "test")
"""Splits that come first, in this order; others follow by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Balance:
    """Pixels of each class in each split.

    Attributes:
        splits: names of the splits.
        pixels: int64 [classes, splits], over all classes of the system.
        images: images that hold the class, int64 [classes, splits].
    """

    splits: tuple[str, ...]
    pixels: NDArray[np.int64]
    images: NDArray[np.int64]


def read_split_names(workspace: Workspace, digest: str) -> pl.DataFrame | None:
    """The split of each sample, `key` and `split`; None where there is no split.

    Raises:
        StaleFileError: it was made from another manifest.
    """
    found = read_split(workspace, digest)
    return None if found is None else to_polars(found[0]).select("key", "split")


def order_splits(names: Collection[str]) -> tuple[str, ...]:
    """Names of splits in the order in which charts and tables show them."""
    return (*(name for name in _FIRST if name in names), *sorted(set(names) - set(_FIRST)))


def count_balance(system: ClassSystem, workspace: Workspace, split_names: pl.DataFrame) -> Balance:
    """Count the pixels and images of each class in each split."""
    if system.name == RAW:
        rows = Manifest.read(workspace.manifest).to_polars().filter(pl.col("role") != "excluded")
        rows = rows.select("key", "pixels", classes="labels")
    else:
        rows = to_polars(read_table(workspace.remap_table(system.name), ["key", "classes", "pixels"]))
    counts = (
        rows.join(split_names, on="key")
        .drop_nulls("classes")
        .explode("classes", "pixels", empty_as_null=False)
        .group_by("classes", "split")
        .agg(pixels=pl.col("pixels").cast(pl.Int64).sum(), images=pl.len())
    )
    splits = order_splits(split_names["split"].unique().to_list())
    place = {row.index: number for number, row in enumerate(system.classes)}
    pixels = np.zeros((len(place), len(splits)), np.int64)
    images = np.zeros_like(pixels)
    for index, split, counted_pixels, counted_images in counts.iter_rows():
        if index in place:
            pixels[place[index], splits.index(split)] = counted_pixels
            images[place[index], splits.index(split)] = counted_images
    return Balance(splits, pixels, images)


def balance_csv(system: ClassSystem, balance: Balance) -> str:
    """Pixels and images of each class in each split, and the share of the class's pixels, as CSV."""
    totals = balance.pixels.sum(axis=1)
    rows = [
        (
            row.index,
            row.name,
            split,
            int(balance.pixels[place, side]),
            100 * int(balance.pixels[place, side]) / int(totals[place]) if totals[place] else 0.0,
            int(balance.images[place, side]),
        )
        for place, row in enumerate(system.classes)
        for side, split in enumerate(balance.splits)
    ]
    columns = [system.noun, "name", "split", "pixels", f"percent_of_{system.noun}", "images"]
    return to_csv(pl.DataFrame(rows, schema=columns, orient="row"))
