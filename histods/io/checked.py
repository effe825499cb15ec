"""Check the contents of a workspace's files before use, since the workspace may come from an unknown source.

Paths and names must stay inside their folder, and JSON objects must have the fields and types of their class.
"""

from __future__ import annotations

import os
import types
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Mapping

Class = TypeVar("Class")
_MOST = 1 << 63  # integers are smaller, as in Arrow and on disks
_MAX_PATH, _MAX_NAME = 4095, 255  # bytes of a path and of each of its parts, as systems allow
_SHOWN = 60  # characters of a wrong value


def stays_inside(path: str) -> bool:
    """Whether a relative POSIX path stays below its folder."""
    parts = path.split("/")
    return "\0" not in path and not any(part in ("", ".", "..") for part in parts)


def is_name(name: str) -> bool:
    """Whether a text is a file name that may be written: one part of a path, not hidden."""
    return stays_inside(name) and "/" not in name and not name.startswith(".")


def is_path(path: str) -> bool:
    """Whether a text can be the path of a file or folder, there or not."""
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        return False
    too_long = len(encoded) > _MAX_PATH or any(len(part) > _MAX_NAME for part in encoded.split(b"/"))
    return bool(encoded) and b"\0" not in encoded and not too_long


def lies_inside(path: str, folder: str) -> bool:
    """Whether an absolute path is below a folder, judged only by its text."""
    start = folder.rstrip("/") + "/"
    return path.startswith(start) and stays_inside(path[len(start) :])


def leads_inside(path: str, folder: str) -> bool:
    """Whether a path is below a folder after following all links."""
    real = os.path.realpath(folder)
    return (os.path.realpath(path) + "/").startswith(real.rstrip("/") + "/")


def build(kind: type[Class], document: object, **known: object) -> Class:
    """Make a dataclass from JSON.

    Args:
        kind: a dataclass; lists become tuples if it has tuples.
        document: an object with exactly its fields.
        known: fields that are not in the document.

    Raises:
        ValueError: a field is missing, unknown or of another type; the message is a part of a sentence.
    """
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004 - all that is wrong with a document is one error
            f"{_short(document)} instead of an object"
        )
    hints = _hints(kind)  # type: ignore[arg-type]  # a class can be hashed
    for name in document:
        if name not in hints or name in known:
            raise ValueError(f"an unknown field {_short(name)}")
    values = dict(known)
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass
        if field.name in document:
            values[field.name] = fit(document[field.name], hints[field.name], field.name)
        elif field.name not in known and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"no field {field.name}")
    return kind(**values)


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


def fit(value: object, hint: Any, name: str) -> Any:
    """Convert a value from JSON to a type: a number, a text, a dataclass, or a container of these.

    Raises:
        ValueError: it has another type; the message is a part of a sentence, with the name.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        for one in inner:
            with suppress(ValueError):
                return fit(value, one, name)
    elif isinstance(value, list) and origin in (tuple, list):
        return origin(fit(one, inner[0], name) for one in value)
    elif isinstance(value, dict) and origin is dict:
        return {fit(key, inner[0], name): fit(one, inner[1], name) for key, one in value.items()}
    elif is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value)
    elif hint is Any or (origin is Literal and value in inner) or _is_plain(value, hint):
        return value
    raise ValueError(f"{name} {_short(value)}")


def _is_plain(value: object, hint: Any) -> bool:
    """Whether a number, a text or null has a type; true and false are not numbers."""
    if hint in (bool, types.NoneType):
        return isinstance(value, hint)
    if hint is str:
        return isinstance(value, str) and "\0" not in value
    if isinstance(value, bool) or hint not in (int, float):
        return False
    return isinstance(value, hint | int) and abs(value) < _MOST


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
