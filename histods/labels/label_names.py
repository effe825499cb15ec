"""Read names and colours of labels, and tables of counts; refuse ambiguous files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.io.csv_table import read_csv
from histods.io.strict_yaml import MAX_BYTES, Origin, load_yaml, nearest, show
from histods.labels.label_map import LabelTable
from histods.labels.parse_values import is_range, parse_colour, parse_name, parse_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.io.strict_yaml import Scalar, Value

MAP_KEYS = ("name", "classes", "map", "unmapped")
"""Keys of a label map, which may be in the same file as the names of its labels."""
_MAX_COUNT_BYTES = 16 << 20
_COUNT = re.compile(r"[0-9]{1,15}")
_CHANNEL = re.compile(r"[0-9]{1,9}")
# Messages use the first name.
_LABEL_COLUMNS = (("label", "label id"), ("name", "class name"), ("colour", "color"))
_COUNT_COLUMNS = (("Label ID",), ("Class Name",), ("Pixel Count",))


class CountTable(NamedTuple):
    """Pixels of each label, ascending by label; three sequences of the same length."""

    labels: NDArray[np.uint16]
    names: tuple[str, ...]
    pixels: NDArray[np.int64]


def read_labels(path: Path) -> LabelTable:
    """Read names and optional colours of source labels from YAML, JSON or (by suffix) CSV.

    Raises:
        HistodsError: the file is not such a list, names a label twice, or gives two labels one colour.
    """
    origin = Origin(str(path))
    if path.suffix.lower() == ".csv":
        return _to_table(origin, _csv_labels(origin, path))
    document = load_yaml(origin, path)
    named = labels_part(origin, document)
    if named is None:
        advice = "add 'label: name' lines under 'labels:', or give the file with --map"
        raise origin.error("names of labels", "a label map", advice)
    return parse_labels(origin, named)


def labels_part(origin: Origin, document: Value) -> Value | None:
    """The part of a document that names labels; None if the document holds only a label map.

    Names are under `labels`, or next to the keys of the map.
    """
    if not isinstance(document, dict):
        return document
    if "labels" not in document and not {"map", "classes"} & document.keys():
        return document
    others = {key: value for key, value in document.items() if key not in (*MAP_KEYS, "labels")}
    for key in others:
        if "labels" in document or not is_range(key):
            advice = "put it under 'labels'" if is_range(key) else nearest(key, MAP_KEYS)
            raise origin.error(f"keys out of {', '.join(MAP_KEYS)}, labels", show(key), advice)
    return document.get("labels", others or None)


def parse_labels(origin: Origin, document: Value) -> LabelTable:
    """Parse names and colours of labels from a document that holds nothing else.

    Raises:
        HistodsError: see `read_labels`.
    """
    return _to_table(origin, _yaml_labels(origin, document))


def _to_table(origin: Origin, entries: Iterable[tuple[Value, Value | None, Value | None]]) -> LabelTable:
    """Make a table from the label, name and colour of each entry."""
    names: dict[int, str] = {}
    colours: dict[int, tuple[int, int, int]] = {}
    owners: dict[tuple[int, int, int], int] = {}
    for key, name, colour in entries:
        label = _parse_label(origin, key)
        if label in names:
            raise origin.error("each label once", f"label {label} twice", "keep one of them")
        names[label] = f"label {label}" if name is None else parse_name(origin, name, f"label {label}")
        if colour is None:
            continue
        rgb = parse_colour(origin, colour, label)
        if rgb in owners:
            found = "#{:02x}{:02x}{:02x} for labels {} and {}".format(*rgb, owners[rgb], label)
            raise origin.error("a colour of its own for each label", found, "give one of them another")
        owners[rgb], colours[label] = label, rgb
    if not names:
        raise origin.error("names of labels", "none", "write 'label: name' lines")
    return LabelTable(names=names, colours=colours)


def read_counts(path: Path) -> CountTable:
    """Read a CSV table of pixels per label: columns Label ID, Class Name, Pixel Count; others are ignored.

    Raises:
        HistodsError: a column is missing, a count is not a whole number, or a label occurs twice.
    """
    origin = Origin(str(path))
    counts: dict[int, tuple[str, int]] = {}
    for key, name, count in read_csv(origin, path, _COUNT_COLUMNS, 3, max_bytes=_MAX_COUNT_BYTES):
        label = _parse_label(origin, key)
        if label in counts:
            raise origin.error("each label once", f"label {label} twice", "add the two counts up")
        if not _COUNT.fullmatch(count):
            found = f"{show(count)} for label {label}"
            raise origin.error("whole pixel counts from 0", found, "write digits without separators")
        counts[label] = (" ".join(name.split()), int(count))
    if not counts:
        raise origin.error("a line for each label", "none", "give the whole table")
    labels = sorted(counts)
    return CountTable(
        np.array(labels, dtype=np.uint16),
        tuple(counts[label][0] for label in labels),
        np.array([counts[label][1] for label in labels], dtype=np.int64),
    )


def _yaml_labels(origin: Origin, document: Value) -> Iterator[tuple[Value, Value | None, Value | None]]:
    """Label, name and colour of each entry of a labels file in YAML; name and colour may be missing."""
    if isinstance(document, dict):
        for key, entry in document.items():
            yield (key, *_fields(origin, entry, key, ())) if isinstance(entry, dict) else (key, entry, None)
    elif isinstance(document, list):
        for entry in document:
            if not isinstance(entry, dict):
                raise origin.error("entries with label, name and colour", show(entry), "write 'label: name' lines")
            keys = [key for key in ("label", "id", "value") if key in entry]
            if len(keys) != 1:
                raise origin.error("one of label, id, value in each entry", f"{len(keys)}", "write its label")
            yield (entry[keys[0]], *_fields(origin, entry, entry[keys[0]], keys))
    else:
        raise origin.error("'label: name' lines", show(document), "write them")


def _fields(
    origin: Origin, entry: dict[Scalar, Value], label: Value, others: Sequence[str]
) -> tuple[Value | None, Value | None]:
    for key in entry:
        if key not in ("name", "colour", "color", *others):
            raise origin.error(f"name and colour of label {label}", show(key), nearest(key, ("name", "colour")))
    if {"colour", "color"} <= entry.keys():
        raise origin.error(f"one colour for label {label}", "colour and color", "remove one of them")
    return entry.get("name"), entry.get("colour", entry.get("color"))


def _csv_labels(origin: Origin, path: Path) -> Iterator[tuple[Value, Value | None, Value | None]]:
    """Label, name and colour of each line of a labels file in CSV; an empty colour is none."""
    for label, name, *rest in read_csv(origin, path, _LABEL_COLUMNS, 2, max_bytes=MAX_BYTES):
        text = rest[0] if rest else ""
        parts = re.split(r"[\s,]+", text)
        numbers = len(parts) == 3 and all(map(_CHANNEL.fullmatch, parts))
        yield label, name, ([int(part) for part in parts] if numbers else text or None)


def _parse_label(origin: Origin, value: Value) -> int:
    labels = parse_range(origin, value, "to name")
    if len(labels) > 1:
        raise origin.error("one label per line", show(value), "write a line for each")
    return labels[0]
