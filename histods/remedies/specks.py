"""`specks`: pixels in specks get the label that most of their neighbours outside of specks have.

A speck is a run of at most `SPECK_PIXELS`, along a row or a column, between two different labels, as in
`speckled_mask`. A thin structure of an intact mask, such as a vessel, looks the same, and nothing but the eye can
tell the two apart: this remedy is applied by name alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from histods.remedies.base import RefusedError, Remedy, Repaired
from histods.remedies.index_mask import read_mask, write_mask
from histods.run_lengths import SPECK_PIXELS, count_specks, find_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.remedies.base import Source

    Labels = NDArray[np.uint8] | NDArray[np.uint16]

WINDOW = 2 * SPECK_PIXELS + 1  # px: reaches past a speck on both sides
MOST_ROUNDS = 4


def repair(source: Source) -> Repaired:
    """Remove specks until none is left, at most a few times."""
    mask = read_mask(source)
    labels = mask.labels
    for _ in range(MOST_ROUNDS):
        cleaned = remove_specks(labels)
        if np.array_equal(cleaned, labels):
            break
        labels = cleaned
    changed = int((labels != mask.labels).sum())
    if changed == 0:
        raise RefusedError("no speck has a neighbour that is not one")
    before = f"{count_specks(find_runs(mask.labels)):,} specks, {np.unique(mask.labels).size} labels"
    after = (
        f"{count_specks(find_runs(labels)):,} specks, {np.unique(labels).size} labels, {changed:,} pixels changed"
    )
    return write_mask(mask, labels, palette=mask.kind == "palette")._replace(before=before, after=after)


def remove_specks(labels: Labels) -> Labels:
    """[height, width] labels, with each pixel of a speck replaced by the majority of its surroundings.

    The surroundings are the pixels in a square of `WINDOW` px that are in no speck; among equally frequent labels
    the smallest wins, and a pixel without such surroundings stays.
    """
    specks = _find_specks(labels) | _find_specks(labels.T).T
    if not specks.any():
        return labels
    best, winner = np.zeros(labels.shape, dtype=np.float32), labels.copy()
    sound = ~specks
    for label in np.unique(labels[sound]):
        votes = cv2.boxFilter(
            ((labels == label) & sound).astype(np.float32),
            -1,
            (WINDOW, WINDOW),
            normalize=False,
            borderType=cv2.BORDER_CONSTANT,
        )
        better = specks & (votes > best + 0.5)
        best[better], winner[better] = votes[better], label
    return winner


def _find_specks(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Which pixels are in a short run between two different labels of the same row."""
    height, width = labels.shape
    change = np.ones((height, width), dtype=np.bool_)
    change[:, 1:] = labels[:, 1:] != labels[:, :-1]
    starts = np.flatnonzero(change)
    lengths = np.diff(starts, append=height * width)
    first, last = starts % width == 0, (starts + lengths) % width == 0
    values = labels.reshape(-1)[starts]
    differ = np.zeros(starts.size, dtype=np.bool_)
    differ[1:-1] = values[:-2] != values[2:]
    return np.repeat(~first & ~last & differ & (lengths <= SPECK_PIXELS), lengths).reshape(height, width)


REMEDY = Remedy(
    name="specks",
    repairs=("speckled_mask",),
    summary="Gives pixels of specks the label of most neighbours, which also removes thin structures.",
    repair=repair,
    by_name=True,
)
