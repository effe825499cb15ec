"""Put repaired files in their places so that interrupted work can be finished or undone; the disk shows progress.

In place, a file passes through these states, each reached by one atomic step:

1. the original in the dataset, the repaired file in the staging folder;
2. the original also in the folder of originals: a second name of the same file, or, on another file system, a
   verified copy;
3. the repaired file in the dataset, the original in the folder of originals.

So the dataset never lacks the file. A renamed file has one more step: the original's name is removed. With a
target folder there are no originals: a repaired file moves from the staging folder to the target.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from histods.errors import HistodsError
from histods.io.atomic import file_digest, make_folders
from histods.moves.execute import state_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from histods.records import Progress

_STEP = 256  # files between two reports of progress


class Swap(NamedTuple):
    """A file to replace: its path and the repaired file's below their folders, with sizes and times."""

    path: str
    target: str
    bytes: int
    mtime_ns: int
    new_bytes: int
    new_mtime_ns: int

    @property
    def old(self) -> tuple[int, int]:
        """Size and time of the original."""
        return self.bytes, self.mtime_ns

    @property
    def new(self) -> tuple[int, int]:
        """Size and time of the repaired file."""
        return self.new_bytes, self.new_mtime_ns


class Places(NamedTuple):
    """The folders of a repair, as absolute paths: `to` is the dataset's itself for a repair in place."""

    root: str
    to: str
    staged: str
    originals: str

    @property
    def in_place(self) -> bool:
        """Whether originals are replaced."""
        return self.root == self.to


class Step(Enum):
    """How far a swap is."""

    READY = "the repaired file waits in the staging folder"
    DONE = "the repaired file is in its place"
    CHANGED = "the file is neither the original nor the repaired one"
    TAKEN = "another file has the place of the repaired one"
    LOST = "the repaired file or the original is gone"


def look(swap: Swap, places: Places) -> Step:
    """Find how far a swap is, without writing."""
    ready = Step.READY if state_of(f"{places.staged}/{swap.target}") == swap.new else Step.LOST
    target = state_of(f"{places.to}/{swap.target}")
    if not places.in_place:
        return Step.DONE if target == swap.new else ready if target is None else Step.TAKEN
    source = state_of(f"{places.root}/{swap.path}")
    kept = state_of(f"{places.originals}/{swap.path}")
    renamed = swap.path != swap.target
    if target == swap.new and kept == swap.old and (not renamed or source in (None, swap.old)):
        return Step.DONE if not renamed or source is None else Step.READY
    if source != swap.old or kept not in (None, swap.old):
        return Step.CHANGED
    return Step.TAKEN if renamed and target is not None else ready


def replace_file(swap: Swap, places: Places, token: str) -> None:
    """Do what is left of a swap that is `READY`.

    Raises:
        OSError: the disk failed.
    """
    source, target = Path(places.root, swap.path), Path(places.to, swap.target)
    staged = Path(places.staged, swap.target)
    if places.in_place:
        _refuse_change(swap, places)
        _keep(source, Path(places.originals, swap.path), token)
    else:
        make_folders(target.parent)
    if state_of(str(target)) != swap.new:
        _carry(staged, target, token)
    if places.in_place and swap.path != swap.target:
        source.unlink(missing_ok=True)


def _refuse_change(swap: Swap, places: Places) -> None:
    """Stop before a file that changed while others were replaced; its new content has to stay.

    Raises:
        OSError: it changed.
    """
    found = look(swap, places)
    if found is not Step.READY:
        raise OSError(errno.ESTALE, found.value, f"{places.root}/{swap.path}")


def can_undo(swap: Swap, places: Places) -> Step:
    """Whether undoing a swap loses nothing: `DONE` if it is undone or never began, `READY` if it can be undone."""
    target = state_of(f"{places.to}/{swap.target}")
    if not places.in_place:
        return Step.DONE if target is None else Step.READY if target == swap.new else Step.CHANGED
    source = state_of(f"{places.root}/{swap.path}")
    kept = state_of(f"{places.originals}/{swap.path}")
    waits = state_of(f"{places.staged}/{swap.target}") == swap.new and source != swap.new
    if kept is None:  # never began, even if the file was edited before its turn
        return Step.DONE if source == swap.old or waits else Step.LOST
    if kept != swap.old:
        return Step.READY if waits and _are_one(swap, places) else Step.LOST
    if swap.path == swap.target:
        return Step.READY if source in (None, swap.old, swap.new) else Step.CHANGED
    if source not in (None, swap.old) or (source is None and target not in (None, swap.new)):
        return Step.CHANGED
    return Step.READY


