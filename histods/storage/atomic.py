"""Write beside the final name, then rename: a reader sees the old file or the new one, never a torn one."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

_MOST_NAME_BYTES = 255  # of all usual file systems


@contextmanager
def only_one(folder: Path, doing: str) -> Iterator[None]:
    """Hold a folder for this process alone, by a lock that ends with the process.

    Raises:
        HistodsError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as file:
        lock(
            file,
            f"Expected {folder} for this command alone, found another process {doing} there; "
            "wait for it or choose another folder.",
        )
        yield


def lock(file: IO[bytes], taken: str) -> None:
    """Lock a file until it is closed or this process ends.

    Raises:
        HistodsError: another process has locked it; `taken` is the message.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise HistodsError(taken) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it takes the final name.

    The temporary name holds the process id, so that two runs never write into each other's file. Of a name that
    leaves no room for that it has the beginning, a digest of the whole, and the suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_temporary_name(path.name, f".{os.getpid()}.part"))
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_name(name: str, end: str) -> str:
    """A hidden name of at most `_MOST_NAME_BYTES`: the name itself where it is short enough."""
    whole = os.fsencode(name)
    room = _MOST_NAME_BYTES - len(end) - 1
    if len(whole) <= room:
        return f".{name}{end}"
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 - a name, not a path
    rest = f"~{hashlib.sha256(whole).hexdigest()[:8]}{suffix if len(os.fsencode(suffix)) <= 16 else ''}"
    return f".{whole[: room - len(os.fsencode(rest))].decode('utf-8', 'ignore')}{rest}{end}"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 text file atomically, with newlines as given."""
    write_bytes(path, content.encode())


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON document atomically: two spaces, keys in the given order, one final newline."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
