"""Find label maps, read them in any of their forms, and refuse ambiguous ones."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from histods.errors import HistodsError
from histods.io.strict_yaml import NonStringScalar, Origin, load_yaml, nearest, show
from histods.labels.label_map import IDENTITY, MAX_CLASSES, LabelMap, LabelTable
from histods.labels.label_names import labels_part, parse_labels, read_labels
from histods.labels.parse_values import is_range, parse_name, parse_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from histods.io.strict_yaml import Scalar, Value

BUNDLED = Path(__file__).resolve().parent / "bundled"
_USUAL_MAP, _OF_USUAL_MAP = "label_map_10.yml", "drsk_labels.yml"  # a bundled map, and its labels file
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FILE_NAME = re.compile(r"\w[\w.-]{0,79}")
_NUMBER = re.compile(r"\s*[0-9]{1,9}\s*")
_UNKNOWN = "unknown"
"""Name of class 0, case-insensitive, if a list of classes omits it; it gets label 0."""


def find_label_map(name: str | Path, root: Path | None = None) -> Path:
    """Find a label map or labels file: as given, in the dataset's root, or among the bundled ones.

    Raises:
        HistodsError: there is no such file in any of these places.
    """
    given = Path(name)
    places = [given] if root is None else [given, root / given]
    if given.name == str(given):  # a path with folders never refers to a bundled file
        places.append(BUNDLED / given)
    for place in places:
        if place.is_file():
            return place
    if given.exists():
        return given  # for example a folder: reading it raises the error
    bundled = ", ".join(sorted(path.name for path in BUNDLED.glob("*.yml")))
    where = "" if root is None else f" or in {root}"
    raise HistodsError(f"There is no file {name} here{where}; give its path or one of {bundled}.")


def propose_label_map(root: Path, labels: object, other_files: Iterable[str]) -> str | None:
    """Name of an available label map: in the labels file, else in the root, else a bundled one that fits.

    Args:
        root: the dataset's folder.
        labels: the labels file of the audit, or None.
        other_files: suffixes of the files in the root that are not pictures. Unless `.yml` is among them, the
            folder, which may hold half a million files, is not listed again.
    """
    if isinstance(labels, str) and _is_label_map(Path(labels)):
        return labels
    maps = []
    if ".yml" in other_files:
        with suppress(OSError):
            maps = sorted(path.name for path in root.glob("label_map*.yml"))
    if maps:
        return _USUAL_MAP if _USUAL_MAP in maps else maps[0]
    return _USUAL_MAP if isinstance(labels, str) and Path(labels).name == _OF_USUAL_MAP else None


def _is_label_map(path: Path) -> bool:
    try:
        read_label_map(path)
    except HistodsError:
        return False
    return True


def read_label_map(path: Path, names: LabelTable | None = None) -> LabelMap:
    """Read a label map in any of its forms.

    The canonical form has `classes` and `map`. Classes may also be listed just with their labels, by name
    (`tumour: [3, 4]`) or by number (`1: [3, 4]`), at the top, under `map` or under `classes`. Pairs are
    `{label: class}`; a `class_to_int` file numbers names: class names if all numbers differ, else names of source
    labels that are merged into classes. Names and colours of labels may accompany `map` and `classes`.

    Args:
        path: YAML (or JSON) of at most 1 MiB.
        names: names of the source labels; by default those of DRSK.

    Raises:
        HistodsError: the file is not a label map, or is ambiguous.
    """
    origin = Origin(str(path))
    document = load_yaml(origin, path)
    if not isinstance(document, dict):
        raise origin.error("a label map", show(document), "write 'class: [labels]' lines, or 'classes' and 'map'")
    stem = re.sub(r"[^\w.-]+", "-", path.stem).strip("-.")[:80]
    numbered = list(_find_class_to_int(document))
    if any(other != numbered[0] for other in numbered):
        found = f"{len(numbered)} that differ"
        raise origin.error("one class_to_int", found, "keep the one that the masks are made with")
    if numbered:
        return _from_class_to_int(origin, numbered[0], _file_name(origin, stem), names)
    if "classes" in document or "map" in document:
        return _from_keys(origin, document, stem)
    if "labels" in document:
        advice = "add 'map:' with 'class: [labels]' lines, or draft a map with 'histods remap --draft FILE'"
        raise origin.error("a label map", "names of labels", advice)
    rows = {key: value for key, value in document.items() if key not in ("name", "unmapped")}
    if not rows:
        keys = ", ".join(show(key) for key in document) or "an empty mapping"
        raise origin.error("classes with their labels", keys, "write 'class: [labels]' lines")
    if all(map(is_range, rows)) and not any(map(_are_labels, rows.values())):
        return _from_pairs(origin, rows, document, stem)
    return _from_lists(origin, rows, document, stem)


def _from_keys(origin: Origin, document: dict[Scalar, Value], stem: str) -> LabelMap:
    """The map of a file with the keys `classes` and `map`, or one of them."""
    named = labels_part(origin, document)
    if named is not None:
        parse_labels(origin, named)
    if "map" not in document:
        classes = document["classes"]
        if not isinstance(classes, dict) or not any(map(_are_labels, classes.values())):
            raise origin.error("the key map", "none", "see the bundled label_map_10.yml")
        return _from_lists(origin, classes, document, stem)
    groups = document["map"]
    if not isinstance(groups, dict):
        raise origin.error("'class: [labels]' lines under map", show(groups), "see the bundled label_map_10.yml")
    if "classes" not in document:
        return _from_lists(origin, groups, document, stem)
    names = _parse_classes(origin, document["classes"])
    table: dict[int, int] = {}
    seen: set[int] = set()
    for key, labels in groups.items():
        index = _parse_class(origin, key, names)
        if index in seen:
            raise origin.error("each class once under map", f"{names[index]!r} twice", "join its labels")
        seen.add(index)
        _assign(origin, table, labels, index, names)
    return _named_map(origin, document, stem, names, table)


def _named_map(
    origin: Origin, document: dict[Scalar, Value], stem: str, classes: tuple[str, ...], table: dict[int, int]
) -> LabelMap:
    """A map with the name and the class of unmapped labels from its document."""
    unmapped = document.get("unmapped", "error")
    return LabelMap(
        name=_file_name(origin, document.get("name", stem)),
        classes=classes,
        table=table,
        unmapped=None if unmapped == "error" else _parse_class(origin, unmapped, classes),
    )


def _from_lists(origin: Origin, rows: dict[Scalar, Value], document: dict[Scalar, Value], stem: str) -> LabelMap:
    """The map from `class: [labels]` lines; classes are numbers, or names in the order of their numbers.

    If class 0 is omitted, it is Unknown and gets label 0.
    """
    if not rows:
        raise origin.error("classes", "none", "write at least one")
    numbers = [number for key in rows if (number := _number(key)) is not None]
    is_numbered = len(numbers) == len(rows)
    lists = _numbered_lists(origin, rows, numbers) if is_numbered else _named_lists(origin, rows)
    classes = tuple(lists)
    table: dict[int, int] = {}
    for index, labels in enumerate(lists.values()):
        _assign(origin, table, labels, index, classes)
    unmapped = document.get("unmapped", "error")
    rest = unmapped if isinstance(unmapped, str) and unmapped.casefold() == _UNKNOWN else None
    is_left_out = rest is not None or unmapped in ("error", 0, "0")
    named = [index for index, name in enumerate(classes) if name.casefold() == _UNKNOWN]
    if is_left_out and 0 not in table and 0 not in numbers and not named:
        classes = (rest or _UNKNOWN.capitalize(), *classes)
        table = {0: 0} | {label: index + 1 for label, index in table.items()}
        numbers.append(0)
    if is_numbered:
        _count_classes(origin, numbers)
    label_map = _named_map(origin, document, stem, classes, table)
    if not is_numbered:
        _check_first(origin, classes, table.get(0, label_map.unmapped), named)
    return label_map


def _check_first(origin: Origin, classes: tuple[str, ...], zero: int | None, named: list[int]) -> None:
    """Reject names in an order that gives label 0, or Unknown, a class other than 0.

    Args:
        origin: the source, for the error.
        classes: names in the order of their lines.
        zero: class of label 0, or None.
        named: classes named Unknown.
    """
    place = zero if zero is not None else named[0] if named else 0
    if place:
        why = f"label 0 in {classes[place]!r}" if zero is not None else repr(classes[place])
        found = f"{why}, which is class {place} by the order of the lines and class 0 by its meaning (unknown)"
        advice = f"move {classes[place]!r} to the top, or number all classes under 'classes'"
        raise origin.error("class 0 in the first line", found, advice)


def _named_lists(origin: Origin, rows: dict[Scalar, Value]) -> dict[str, Value]:
    """The labels of each class by its name, in the order of the lines."""
    named = [key for key in rows if not is_range(key)]
    for key in rows:
        if is_range(key) and named:
            found = f"both {show(named[0])} and {show(key)}"
            raise origin.error("names or numbers of classes", found, "name all classes or number all of them")
        if is_range(key):
            advice = "write 'class: [labels]' or 'labels: class' in all lines"
            raise origin.error("the number of a class before a list of labels", show(key), advice)
    lists: dict[str, Value] = {}
    for key, value in rows.items():
        name = parse_name(origin, key, "each class")
        if name in lists:
            raise origin.error("each class once", f"{name!r} twice", "join its labels")
        lists[name] = value
    numbers = [_number(value) for value in lists.values()]
    if None not in numbers and numbers != [*range(len(numbers))]:
        place = next(index for index, number in enumerate(numbers) if number != index)
        name, number = [*lists][place], numbers[place]
        found = f"{number} for {name!r}: class {number}, or label {number} in class {place}"
        advice = f"write '[{number}]' for a label, or put all lines under 'class_to_int:' if they number classes"
        raise origin.error("one meaning of each number", found, advice)
    return lists


def _numbered_lists(origin: Origin, rows: dict[Scalar, Value], numbers: list[int]) -> dict[str, Value]:
    """The labels of each class, in the order of their numbers."""
    lists: dict[int, Value] = {}
    for number, value in zip(numbers, rows.values(), strict=True):
        if number in lists:
            raise origin.error("each class number once", f"class {number} twice", "join its labels")
        other = _number(value)
        if other is not None and other != number:
            found = f"'{number}: {other}': label {number} in class {other}, or class {number} of label {other}"
            advice = f"write '{other}: [{number}]' for the first, '{number}: [{other}]' for the second"
            raise origin.error("one meaning of each number", found, advice)
        lists[number] = value
    return {f"class {number}": lists[number] for number in sorted(lists)}


def _number(value: Value) -> int | None:
    """A single integer from 0, quoted or not; None for anything else."""
    is_number = isinstance(value, int | str) and _NUMBER.fullmatch(str(value))
    return int(str(value)) if is_number else None


def _are_labels(value: Value) -> bool:
    """Whether a value can only be labels: a list, a range, or several with commas."""
    if isinstance(value, str):
        return _number(value) is None and all(map(is_range, value.split(",")))
    return isinstance(value, list)


def _from_pairs(origin: Origin, rows: dict[Scalar, Value], document: dict[Scalar, Value], stem: str) -> LabelMap:
    """The map from `label: class` lines."""
    numbers: list[int] = []
    for key, value in rows.items():
        if not isinstance(value, int):
            advice = "write numbers, or 'classes' and 'map' to name classes; names of labels belong in --labels"
            raise origin.error(f"a class number for label {key}", show(value), advice)
        numbers.append(value)
    classes = tuple(f"class {index}" for index in range(_count_classes(origin, numbers)))
    table: dict[int, int] = {}
    for key, index in zip(rows, numbers, strict=True):
        _assign(origin, table, key, index, classes)
    return _named_map(origin, document, stem, classes, table)


def _find_class_to_int(value: Value) -> Iterator[dict[Scalar, Value]]:
    """Yield every mapping under a key `class_to_int`, at any depth."""
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
    if len(numbered) == count:  # one name per number: the masks already hold these numbers
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
    """Number of classes; every number from 0 to the highest must occur."""
    used = set(numbers)
    if not used:
        raise origin.error("classes", "none", "write at least one")
    last = max(used)
    if min(used) < 0:
        raise origin.error("classes numbered from 0", f"class {min(used)}", "number them 0, 1, 2 and so on")
    if last >= MAX_CLASSES:
        raise origin.error(f"classes 0 to {MAX_CLASSES - 1}", f"class {last}", "merge classes: masks get 8 bits")
    if len(used) <= last:
        gap = min(set(range(last)) - used)
        raise origin.error(f"classes 0 to {last} without a gap", f"no class {gap}", "add it or renumber")
    return last + 1


def _assign(origin: Origin, table: dict[int, int], value: Value, index: int, classes: tuple[str, ...]) -> None:
    """Put labels and ranges into a class; a key without a value is a class without labels."""
    if isinstance(value, NonStringScalar) and value.kind == "null":
        return
    if isinstance(value, str) and "," in value:
        value = [*value.split(",")]
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
    """Index of a class given by name or number."""
    if isinstance(value, str) and value in classes:
        return classes.index(value)
    if isinstance(value, int | str) and _INTEGER.fullmatch(str(value)) and 0 <= int(value) < len(classes):
        return int(value)
    advice = f"they go from 0 to {len(classes) - 1}" if isinstance(value, int) else nearest(value, classes)
    raise origin.error("the name or number of a class", show(value), advice)


def _file_name(origin: Origin, value: Value) -> str:
    """The name of a class system, which must be a safe file name."""
    if value == IDENTITY:
        raise origin.error(f"a name other than {IDENTITY!r}", "that", "it means unchanged labels: write another")
    if isinstance(value, str) and _FILE_NAME.fullmatch(value):
        return value
    advice = "use up to 80 letters, digits, '-', '_' and '.', in quotes if it is a number"
    raise origin.error("a name that a file can have", show(value), advice)
