"""Whether the labels of a dataset are those that the bundled files describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.labels.label_map_file import BUNDLED
from histods.labels.label_names import read_labels

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from histods.labels.label_map import LabelTable

_OF_MAPS = "drsk_labels.yml"
"""Labels file of the bundled label maps."""
_FEW = 12
_FEWEST, _LOWEST = 1 / 3, 1 / 2
"""Shares of a file's number of labels, and of its highest label. Every file has a few labels numbered from 0, so
only many labels, including high ones, are evidence."""


def find_bundled_labels(labels: Iterable[int]) -> str | None:
    """Name of the bundled labels file that has all of these labels; None if they are not evidence of one.

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


def doubt_bundled_map(file: Path, names: LabelTable, labels: Iterable[int]) -> str | None:
    """Explain why a bundled label map may not fit these labels: it lists only numbers, which every dataset has.

    Args:
        file: the label map's file.
        names: names of the labels.
        labels: the labels that occur.

    Returns:
        None if the map is not bundled, or nothing contradicts it.
    """
    if file.parent != BUNDLED:
        return None
    found = set(labels)
    own = "for a map of your own: histods remap --draft my_map.yml"
    if names.names:
        meant = read_labels(BUNDLED / _OF_MAPS).names
        other = next((one for one in sorted(found) if names.name(one) != meant.get(one, names.name(one))), None)
        if other is None:
            return None
        return (
            f"{file.name} is bundled for the labels of DRSK, where {other} is {meant[other]}; here it is "
            f"{names.name(other)} ({own})"
        )
    if find_bundled_labels(found) is not None:
        return None
    return (
        f"{file.name} is bundled for the labels of DRSK, and nothing tells that these are the same; if they are, "
        f"audit with --labels {_OF_MAPS} ({own})"
    )
