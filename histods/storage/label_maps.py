"""Label maps, names of labels and tables of counts: found, read and, where anything is open, refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.errors import HistodsError
from histods.labels import (
    IDENTITY,
    MOST_CLASSES,
    LabelMap,
    LabelTable,
    OddScalar,
    Origin,
    is_range,
    nearest,
    parse_colour,
    parse_name,
    parse_range,
    show,
)
from histods.storage.plain_text import MOST_BYTES, load_yaml, read_csv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from histods.labels import Scalar, Value

BUNDLED = Path(__file__).resolve().parents[1] / "label_maps"
_MOST_COUNT_BYTES = 16 << 20
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_COUNT = re.compile(r"[0-9]{1,15}")
_FILE_NAME = re.compile(r"\w[\w.-]{0,79}")
_CANONICAL = ("name", "classes", "map", "unmapped")
# The first of the names is the one that messages use.
_LABEL_COLUMNS = (("label", "label id"), ("name", "class name"), ("colour", "color"))
_COUNT_COLUMNS = (("Label ID",), ("Class Name",), ("Pixel Count",))


class CountTable(NamedTuple):
    """Pixels of each label, ascending by label; three sequences of the same length."""

    labels: NDArray[np.uint16]
    names: tuple[str, ...]
    pixels: NDArray[np.int64]


def find_label_map(name: str | Path, root: Path | None = None) -> Path:
    """Find a label map or a labels file: as given, then in the dataset's root, then among the bundled ones.

    Raises:
        HistodsError: there is no such file in any of these places.
    """
    given = Path(name)
    places = [given] if root is None else [given, root / given]
    if given.name == str(given):  # a path with folders never means a bundled file
        places.append(BUNDLED / given)
    for place in places:
        if place.is_file():
            return place
    if given.exists():
        return given  # a folder, say: reading it tells what is wrong
    bundled = ", ".join(sorted(path.name for path in BUNDLED.glob("*.yml")))
    where = "" if root is None else f" or in {root}"
    raise HistodsError(f"There is no file {name} here{where}; give its path or one of {bundled}.")


def read_label_map(path: Path, names: LabelTable | None = None) -> LabelMap:
    """Read a label map in any of its three forms.

    The canonical form has `classes` and `map`; pairs are `{label: class}`; a `class_to_int` file numbers
    names: class names where all numbers differ, else names of source labels that are merged into classes.

    Args:
        path: YAML (or JSON) of at most 1 MiB.
        names: names of the source labels; DRSK's where it has none.

    Raises:
        HistodsError: the file is anything but a label map that leaves nothing open.
    """
    origin = Origin(str(path))
    document = load_yaml(origin, path)
    if not isinstance(document, dict):
        raise origin.error("a label map", show(document), "write 'classes' and 'map', or 'label: class' pairs")
    stem = re.sub(r"[^\w.-]+", "-", path.stem).strip("-.")[:80]
    numbered = list(_find_class_to_int(document))
    if any(other != numbered[0] for other in numbered):
        found = f"{len(numbered)} that differ"
        raise origin.error("one class_to_int", found, "keep the one that the masks are made with")
    if numbered:
        return _from_class_to_int(origin, numbered[0], _file_name(origin, stem), names)
    if "classes" in document or "map" in document:
        return _from_canonical(origin, document, stem)
    if document and all(is_range(key) for key in document):
        return _from_pairs(origin, document, _file_name(origin, stem))
    forms = "'classes' and 'map', 'label: class' pairs, or class_to_int"
    keys = ", ".join(show(key) for key in list(document)[:5]) or "an empty mapping"
    raise origin.error(forms, keys, "see the bundled label_map_10.yml")


def read_labels(path: Path) -> LabelTable:
    """Read names, and perhaps colours, of source labels from YAML, JSON or (by its suffix) CSV.

    Raises:
        HistodsError: the file is not such a list, names a label twice, or gives two labels one colour.
    """
    origin = Origin(str(path))
    is_csv = path.suffix.lower() == ".csv"
    names: dict[int, str] = {}
    colours: dict[int, tuple[int, int, int]] = {}
    owners: dict[tuple[int, int, int], int] = {}
    for key, name, colour in _csv_labels(origin, path) if is_csv else _yaml_labels(origin, path):
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
    for key, name, count in read_csv(origin, path, _COUNT_COLUMNS, 3, most_bytes=_MOST_COUNT_BYTES):
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


def _from_canonical(origin: Origin, document: dict[Scalar, Value], stem: str) -> LabelMap:
    for key in document:
        if key not in _CANONICAL:
            raise origin.error(f"the keys {', '.join(_CANONICAL)}", show(key), nearest(key, _CANONICAL))
    for key in ("classes", "map"):
        if key not in document:
            raise origin.error(f"the key {key}", "none", "see the bundled label_map_10.yml")
    classes = _parse_classes(origin, document["classes"])
    groups = document["map"]
    if not isinstance(groups, dict):
        raise origin.error("'class: [labels]' lines under map", show(groups), "see the bundled label_map_10.yml")
    table: dict[int, int] = {}
    seen: set[int] = set()
    for key, labels in groups.items():
        index = _parse_class(origin, key, classes)
        if index in seen:
            raise origin.error("each class once under map", f"{classes[index]!r} twice", "join its labels")
        seen.add(index)
        _assign(origin, table, labels, index, classes)
    unmapped = document.get("unmapped", "error")
    return LabelMap(
        name=_file_name(origin, document.get("name", stem)),
        classes=classes,
        table=table,
        unmapped=None if unmapped == "error" else _parse_class(origin, unmapped, classes),
    )


def _from_pairs(origin: Origin, document: dict[Scalar, Value], name: str) -> LabelMap:
    numbers: list[int] = []
    for key, value in document.items():
        if not isinstance(value, int):
            advice = "write numbers, or 'classes' and 'map' to name classes; names of labels belong in --labels"
            raise origin.error(f"a class number for label {key}", show(value), advice)
        numbers.append(value)
    classes = tuple(f"class {index}" for index in range(_count_classes(origin, numbers)))
    table: dict[int, int] = {}
    for key, index in zip(document, numbers, strict=True):
        _assign(origin, table, key, index, classes)
    return LabelMap(name=name, classes=classes, table=table)


def _find_class_to_int(value: Value) -> Iterator[dict[Scalar, Value]]:
    """Go through every mapping that stands under a key `class_to_int`, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "class_to_int" and isinstance(inner, dict):
                yield inner
            else:
                yield from _find_class_to_int(inner)


