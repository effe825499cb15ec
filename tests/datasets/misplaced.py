"""Tables of samples as `misplaced_mask` judges them, and masks in them turned, swapped or moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from histods.checks.base import SAMPLES
from histods.colours.colour_labels import Mask
from histods.images.header import Header
from histods.images.reduced import Picture
from histods.masks.fit import CELLS_AFTER
from histods.masks.grids import SIDE, measure_appearance, measure_layout
from histods.run_lengths import find_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.datasets.tissues import Pair


def table_of(pairs: Sequence[Pair]) -> pl.DataFrame:
    """Samples with what workers measure of each pair."""
    rows = []
    for place, (image, mask) in enumerate(pairs):
        height, width = mask.shape
        key = f"p{place:03}"
        rows.append(
            dict.fromkeys(SAMPLES)
            | {
                "key": key,
                "image_path": f"{key}.png",
                "mask_path": f"{key}_mask.png",
                "mask_outside": False,
                "image_width": width,
                "image_height": height,
                "mask_width": width,
                "mask_height": height,
                "labels": np.unique(mask).tolist(),
                "appearance": measure_appearance(Picture(image, Header("png", width, height), b"")),
                "layout": measure_layout(Mask(mask, "gray8", "png"), find_runs(mask)),
            }
        )
    schema = {**SAMPLES, "appearance": pl.Binary(), "layout": pl.Binary()}
    return pl.DataFrame(rows, schema=schema)


def usable(samples: pl.DataFrame) -> np.ndarray:
    """Rows whose masks have several labels."""
    return np.flatnonzero(samples["layout"].is_not_null().to_numpy())


def with_layouts(samples: pl.DataFrame, rows: np.ndarray, layouts: Sequence[bytes | None]) -> pl.DataFrame:
    """The samples with other layouts in some rows."""
    changed = samples["layout"].to_list()
    for row, layout in zip(rows, layouts, strict=True):
        changed[row] = layout
    return samples.with_columns(layout=pl.Series(changed, dtype=pl.Binary()))


def turn_some(samples: pl.DataFrame, rows: np.ndarray, random: np.random.Generator) -> pl.DataFrame:
    """Turn or mirror masks at random."""
    turns = random.integers(1, 8, len(rows))
    layouts = [layout_of(samples, row)[CELLS_AFTER[turn]].tobytes() for row, turn in zip(rows, turns, strict=True)]
    return with_layouts(samples, rows, layouts)


def swap_some(samples: pl.DataFrame, rows: np.ndarray) -> pl.DataFrame:
    """Give each sample the mask of another one: layout and labels."""
    source = np.arange(len(samples))
    source[rows] = np.roll(rows, 1)
    return samples.with_columns(samples[source].select("layout", "labels"))


def shift_some(samples: pl.DataFrame, rows: np.ndarray, random: np.random.Generator, cells: int) -> pl.DataFrame:
    """Move masks in one of four directions; the labels at the edge go on."""
    layouts = []
    for row in rows:
        layout = np.pad(layout_of(samples, row).reshape(SIDE, SIDE), cells, mode="edge")
        down, right = ((0, 1), (1, 0), (0, -1), (-1, 0))[random.integers(4)]
        top, left = cells - down * cells, cells - right * cells
        layouts.append(layout[top : top + SIDE, left : left + SIDE].tobytes())
    return with_layouts(samples, rows, layouts)


def layout_of(samples: pl.DataFrame, row: int) -> np.ndarray:
    """The label of each cell, as its place among the mask's labels."""
    return np.frombuffer(samples["layout"][int(row)], np.uint8)


def changed_cells(before: pl.DataFrame, after: pl.DataFrame, rows: np.ndarray) -> np.ndarray:
    """Share of the cells whose label differs, of each row."""

    def labels_of(samples: pl.DataFrame, row: int) -> np.ndarray:
        return np.take(np.array(samples["labels"][int(row)]), layout_of(samples, row))

    return np.array([(labels_of(before, row) != labels_of(after, row)).mean() for row in rows])
