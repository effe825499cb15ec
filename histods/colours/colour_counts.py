"""Colours of masks: how often and where each occurs, and which are blends left by a drawing tool at edges.

Colours are integers 0xRRGGBB. This module handles only colour and palette masks, not ordinary grey ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from histods.run_lengths import SPECK_PIXELS, Runs, find_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_COLOURS = 64
"""Number of colours to keep of a colour mask, most frequent first: they include class colours, but not all blends.
For a palette mask all used entries are kept."""

GREY_SPREAD = 8
"""Largest difference between the channels of a grey colour: programs round channels separately."""

MIXTURE_TOLERANCE = 12
"""Largest difference of a channel from an exact mixture of two colours: rounding, and a little sharpening."""

TRANSLUCENT = 1 << 24
"""The colour of pixels that are neither opaque nor fully transparent."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ColourCounts:
    """The most frequent colours of one mask, by descending number of pixels; all arrays have the same length.

    Attributes:
        colours: 0xRRGGBB, or `TRANSLUCENT`.
        pixels: the pixels of each colour.
        runs: horizontal runs of each colour.
        border: pixels on the mask's four edges.
        blended: pixels in short runs, along a row or a column, whose colour is a mixture of its two neighbours, as
            after antialiasing and interpolation.
        indices: palette index of each entry; None if pixels hold colours.
        total: number of different colours (or indices) of the mask, including those beyond `MAX_COLOURS`.
    """

    colours: NDArray[np.uint32]
    pixels: NDArray[np.int64]
    runs: NDArray[np.int64]
    border: NDArray[np.int64]
    blended: NDArray[np.int64]
    indices: NDArray[np.int64] | None
    total: int


def pack(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """[..., 3 or more] bytes -> [...] integers 0xRRGGBB."""
    wide = colours[..., :3].astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], dtype=np.uint32)


def unpack(packed: NDArray[Any]) -> NDArray[np.int64]:
    """[n] integers 0xRRGGBB -> [n, 3] channel values."""
    wide = packed.astype(np.int64)
    return np.stack([wide >> 16 & 255, wide >> 8 & 255, wide & 255], axis=1)


def count_colours(packed: NDArray[np.uint32], runs: Runs | None = None) -> ColourCounts:
    """Count the colours of a mask of colours.

    Args:
        packed: [height, width] colours.
        runs: their runs, if the caller has them.
    """
    runs = find_runs(packed) if runs is None else runs
    distinct, place = np.unique(runs.labels, return_inverse=True)
    blended = _between(runs)
    if distinct.size > 2:
        columns = _between(find_runs(np.ascontiguousarray(packed.T))).reshape(packed.T.shape)
        blended |= columns.T.reshape(-1)
    of_pixels = np.repeat(place, runs.lengths)
    return _most_frequent(
        distinct,
        pixels=np.bincount(place, weights=runs.lengths),
        runs=np.bincount(place),
        border=np.bincount(_edges(of_pixels.reshape(packed.shape)), minlength=distinct.size),
        blended=np.bincount(of_pixels[blended], minlength=distinct.size),
        indices=None,
    )


def count_indices(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> ColourCounts:
    """Count the palette entries used by a palette mask.

    Args:
        indices: [height, width] of the mask.
        palette: [entries, 3] RGB; indices beyond it count as black, as in viewers.
    """
    table = np.zeros(256, dtype=np.uint32)
    table[: len(palette)] = pack(palette[:256])
    runs = find_runs(indices)
    pixels = np.bincount(runs.labels, weights=runs.lengths, minlength=256)
    used = np.flatnonzero(pixels)
    return _most_frequent(
        table[used],
        pixels=pixels[used],
        runs=np.bincount(runs.labels, minlength=256)[used],
        border=np.bincount(_edges(indices), minlength=256)[used],
        blended=np.zeros(used.size),
        indices=used,
    )


def _most_frequent(
    colours: NDArray[np.uint32],
    *,
    pixels: NDArray[Any],
    runs: NDArray[Any],
    border: NDArray[Any],
    blended: NDArray[Any],
    indices: NDArray[np.int64] | None,
) -> ColourCounts:
    order = np.argsort(-pixels, kind="stable")[: MAX_COLOURS if indices is None else None]
    return ColourCounts(
        colours=colours[order],
        pixels=pixels[order].astype(np.int64),
        runs=runs[order].astype(np.int64),
        border=border[order].astype(np.int64),
        blended=blended[order].astype(np.int64),
        indices=None if indices is None else indices[order],
        total=len(colours),
    )


def _edges(values: NDArray[Any]) -> NDArray[Any]:
    """Values on the four edges of [height, width]; corners twice."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _between(runs: Runs) -> NDArray[np.bool_]:
    """Which pixels, in the order of the runs, are in short runs whose colour is a mixture of their neighbours."""
    before, after = runs.labels[:-2], runs.labels[2:]
    places = np.flatnonzero((runs.lengths[1:-1] <= SPECK_PIXELS) & (before != after))
    start, colour = unpack(before[places]), unpack(runs.labels[1:-1][places])
    line = unpack(after[places]) - start
    share = ((colour - start) * line).sum(axis=1) / np.maximum(np.square(line).sum(axis=1), 1)
    beside = np.abs(colour - start - share[:, None] * line).max(axis=1, initial=0)
    flags = np.zeros(len(runs.lengths), dtype=np.bool_)
    flags[places + 1] = (share > 0) & (share < 1) & (beside <= MIXTURE_TOLERANCE)
    return np.repeat(flags, runs.lengths)
