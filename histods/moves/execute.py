"""Move many files so that moves interrupted by a kill can be finished or undone; the disk shows the progress.

A move renames. To another file system, it copies to a temporary name in the target's folder, compares, renames the
copy and only then removes the source, so one of the two places always has a complete file. No file is ever
overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import unicodedata
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from histods.errors import HistodsError
from histods.io.atomic import file_digest, make_folders
from histods.io.overlap import MAX_THREADS, Pace, overlap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from histods.records import Progress

_STEP = 2048  # files between two reports of progress


class Move(NamedTuple):
    """A file to move: absolute paths, and the size and modification time it must have."""

    source: str
    target: str
    bytes: int
    mtime_ns: int


class Found(Enum):
    """The state of a move on disk."""

    READY = "the source is as it was planned, nothing is at the target"
    DONE = "the file is at the target"
    BOTH = "at both places: a copy was cut off before its source was removed"
    CHANGED = "the source has another size or time"
    TAKEN = "another file is at the target"
    GONE = "nothing is at either place"


class Folders(NamedTuple):
    """Folders that moves create, parents first, and folders that they change, with their modification times."""

    created: list[str]
    touched: dict[str, int]


class Unfinished(NamedTuple):
    """The remaining work: files to move, and files whose copy is complete while the source still exists."""

    ready: list[Move]
    copied: list[Move]


def state_of(path: str) -> tuple[int, int] | None:
    """Size and time in nanoseconds of a regular file; (-1, -1) for anything else; None if nothing exists."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (-1, -1)


def survey(moves: Sequence[Move], progress: Progress | None = None) -> dict[Found, list[Move]]:
    """Check both places of every move, without writing."""
    found: dict[Found, list[Move]] = {kind: [] for kind in Found}
    looked = overlap(_look, _watched("checking files", moves, progress))
    for move, kind in zip(moves, looked, strict=True):
        found[kind].append(move)
    return found


def _look(move: Move) -> Found:
    planned = (move.bytes, move.mtime_ns)
    source, target = state_of(move.source), state_of(move.target)
    if source is None:
        return Found.GONE if target is None else Found.DONE
    if source != planned:  # a new file at the source of a finished move is harmless
        return Found.DONE if target == planned else Found.CHANGED
    if target is None:
        return Found.READY
    return Found.BOTH if target == planned else Found.TAKEN


def plan_folders(moves: Iterable[Move]) -> Folders:
    """Find the folders that the moves create and change.

    Raises:
        HistodsError: a file or a link is in the place of a folder, or a folder is not writable.
    """
    created: set[str] = set()
    touched = {os.path.dirname(move.source) for move in moves}  # noqa: PTH120 - a Path a file costs seconds
    for folder in {os.path.dirname(move.target) for move in moves}:  # noqa: PTH120
        place = Path(folder)
        while not os.path.lexists(place):
            created.add(str(place))
            place = place.parent
        if not place.is_dir() or place.resolve() != place:
            raise HistodsError(f"{place} is a file or a link, not a folder; choose another folder for --to.")
        touched.add(str(place))
    times = {}
    for folder in sorted(touched - created):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise HistodsError(f"You may not write in the folder {folder}; change its permissions.")
        times[folder] = os.stat(folder).st_mtime_ns  # noqa: PTH116
    return Folders(sorted(created), times)


def restore_folders(folders: Folders) -> None:
    """Remove the created folders that are empty, and restore the times of the others."""
    for folder in reversed(folders.created):
        try:
            Path(folder).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise
    for folder, mtime_ns in folders.touched.items():
        with contextlib.suppress(FileNotFoundError, PermissionError):  # it may belong to another user
            os.utime(folder, ns=(os.stat(folder).st_atime_ns, mtime_ns))  # noqa: PTH116


