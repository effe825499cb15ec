"""Read small YAML files strictly: plain data in UTF-8, of limited size.

Tags, anchors, aliases, a second document and repeated keys are errors. Scalars that YAML 1.1 would silently
convert (`no` to a Boolean, `010` to 8) stay a `NonStringScalar`, so that the error message can quote them.
"""

from __future__ import annotations

import difflib
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import yaml

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


MAX_BYTES = 1 << 20
_MAX_DEPTH = 32
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_MAX_SHOWN = 80
_KINDS = {"bool": "the Boolean", "float": "the fraction", "int": "the number", "timestamp": "the date"}


@dataclass(frozen=True, slots=True)
class NonStringScalar:
    """A YAML scalar that is neither text nor a plain decimal number: its text as written, and YAML's type."""

    text: str
    kind: str

    def __str__(self) -> str:
        return self.text


Scalar: TypeAlias = "int | str | NonStringScalar"
Value: TypeAlias = "Scalar | list[Value] | dict[Scalar, Value]"


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of values, and the error message that rejects them."""

    path: str

    def error(self, expected: str, found: str, advice: str) -> HistodsError:
        """The error: what is expected, what was found, and what to do."""
        return HistodsError(f"{self.path} needs {expected}, but has {found}; {advice}.")


def show(value: Value) -> str:
    """Describe a value, for messages."""
    if isinstance(value, NonStringScalar):
        return (
            "nothing" if value.kind == "null" else f"{_KINDS.get(value.kind, 'the word')} {_shorten(value.text)}"
        )
    if isinstance(value, str):
        return repr(_shorten(value))
    if isinstance(value, int):
        return f"the number {value}"
    return "a list" if isinstance(value, list) else "a mapping"


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def advise(value: Value, otherwise: str) -> str:
    """Advice on a value, with an explanation for YAML's unexpected Booleans."""
    if isinstance(value, NonStringScalar) and value.kind == "bool":
        return f"YAML reads {value.text} as true or false: put it in quotes if it is a name"
    return otherwise


def nearest(value: Value, known: Iterable[str]) -> str:
    """Advice on an unknown name."""
    text = value.text if isinstance(value, NonStringScalar) else str(value)
    close = difflib.get_close_matches(text, list(known), n=1, cutoff=0.0) if text else []
    return advise(value, f"the nearest is {close[0]!r}" if close else "write one")


def read_text(origin: Origin, path: Path, max_bytes: int) -> str:
    """Read a small UTF-8 file after checking its size."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= max_bytes:
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
    if status.st_size > max_bytes:
        raise origin.error(f"at most {max_bytes >> 20} MiB", f"{status.st_size:,} bytes", "give the map itself")
    raise HistodsError(f"{origin.path} is empty; give the path of another file.")


def load_yaml(origin: Origin, path: Path) -> Value:
    """Read one YAML document from its events, without YAML's constructors."""
    text = read_text(origin, path, MAX_BYTES)
    try:
        # The pure Python parser, so that messages do not depend on the PyYAML build.
        return _build(yaml.SafeLoader(text), origin)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" on line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise origin.error("plain YAML", f"a mistake{where} ({problem})", "correct it") from error
    except (ValueError, OverflowError) as error:  # PyYAML makes any number of an escape a character
        raise origin.error("plain YAML", "an escape beyond Unicode, such as \\U00110000", "correct it") from error


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
            value = _value(loader, event, origin, line)
            _put(origin, stack[-1], keys, value, line)
            if isinstance(value, list | dict):
                stack.append(value)
                keys.append(None)
            if len(stack) > _MAX_DEPTH:
                raise origin.error(f"at most {_MAX_DEPTH} levels", f"more on line {line}", "flatten it")
    if not top:
        raise origin.error("values", "comments alone", "give the path of another file")
    return top[0]


def _join_halves(origin: Origin, text: str, line: int) -> str:
    """Join the two escapes with which JSON writes a character beyond 16 bits, and which YAML leaves apart."""
    try:
        return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as error:
        found = f"half a character on line {line}"
        raise origin.error("text", found, "write both of its \\u escapes, or the character itself") from error


def _value(loader: yaml.SafeLoader, event: yaml.Event, origin: Origin, line: int) -> Value:
    """A scalar's value, or a new list or mapping."""
    if isinstance(event, yaml.ScalarEvent):
        tag: str = loader.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
        kind = tag.rpartition(":")[2]
        if kind == "int" and _INTEGER.fullmatch(event.value):
            return int(event.value)
        text = _join_halves(origin, event.value, line)
        return text if kind == "str" else NonStringScalar(text, kind)
    return [] if isinstance(event, yaml.SequenceStartEvent) else {}


def _put(
    origin: Origin, holder: list[Value] | dict[Scalar, Value], keys: list[Scalar | None], value: Value, line: int
) -> None:
    """Append to a list, or set a mapping's next key or its value."""
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
