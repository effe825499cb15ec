"""Labels and classes: names, colours, label maps and their arithmetic.

This module reads and writes no files. Labels are 0..65535 (16-bit masks), classes 0..255 (remapped masks have 8
bits).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

MAX_LABELS = 65536
MAX_CLASSES = 256
IDENTITY = "labels"
"""Name of the class system in which labels are unchanged."""
_MAX_LISTED = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelTable:
    """Names of source labels, and the RGB colour of each in colour masks.

    `colours` may be empty or hold only some of the labels; no two labels share a colour.
    """

    names: Mapping[int, str]
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)

    def name(self, label: int) -> str:
        """The label's name, or `label N` if it has none."""
        return self.names.get(label, f"label {label}")

    def labels_named(self, name: str) -> tuple[int, ...]:
        """All labels with exactly this name, ascending; several labels may share a name."""
        return tuple(sorted(label for label, given in self.names.items() if given == name))


class ClassHistograms(NamedTuple):
    """Class histograms of many samples, as flattened lists.

    Sample i has the classes `classes[offsets[i]:offsets[i + 1]]` (ascending) with as many `pixels` each.
    """

    classes: NDArray[np.uint16]
    pixels: NDArray[np.uint32]
    offsets: NDArray[np.int64]

    def totals(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of pixels and of samples of each of the classes 0..count-1."""
        # Weights are summed as float64, which is exact up to 2**53 pixels: 34 billion patches of 512x512.
        pixels = np.bincount(self.classes, weights=self.pixels, minlength=count).astype(np.int64)
        return pixels, np.bincount(self.classes, minlength=count)

    def conditional(self) -> NDArray[np.bool_]:
        """Whether each sample has a class other than 0, judged by its last and so largest class."""
        filled = np.diff(self.offsets) > 0
        conditional = np.zeros(len(filled), dtype=bool)
        conditional[filled] = self.classes[self.offsets[1:][filled] - 1] > 0
        return conditional

    def lists(self) -> Iterator[tuple[list[int], list[int]]]:
        """Classes and pixels of each sample."""
        classes, pixels = self.classes.tolist(), self.pixels.tolist()
        for first, end in pairwise(self.offsets.tolist()):
            yield classes[first:end], pixels[first:end]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelMap:
    """A class system: which class each source label becomes.

    Attributes:
        name: name of the class system and of its files.
        classes: class names; the index is the class.
        table: class of each label that the map lists.
        unmapped: class of every other label; None if such a label is an error.
    """

    name: str
    classes: tuple[str, ...]
    table: Mapping[int, int]
    unmapped: int | None = None

    def __post_init__(self) -> None:
        found = len(self.classes)
        if not 1 <= found <= MAX_CLASSES:
            raise HistodsError(
                f"Label map {self.name} has {found} classes, not 1 to {MAX_CLASSES}; "
                "remapped masks have 8 bits: merge classes."
            )
        for name, times in Counter(self.classes).items():
            if times > 1:
                raise HistodsError(f"Label map {self.name} calls {times} classes {name!r}; rename all but one.")

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each class without labels."""
        filled = {*self.table.values(), self.unmapped}
        return tuple(
            f"class {index} ({name}) has no labels in label map {self.name}, so no pixel becomes it"
            for index, name in enumerate(self.classes)
            if index not in filled
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the classes, the table and the unmapped class: 64 hexadecimal digits.

        Equivalent files in different forms have the same digest, which does not depend on the map's name.
        """
        content = [list(self.classes), sorted(self.table.items()), self.unmapped]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    def labels_of(self, index: int) -> tuple[int, ...]:
        """The labels that the map lists for a class, ascending."""
        return tuple(sorted(label for label, became in self.table.items() if became == index))

    def lookup(self) -> NDArray[np.uint8]:
        """Class of each label, uint8 of shape [65536]; erroneous labels get 0, so check for them first."""
        table = np.full(MAX_LABELS, self.unmapped or 0, dtype=np.uint8)
        table[np.fromiter(self.table.keys(), np.int64)] = np.fromiter(self.table.values(), np.uint8)
        return table

    def unmapped_labels(self, labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Those of `labels` that the map does not list, ascending, without duplicates."""
        present = np.zeros(MAX_LABELS, dtype=bool)
        present[labels] = True
        present[np.fromiter(self.table.keys(), np.int64)] = False
        return np.flatnonzero(present).astype(np.uint16)

    def check_mapped(self, labels: NDArray[np.uint16], pixels: NDArray[np.integer]) -> None:
        """Check that every label has a class.

        Args:
            labels: labels that occur, in any order, possibly repeated.
            pixels: pixels of each.

        Raises:
            HistodsError: labels without a class occur, which is an error; all are listed with their pixels.
        """
        missing = self.unmapped_labels(labels)
        if self.unmapped is not None or missing.size == 0:
            return
        totals = np.bincount(labels, weights=pixels, minlength=MAX_LABELS).astype(np.int64)
        listed = [f"{label} ({totals[label]:,} pixels)" for label in missing[:_MAX_LISTED]]
        if missing.size > _MAX_LISTED:
            listed.append(f"and {missing.size - _MAX_LISTED} more")
        raise HistodsError(
            f"Label map {self.name} leaves out {', '.join(listed)}; "
            "add them to the map, or set 'unmapped: CLASS' in it."
        )

    def remap_histograms(
        self, labels: NDArray[np.uint16], pixels: NDArray[np.uint32], offsets: NDArray[np.int64]
    ) -> ClassHistograms:
        """Turn label histograms of many samples into class histograms, without a loop over samples.

        Args:
            labels: labels of all samples, flattened.
            pixels: pixels of each.
            offsets: [samples + 1]; sample i has the entries `offsets[i]` up to `offsets[i + 1]`.

        Raises:
            HistodsError: a label has no class, or the number of pixels of a sample changes.
        """
        self.check_mapped(labels, pixels)
        sample = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        cell = sample * MAX_CLASSES + self.lookup()[labels]
        order = np.argsort(cell, kind="stable")
        cell = cell[order]
        starts = np.flatnonzero(np.diff(cell, prepend=-1))
        sums = np.add.reduceat(pixels[order], starts, dtype=np.uint64) if starts.size else pixels[:0]
        cell = cell[starts]
        result = ClassHistograms(
            (cell % MAX_CLASSES).astype(np.uint16),
            sums.astype(np.uint32),
            np.searchsorted(cell, np.arange(len(offsets)) * MAX_CLASSES),
        )
        _check_conserved(_sums(pixels, offsets), _sums(result.pixels, result.offsets))
        return result


def identity_map(labels: Iterable[int], names: LabelTable) -> LabelMap:
    """The map that keeps labels unchanged: classes 0..highest label, with the names of the labels.

    Raises:
        HistodsError: the highest label does not fit into an 8-bit mask.
    """
    highest = max(labels, default=0)
    if highest >= MAX_CLASSES:
        raise HistodsError(
            f"Label {highest} is above {MAX_CLASSES - 1}, so the labels cannot stay as they are; "
            "give a label map with --map ('histods remap --draft my_map.yml' writes one to edit)."
        )
    classes = [names.name(label) for label in range(highest + 1)]
    shared = {name for name, times in Counter(classes).items() if times > 1}
    return LabelMap(
        name=IDENTITY,
        classes=tuple(f"{name} ({i})" if name in shared else name for i, name in enumerate(classes)),
        table={label: label for label in range(highest + 1)},
    )


def _sums(pixels: NDArray[np.uint32], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels of each sample."""
    running = np.zeros(len(pixels) + 1, dtype=np.int64)
    np.cumsum(pixels, out=running[1:])
    return running[offsets[1:]] - running[offsets[:-1]]


def _check_conserved(before: NDArray[np.int64], after: NDArray[np.int64]) -> None:
    wrong = np.flatnonzero(before != after)
    if wrong.size:
        first = int(wrong[0])
        raise HistodsError(
            f"The label map changes the number of pixels from {before[first]:,} to {after[first]:,} in sample "
            f"{first} ({wrong.size} in all); run 'histods audit' again."
        )
