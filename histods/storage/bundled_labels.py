"""Which bundled labels file fits the labels of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.storage.label_maps import BUNDLED
from histods.storage.label_names import read_labels

if TYPE_CHECKING:
    from collections.abc import Iterable

_FEW = 12
_FEWEST, _LOWEST = 1 / 3, 1 / 2
"""Shares of a file's number of labels, and of its highest label. A few classes numbered from 0 are in every file:
only many labels, high ones among them, are evidence."""


def find_bundled_labels(labels: Iterable[int]) -> str | None:
    """Name of the bundled labels file that names all of these labels; None where they are no evidence of one.

    Args:
        labels: the labels that occur.
    """
    found = set(labels)
    if len(found) < _FEW:  # most datasets: no file is read
        return None
    for path in sorted(BUNDLED.glob("*_labels.yml")):
        names = read_labels(path).names
        is_many = len(found) >= _FEWEST * len(names) and max(found) >= _LOWEST * max(names)
        if is_many and found <= names.keys():
            return path.name
    return None