def _from_class_to_int(
    origin: Origin, numbered: dict[Scalar, Value], name: str, names: LabelTable | None
) -> LabelMap:
    members: dict[int, list[str]] = {}
    for key, value in numbered.items():
        member = parse_name(origin, key, "each number in class_to_int")
        if not isinstance(value, int):
            raise origin.error(f"a class number for {member!r}", show(value), "write a whole number")
        members.setdefault(value, []).append(member)
    count = _count_classes(origin, members)
    classes = tuple(members[i][0] if len(members[i]) == 1 else f"class {i}" for i in range(count))
    if len(numbered) == count:  # one name a number: the masks hold these numbers already
        return LabelMap(name=name, classes=classes, table={i: i for i in range(count)})
    known = names if names is not None and names.names else read_labels(BUNDLED / "drsk_labels.yml")
    table: dict[int, int] = {}
    for index in range(count):
        for member in members[index]:
            labels = known.labels_named(member)
            if not labels:
                raise origin.error("names of source labels", repr(member), nearest(member, known.names.values()))
            _assign(origin, table, [*labels], index, classes)
    return LabelMap(name=name, classes=classes, table=table)


def _count_classes(origin: Origin, numbers: Iterable[int]) -> int:
    """Number of classes; every number from 0 to the highest has to occur."""
    used = set(numbers)
    if not used:
        raise origin.error("classes", "none", "write at least one")
    last = max(used)
    if min(used) < 0:
        raise origin.error("classes numbered from 0", f"class {min(used)}", "number them 0, 1, 2 and so on")
    if last >= MOST_CLASSES:
        raise origin.error(f"classes 0 to {MOST_CLASSES - 1}", f"class {last}", "merge classes: masks get 8 bits")
    if len(used) <= last:
        gap = min(set(range(last)) - used)
        raise origin.error(f"classes 0 to {last} without a gap", f"no class {gap}", "add it or renumber")
    return last + 1


