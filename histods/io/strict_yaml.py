"""Small text files, read strictly: YAML as plain data, CSV by column names, UTF-8, of bounded size.

YAML has no tags, anchors, aliases or second document here, and no key twice. What YAML 1.1 would quietly
turn into something else (`no` into a Boolean, `010` into 8) stays an `OddScalar`, so that the refusal can
quote it.
"""

from __future__ import annotations

import csv
import io
import re
import stat
from typing import TYPE_CHECKING

import yaml

from histods.errors import HistodsError
from histods.labels.label_map import OddScalar, Origin, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from histods.labels.label_map import Scalar, Value

MOST_BYTES = 1 << 20
_MOST_DEPTH = 32
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


def read_csv(
    origin: Origin, path: Path, columns: Sequence[Sequence[str]], needed: int, *, most_bytes: int
) -> Iterator[list[str]]:
    """The cells of the wanted columns, line by line, without surrounding blanks.

    Args:
        origin: for refusals.
        path: the file.
        columns: the names that each wanted column may have, in any case.
        needed: so many of the columns have to be there; those after them may be missing.
        most_bytes: a larger file is refused.
    """
    reader = csv.reader(io.StringIO(read_text(origin, path, most_bytes), newline=""), strict=True)
    try:
        lines = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise origin.error("CSV", f"a mistake on line {reader.line_num} ({error})", "correct it") from error
    header = [cell.strip().lower() for cell in lines[0][1]]
    places = []
    for number, names in enumerate(columns):
        found = [header.index(name.lower()) for name in names if name.lower() in header]
        if not found and number < needed:
            wanted = ", ".join(column[0] for column in columns[:needed])
            raise origin.error(f"the columns {wanted}", f"no {names[0]}", "name the columns in the first line")
        places += found[:1]
    for line, row in lines[1:]:
        if len(row) != len(header):
            found_cells = f"{len(row)} on line {line}"
            raise origin.error(f"{len(header)} cells a line", found_cells, "quote cells that hold commas")
        yield [row[place].strip() for place in places]


def read_text(origin: Origin, path: Path, most_bytes: int) -> str:
    """Read a small UTF-8 file whose size is checked before."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= most_bytes:
            text = path.read_bytes().decode("utf-8-sig")
            if text.strip():
                return text
    except OSError as error:
        message = f"{origin.path} cannot be read ({error.strerror}); give the path of a file that can be read."
        raise HistodsError(message) from error
    except UnicodeDecodeError as error:
        found = f"byte {error.object[error.start]:#04x} at position {error.start}"
        raise origin.error("UTF-8 text", found, "save it as UTF-8") from error
    if not stat.S_ISREG(status.st_mode):
        found = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise HistodsError(f"{origin.path} is {found}; give the path of a file.")
    if status.st_size > most_bytes:
        raise origin.error(f"at most {most_bytes >> 20} MiB", f"{status.st_size:,} bytes", "give the map itself")
    raise HistodsError(f"{origin.path} is empty; give the path of another file.")


def load_yaml(origin: Origin, path: Path) -> Value:
    """Read one YAML document from its events, without any of the constructors of YAML."""
    text = read_text(origin, path, MOST_BYTES)
    try:
        # The pure Python parser, so that messages do not depend on how PyYAML was built.
        return _build(yaml.SafeLoader(text), origin)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" on line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise origin.error("plain YAML", f"a mistake{where} ({problem})", "correct it") from error


def _build(loader: yaml.SafeLoader, origin: Origin) -> Value:
    top: list[Value] = []
    stack: list[list[Value] | dict[Scalar, Value]] = [top]
    keys: list[Scalar | None] = [None]
    while loader.check_event():
        event = loader.get_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise origin.error("plain YAML", f"an anchor or alias on line {line}", "write the values out")
        if getattr(event, "tag", None):
            raise origin.error("plain YAML", f"the tag {event.tag} on line {line}", "remove it")
        if isinstance(event, yaml.DocumentStartEvent) and top:
            raise origin.error("one YAML document", f"another on line {line}", "keep one")
        if isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
            keys.pop()
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            value = _value(loader, event)
            _put(origin, stack[-1], keys, value, line)
            if isinstance(value, list | dict):
                stack.append(value)
                keys.append(None)
            if len(stack) > _MOST_DEPTH:
                raise origin.error(f"at most {_MOST_DEPTH} levels", f"more on line {line}", "flatten it")
    if not top:
        raise origin.error("values", "comments alone", "give the path of another file")
    return top[0]


def _value(loader: yaml.SafeLoader, event: yaml.Event) -> Value:
    """A scalar's value, or a new list or mapping."""
    if isinstance(event, yaml.ScalarEvent):
        tag: str = loader.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
        kind = tag.rpartition(":")[2]
        if kind == "int" and _INTEGER.fullmatch(event.value):
            return int(event.value)
        return str(event.value) if kind == "str" else OddScalar(event.value, kind)
    return [] if isinstance(event, yaml.SequenceStartEvent) else {}


def _put(
    origin: Origin, holder: list[Value] | dict[Scalar, Value], keys: list[Scalar | None], value: Value, line: int
) -> None:
    """Append to a list, or take a mapping's next key or that key's value."""
    if isinstance(holder, list):
        holder.append(value)
    elif keys[-1] is not None:
        holder[keys[-1]] = value
        keys[-1] = None
    elif isinstance(value, list | dict):
        raise origin.error("single words or numbers as keys", f"{show(value)} on line {line}", "write one")
    elif value in holder:
        raise origin.error("each key once", f"{show(value)} again on line {line}", "keep one of them")
    else:
        keys[-1] = value
