"""Write under a temporary name, then rename, so a reader sees the old or the new file, never a partial one."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import stat
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_MAX_NAME_BYTES = 255  # on all common file systems


@contextmanager
def only_one(folder: Path, doing: str) -> Iterator[None]:
    """Lock a folder for this process; the lock ends with the process.

    Raises:
        HistodsError: another process has the lock.
    """
    make_folders(folder)
    with open_own(folder / ".lock") as file:
        lock(file, _taken(folder, doing))
        yield


@contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Lock a folder like `only_one`, without a file in it; no effect on file systems that cannot lock folders.

    Raises:
        HistodsError: another process has the lock.
    """
    make_folders(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise HistodsError(_taken(folder, doing)) from error
        yield
    finally:
        os.close(descriptor)


def open_own(path: Path) -> IO[bytes]:
    """Open a file to append to it, creating it if necessary; reject links and files with a second name.

    Raises:
        HistodsError: the path is a link, a file with a second name, a pipe or a folder.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise HistodsError(_not_own(path, "a link, a folder or a pipe")) from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise HistodsError(_not_own(path, "a file with a second name, a pipe or a device"))
    return os.fdopen(descriptor, "ab")


def _not_own(path: Path, found: str) -> str:
    return f"{path} is {found}, not a file that only histods writes; remove it."


def refuse_pipe(path: Path) -> None:
    """Reject anything but a file on disk, since reading a pipe may never end.

    Raises:
        HistodsError: it is a pipe, a socket or a device.
    """
    with suppress(OSError, ValueError):
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise HistodsError(f"{path} is a pipe or a device, not a file; remove it.")


def _taken(folder: Path, doing: str) -> str:
    return f"Another process already {doing} in {folder}; wait for it or choose another folder."


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
    """Yield a temporary path next to `path`, which is renamed to the final name on exit without an error.

    The temporary name contains the machine and the process id, so no two runs write to the same file. A name that
    is too long for that is shortened to its beginning, a digest of the whole, and the suffix. Files that killed
    runs on this machine left in the folder are removed when this process first writes there.

    Raises:
        OSError: writing failed; the error names `path`, whichever library wrote.
    """
    temporary = path.with_name(_temporary_name(path.name, f".{_machine()}-{os.getpid()}.part"))
    try:
        make_folders(path.parent)
        _tidy(path.parent)
        temporary.unlink(missing_ok=True)  # if it were a link, its target would be overwritten
        yield temporary
        temporary.replace(path)
    except Exception as error:
        named, code = getattr(error, "filename", None), getattr(error, "errno", None) or _code_in(str(error))
        if named not in (None, str(temporary), temporary) or not (code or isinstance(error, OSError)):
            raise
        raise OSError(code, os.strerror(code) if code else str(error), str(path)) from error
    finally:
        with suppress(OSError):  # the first error counts
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the path to errors of an open file."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def make_folders(folder: Path) -> None:
    """Make a folder and any number of missing parents, for each of which `Path.mkdir` would recurse."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
    if not missing:
        folder.mkdir(exist_ok=True)  # raises if it is a file


_tidied: set[Path] = set()
_PART = re.compile(r"\..+\.(?:([0-9a-f]{8})-)?([0-9]+)\.part", re.DOTALL)  # 0.1.0 gave no machine


@cache
def _machine() -> str:
    """Eight hexadecimal digits for the scope of process ids: the machine and the container on it."""
    with suppress(OSError):
        return hashlib.sha256(f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:8]
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _tidy(folder: Path) -> None:
    """Remove temporary files of dead runs on this machine; runs on others may be alive."""
    if folder in _tidied:
        return
    _tidied.add(folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            found = _PART.fullmatch(entry.name)
            if (
                found is None
                or found.group(1) not in (None, _machine())
                or not entry.is_file(follow_symlinks=False)
            ):
                continue
            if _is_dead(int(found.group(2))):
                Path(entry.path).unlink(missing_ok=True)


def _is_dead(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's process, or not a process id
        return False
    return False


def _code_in(text: str) -> int | None:
    """The error number that a third-party library, in Python or Rust, puts only into its message."""
    found = re.search(r"\b(?:errno|os error) (\d+)[\])]", text, re.IGNORECASE)
    return None if found is None else int(found.group(1))


def _temporary_name(name: str, end: str) -> str:
    """A hidden name of at most `_MAX_NAME_BYTES`, with the full name if it is short enough."""
    whole = os.fsencode(name)
    room = _MAX_NAME_BYTES - len(end) - 1
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
    """SHA-256 of a file's bytes as 64 hexadecimal digits, as `sha256sum` prints it.

    Raises:
        HistodsError: it is a pipe or a device.
    """
    refuse_pipe(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
