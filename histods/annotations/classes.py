"""The label of each class."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, NamedTuple

from histods.errors import HistodsError
from histods.io.strict_yaml import MAX_BYTES
from histods.labels.label_map import MAX_LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from histods.annotations.shapes import Category
    from histods.labels.label_map import LabelTable

UNKNOWN = "Unknown"
"""Name of label 0: pixels that nothing is drawn on."""
_NOT_ANNOTATED = "Not annotated"
"""Its name if a class is called like that."""
_LISTED = 5


class Label(NamedTuple):
    """A label of the masks: its number, its name and its RGB, if it has one."""

    label: int
    name: str
    colour: tuple[int, int, int] | None


def merge_categories(found: Sequence[Category]) -> dict[str, Category]:
    """Each class once, with the first number and the first colour that a file gives it."""
    merged: dict[str, Category] = {}
    for category in found:
        known = merged.get(category.name, category)
        merged[category.name] = known._replace(colour=known.colour or category.colour)
    return merged


def number_classes(categories: Mapping[str, Category], table: LabelTable | None) -> dict[str, int]:
    """The label of each class; classes that a labels file does not name have none.

    Without a labels file, labels are the numbers that the file of annotations gives its classes, if all are from 1
    to 65535 and differ; else classes are numbered from 1 in the order of their names.

    Args:
        categories: the classes by name.
        table: names of labels, from a labels file.

    Raises:
        HistodsError: a labels file gives a class several labels, or there are more classes than labels.
    """
    if table is not None:
        numbers = {}
        for name in categories:
            labels = table.labels_named(name)
            if len(labels) > 1:
                listed = ", ".join(map(str, labels[:_LISTED]))
                raise HistodsError(
                    f"The labels file gives the class {name!r} to the labels {listed}; give it to one of them."
                )
            if labels:
                numbers[name] = labels[0]
        return numbers
    given = [category.number for category in categories.values()]
    if all(number is not None and 0 < number < MAX_LABELS for number in given) and len({*given}) == len(given):
        return {name: number for name, category in categories.items() if (number := category.number) is not None}
    if len(categories) >= MAX_LABELS:
        raise HistodsError(
            f"The annotations have {len(categories):,} classes, and masks at most {MAX_LABELS - 1:,} labels; name "
            "those that you need in a file for --labels."
        )
    return {name: number for number, name in enumerate(sorted(categories), 1)}


def list_labels(
    categories: Mapping[str, Category], numbers: Mapping[str, int], table: LabelTable | None
) -> list[Label]:
    """All labels that the masks may have, ascending; no two have the same colour.

    Args:
        categories: the classes by name.
        numbers: the label of each.
        table: names of labels, from a labels file.
    """
    names = dict(table.names) if table is not None else {label: name for name, label in numbers.items()}
    names.setdefault(0, _NOT_ANNOTATED if UNKNOWN in numbers else UNKNOWN)
    colours = dict(table.colours) if table is not None else {}
    taken = {*colours.values()}
    for name, label in sorted(numbers.items(), key=lambda pair: pair[1]):
        colour = categories[name].colour
        if colour is not None and label not in colours and colour not in taken:
            colours[label] = colour
            taken.add(colour)
    return [Label(label, names[label], colours.get(label)) for label in sorted(names)]


def format_labels(labels: Sequence[Label]) -> str:
    """The labels as CSV for `histods audit --labels`.

    Raises:
        HistodsError: the audit would not read so large a file.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", "name", "colour"])
    for label, name, colour in labels:
        writer.writerow([label, name, "" if colour is None else "#{:02x}{:02x}{:02x}".format(*colour)])
    content = text.getvalue()
    if len(content.encode()) > MAX_BYTES:
        raise HistodsError(
            f"The names of {len(labels):,} classes take more than {MAX_BYTES >> 20} MiB, which no labels file may "
            "have; are they names of objects? Name the classes that you need in a file for --labels."
        )
    return content