def check_moves(moves: Sequence[Move], *, token: str, advice: str, progress: Progress | None) -> Unfinished:
    """Check the progress of earlier runs, before moving anything.

    Args:
        moves: the moves, in order.
        token: part of the names of temporary copies, so that those of a killed run are found and removed.
        advice: what the user should do after an error, for the end of its message.
        progress: called from time to time.

    Raises:
        HistodsError: a file is not as planned, or its target is taken.
    """
    for folder in {os.path.dirname(path) for move in moves for path in move[:2]}:  # noqa: PTH120
        Path(folder, _part(token)).unlink(missing_ok=True)
    found = survey(moves, progress)
    copied = found[Found.BOTH]
    other = [move for move in copied if file_digest(Path(move.source)) != file_digest(Path(move.target))]
    _refuse(found[Found.CHANGED], "{0.source} has another size or time than was planned", advice)
    _refuse(found[Found.GONE], "{0.source} is gone, and there is no {0.target} either", advice)
    _refuse([*found[Found.TAKEN], *other], "{0.target} exists already", advice)
    return Unfinished(found[Found.READY], copied)


def carry_out(left: Unfinished, *, token: str, stage: str, advice: str, progress: Progress | None) -> int:
    """Move every file to its target, creating missing folders.

    Returns:
        The number of files moved.

    Raises:
        HistodsError: a target exists, or a move failed.
    """
    try:
        for move in left.copied:
            Path(move.source).unlink()
        for folder in {os.path.dirname(move.target) for move in left.ready}:  # noqa: PTH120
            make_folders(Path(folder))
        rename = partial(_rename, advice=advice)
        renamed = overlap(rename, _watched(stage, left.ready, progress), _pace_of(left.ready))
        for move, done in zip(left.ready, renamed, strict=True):
            if not done:
                copy_across(move, Path(move.target).with_name(_part(token)))
    except OSError as error:
        places = " to ".join(filter(None, (error.filename, error.filename2)))
        raise HistodsError(
            f"Not all files could be moved ({error.strerror or error}: {places}); {advice}."
        ) from error
    return len(left.ready) + len(left.copied)


def _part(token: str) -> str:
    """Name of temporary copies."""
    return f".{token}.part"


def _refuse(moves: Sequence[Move], problem: str, advice: str) -> None:
    if moves:
        more = f" (and {len(moves) - 1:,} more like it)" if len(moves) > 1 else ""
        raise HistodsError(f"{problem.format(moves[0])}{more}; {advice}.")


def _rename(move: Move, *, advice: str) -> bool:
    """Rename a file to its target; return False if that is on another file system."""
    if os.path.lexists(move.target):
        _refuse([move], "{0.target} exists already", advice)
    try:
        os.rename(move.source, move.target)  # noqa: PTH104 - twice as fast as Path, 300,000 times
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _pace_of(moves: Sequence[Move]) -> Pace:
    """How many files to rename concurrently: one if two targets may be one file on a case-insensitive disk."""
    places = {unicodedata.normalize("NFC", move.target).casefold() for move in moves}
    return Pace(most=MAX_THREADS if len(places) == len(moves) else 1)


def copy_across(move: Move, part: Path) -> None:
    """Move a file to another file system: copy, compare, rename the copy into place, remove the source.

    Size, content, times, permissions and, where allowed, the owner stay as they are.

    Args:
        move: the move; its target must not exist.
        part: temporary name in the target's folder.

    Raises:
        OSError: writing failed, or the copy is not equal; the source stays.
    """
    source, target = Path(move.source), Path(move.target)
    try:
        shutil.copyfile(source, part, follow_symlinks=False)
        shutil.copystat(source, part, follow_symlinks=False)
        status = source.lstat()
        with contextlib.suppress(PermissionError):  # only root may change the owner
            os.chown(part, status.st_uid, status.st_gid)
            part.chmod(stat.S_IMODE(status.st_mode))  # a new owner clears the bits of set-user-id
        _flush(part)
        if state_of(str(part)) != (move.bytes, move.mtime_ns) or file_digest(part) != file_digest(source):
            reason = "the copy is not equal: the file changed, or this disk rounds times"
            raise OSError(errno.EIO, reason, move.source, None, move.target)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "another file has appeared", move.target)
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    _flush(target.parent)
    source.unlink()


def _flush(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _watched(stage: str, moves: Sequence[Move], progress: Progress | None) -> Iterator[Move]:
    for number, move in enumerate(moves):
        if progress is not None and number % _STEP == 0:
            progress(stage, number, len(moves))
        yield move
    if progress is not None:
        progress(stage, len(moves), len(moves))
