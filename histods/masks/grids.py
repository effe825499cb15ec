"""An image and its mask on a coarse grid: what a worker keeps of both to tell whether one fits the other.

A patch is cut into 16 x 16 cells, 1.3 kB in all. That is enough for masks of nuclei, whose outlines no cell shows:
each cell's mean colour still follows what the mask says at its centre.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.colours.colour_labels import Mask
    from histods.images.reduced import Picture
    from histods.run_lengths import Runs

SIDE = 16
"""Cells along each side of a patch, whatever its shape."""
CELLS = SIDE * SIDE
FEATURES = 4
"""Numbers of a cell of an image: the means of red, green and blue, and the deviation of its luma."""
_MOST_LABELS = 256
_CHUNK = 8192  # masks whose labels are numbered at once


def measure_appearance(picture: Picture) -> bytes:
    """Mean colour and texture of each cell of an image: `CELLS` x `FEATURES` uint8, row by row."""
    colours, luma, square = (
        cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for values in picture.means_for(SIDE)
    )
    deviation = np.sqrt(np.maximum(square - luma * luma, 0)).astype(np.uint8)
    return np.dstack([colours, deviation]).tobytes()


def measure_layout(mask: Mask, runs: Runs) -> bytes | None:
    """Label at the centre of each cell of a mask, as its place among the mask's labels: `CELLS` uint8, row by row.

    Returns:
        None for a mask with one label at all centres, which fits in every position, and for more than 256 labels.
    """
    height, width = mask.labels.shape
    rows, columns = ((2 * np.arange(SIDE) + 1) * side // (2 * SIDE) for side in (height, width))
    centres = mask.labels[rows[:, None], columns]
    if (centres == centres[0, 0]).all():
        return None
    labels = np.unique(runs.labels)
    return np.searchsorted(labels, centres).astype(np.uint8).tobytes() if labels.size <= _MOST_LABELS else None


def read_layouts(
    layouts: list[bytes], labels: list[list[int]], *, least_masks: int, most_labels: int = 255
) -> tuple[NDArray[np.uint8], int]:
    """Number the labels of many masks.

    Args:
        layouts: results of `measure_layout`.
        labels: those of each mask, ascending.
        least_masks: labels that fewer masks hold share the last number.
        most_labels: likewise those beyond this many, the rarest ones.

    Returns:
        Numbers [masks, CELLS], and how many numbers there are.
    """
    places = np.frombuffer(b"".join(layouts), np.uint8).reshape(-1, CELLS)
    lengths = np.array([len(row) for row in labels], np.int64)
    flat = np.fromiter((label for row in labels for label in row), np.int64, int(lengths.sum()))
    known, number, masks = np.unique(flat, return_inverse=True, return_counts=True)
    common = np.flatnonzero(masks >= least_masks)
    common = common[np.argsort(-masks[common], kind="stable")][:most_labels]
    numbers = np.full(known.size, common.size, np.uint8)
    numbers[common] = np.arange(common.size)
    starts = np.cumsum(lengths) - lengths
    numbered, found = numbers[number], np.empty(places.shape, np.uint8)
    for first in range(0, len(places), _CHUNK):  # the indices have eight times the size of the result
        rows = slice(first, first + _CHUNK)
        found[rows] = numbered[starts[rows, None] + places[rows]]
    return found, common.size + 1