def restore_file(swap: Swap, places: Places, token: str) -> None:
    """Undo a swap that `can_undo` calls `READY`.

    Raises:
        OSError: the disk failed.
    """
    source, target = Path(places.root, swap.path), Path(places.to, swap.target)
    if not places.in_place:
        target.unlink()
        return
    kept = Path(places.originals, swap.path)
    if state_of(str(source)) == swap.old or _are_one(swap, places):
        kept.unlink()  # renaming one name of a file to another name of it would do nothing
    else:
        _carry(kept, source, token)
    if swap.path != swap.target and state_of(str(target)) == swap.new:
        target.unlink()


def _are_one(swap: Swap, places: Places) -> bool:
    """Whether the file in the dataset and the one among the originals are two names of one file."""
    try:
        return os.path.samefile(f"{places.root}/{swap.path}", f"{places.originals}/{swap.path}")  # noqa: PTH121
    except OSError:
        return False


def run_swaps(
    stage: str,
    swaps: Sequence[Swap],
    places: Places,
    token: str,
    *,
    undo: bool,
    advice: str,
    progress: Progress | None,
) -> int:
    """Do or undo swaps, one after the other.

    Returns:
        The number of files.

    Raises:
        HistodsError: the disk failed.
    """
    work = restore_file if undo else replace_file
    try:
        for swap in _watched(stage, swaps, progress):
            work(swap, places, token)
    except OSError as error:
        named = " to ".join(str(name) for name in (error.filename, error.filename2) if name)
        raise HistodsError(
            f"Not all files could be replaced ({error.strerror or error}: {named}); {advice}."
        ) from error
    return len(swaps)


def remove_parts(swaps: Sequence[Swap], places: Places, token: str) -> None:
    """Remove copies that a killed run left unfinished."""
    folders = {os.path.dirname(f"{places.to}/{swap.target}") for swap in swaps}  # noqa: PTH120
    folders |= {os.path.dirname(f"{places.root}/{swap.path}") for swap in swaps}  # noqa: PTH120
    folders |= {os.path.dirname(f"{places.originals}/{swap.path}") for swap in swaps}  # noqa: PTH120
    for folder in folders:
        Path(folder, _part(token)).unlink(missing_ok=True)


def _keep(source: Path, kept: Path, token: str) -> None:
    """Give the original a second name among the originals, or copy it to another file system."""
    if os.path.lexists(kept):
        return
    make_folders(kept.parent)
    try:
        os.link(source, kept, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        part = kept.with_name(_part(token))
        _copy(source, part)
        part.rename(kept)
        _flush_folders(kept.parent)  # the original of the copy is replaced next


def _carry(source: Path, target: Path, token: str) -> None:
    """Rename a file to a place, whatever is there; to another file system by a verified copy."""
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(_part(token))
        _copy(source, part)
        part.replace(target)
        _flush_folders(target.parent)
        source.unlink()


def _copy(source: Path, part: Path) -> None:
    """Copy content, time, permissions and, where allowed, the owner; wait until the copy is on disk.

    Raises:
        OSError: the copy is not equal.
    """
    shutil.copyfile(source, part, follow_symlinks=False)
    status = source.lstat()
    with contextlib.suppress(PermissionError):  # only root may change the owner
        os.chown(part, status.st_uid, status.st_gid)
    shutil.copystat(source, part, follow_symlinks=False)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    if state_of(str(part)) != state_of(str(source)) or file_digest(part) != file_digest(source):
        part.unlink()
        reason = "the copy is not equal: the file changed, or this disk rounds times"
        raise OSError(errno.EIO, reason, str(source), None, str(part))


def _flush_folders(folder: Path) -> None:
    """Wait until the names in a folder, and its own name, are on disk."""
    for one in (folder, folder.parent):
        descriptor = os.open(one, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _part(token: str) -> str:
    """Name of unfinished copies."""
    return f".{token}.part"


def _watched(stage: str, swaps: Sequence[Swap], progress: Progress | None) -> Iterator[Swap]:
    for number, swap in enumerate(swaps):
        if progress is not None and number % _STEP == 0:
            progress(stage, number, len(swaps))
        yield swap
    if progress is not None:
        progress(stage, len(swaps), len(swaps))
