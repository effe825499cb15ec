"""Classes without a pixel in some split, and the number of groups or single images that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A class that some splits lack.

    Attributes:
        index: the class.
        splits: indices of the splits that have no pixel of it.
        samples: number of samples that hold it.
        units: number of units (groups, sets of duplicates, single images) that hold it.
        example: one of these samples, or -1.
    """

    index: int
    splits: tuple[int, ...]
    samples: int
    units: int
    example: int


def find_gaps(
    classes: NDArray[np.uint16],
    pixels: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    *,
    split_numbers: NDArray[np.int64],
    units: NDArray[np.int64],
    splits: int,
    number: int | None = None,
) -> list[Gap]:
    """List the classes that have no pixel in at least one split, except class 0, which means nothing.

    Args:
        classes: classes of all samples, flattened.
        pixels: pixels of each.
        offsets: [samples + 1]; sample i has the entries `offsets[i]` up to `offsets[i + 1]`.
        split_numbers: [samples] index of each sample's split.
        units: [samples] index of each sample's unit, which is never divided between splits.
        splits: number of splits.
        number: number of classes, including those without any pixel; None counts only classes that occur.

    Returns:
        One gap per class, ascending by class.
    """
    samples = np.repeat(np.arange(len(split_numbers)), np.diff(offsets))
    held = (pixels > 0) & (classes > 0)
    samples, held_classes = samples[held], classes[held].astype(np.int64)
    known = np.unique(held_classes) if number is None else np.arange(1, number)
    columns = np.searchsorted(known, held_classes)
    there = np.zeros((len(known), splits), dtype=bool)
    there[columns, split_numbers[samples]] = True
    counts = np.bincount(columns, minlength=len(known))
    # One entry per class and unit that holds it, regardless of the number of samples.
    pairs = np.unique(columns * (int(units.max(initial=0)) + 1) + units[samples])
    of_units = np.bincount(pairs // (int(units.max(initial=0)) + 1), minlength=len(known))
    example = np.full(len(known), -1)
    example[columns[::-1]] = samples[::-1]
    return [
        Gap(
            index=int(known[row]),
            splits=tuple(np.flatnonzero(~there[row]).tolist()),
            samples=int(counts[row]),
            units=int(of_units[row]),
            example=int(example[row]),
        )
        for row in np.flatnonzero(~there.all(axis=1)).tolist()
    ]
