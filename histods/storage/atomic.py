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


@contextmanager
def only_one(folder: Path, doing: str) -> Iterator[None]:
    """Hold a folder for this process alone, by a lock that ends with the process.

    Raises:
        HistodsError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HistodsError(
                f"Expected {folder} for this command alone, found another process {doing} there; "
                "wait for it or choose another folder."
            ) from error
        yield


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it takes the final name.

    The temporary name holds the process id, so that two runs never write into each other's file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