def _assign(origin: Origin, table: dict[int, int], value: Value, index: int, classes: tuple[str, ...]) -> None:
    """Put labels and ranges into a class; a key with nothing behind it is a class without labels."""
    if isinstance(value, OddScalar) and value.kind == "null":
        return
    for item in value if isinstance(value, list) else [value]:
        for label in parse_range(origin, item, f"for {classes[index]!r}"):
            if table.setdefault(label, index) != index:
                found = f"label {label} in {classes[table[label]]!r} and {classes[index]!r}"
                raise origin.error("each label in one class", found, "keep one of them")


def _parse_classes(origin: Origin, value: Value) -> tuple[str, ...]:
    if not isinstance(value, dict | list):
        raise origin.error("'number: name' lines under classes", show(value), "see the bundled label_map_10.yml")
    named: dict[int, Value] = {}
    for key, name in value.items() if isinstance(value, dict) else enumerate(value):
        if not isinstance(key, int) and not (isinstance(key, str) and key.isdecimal()):
            raise origin.error("numbers as keys of classes", show(key), "write '0: NAME' lines")
        if int(key) in named:
            raise origin.error("each class number once", f"class {key} twice", "keep one of them")
        named[int(key)] = name
    return tuple(parse_name(origin, named[i], f"class {i}") for i in range(_count_classes(origin, named)))


def _parse_class(origin: Origin, value: Value, classes: tuple[str, ...]) -> int:
    """Index of a class that is given by its name or its number."""
    if isinstance(value, str) and value in classes:
        return classes.index(value)
    if isinstance(value, int | str) and _INTEGER.fullmatch(str(value)) and 0 <= int(value) < len(classes):
        return int(value)
    advice = f"they go from 0 to {len(classes) - 1}" if isinstance(value, int) else nearest(value, classes)
    raise origin.error("the name or number of a class", show(value), advice)


def _parse_label(origin: Origin, value: Value) -> int:
    labels = parse_range(origin, value, "to name")
    if len(labels) > 1:
        raise origin.error("one label a line", show(value), "write a line for each")
    return labels[0]


def _file_name(origin: Origin, value: Value) -> str:
    """The name of a class system becomes a file's name, so it has to be harmless as one."""
    if value == IDENTITY:
        raise origin.error(f"a name other than {IDENTITY!r}", "that", "it means labels as they are: write another")
    if isinstance(value, str) and _FILE_NAME.fullmatch(value):
        return value
    advice = "use up to 80 letters, digits, '-', '_' and '.', in quotes where it is a number"
    raise origin.error("a name that a file can have", show(value), advice)


def _yaml_labels(origin: Origin, path: Path) -> Iterator[tuple[Value, Value | None, Value | None]]:
    """Label, name and colour of each entry of a labels file in YAML; name and colour may be missing."""
    document = load_yaml(origin, path)
    if isinstance(document, dict) and list(document) == ["labels"]:
        document = document["labels"]
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
    return entry.get("name"), entry.get("colour", entry.get("color"))


def _csv_labels(origin: Origin, path: Path) -> Iterator[tuple[Value, Value | None, Value | None]]:
    """Label, name and colour of each line of a labels file in CSV; an empty colour is none."""
    for label, name, *rest in read_csv(origin, path, _LABEL_COLUMNS, 2, most_bytes=MOST_BYTES):
        text = rest[0] if rest else ""
        parts = re.split(r"[\s,]+", text)
        numbers = len(parts) == 3 and all(part.isdecimal() for part in parts)
        yield label, name, ([int(part) for part in parts] if numbers else text or None)
