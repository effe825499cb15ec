"""Make repaired files in workers, beside everything else, before any file of the dataset is touched."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from histods.errors import UnreadableFileError
from histods.io.atomic import write_bytes
from histods.io.open_file import OpenRoot
from histods.remedies.base import RefusedError, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.remedies import Remedy
    from histods.remedies.base import Repaired

UNREADABLE = "the file cannot be read"


class RepairTask(NamedTuple):
    """A file to repair: its path, its state in the audit, and the paths of the files that it is paired with."""

    path: str
    is_mask: bool
    bytes: int
    mtime_ns: int
    partners: tuple[str, ...]


class Attempt(NamedTuple):
    """A remedy to try, with what it learned from the whole dataset, or why it refuses all files."""

    remedy: Remedy
    study: Any
    refusal: tuple[str, str] | None


class Outcome(NamedTuple):
    """What came of a task: a repaired file, or a reason why there is none.

    Attributes:
        path: the file.
        old: its size and modification time in nanoseconds.
        remedy: name of the remedy; empty if there is no repaired file.
        target: path of the repaired file; another than `path` if it is renamed.
        new: size and time of the repaired file; its time is 0 if it was not written.
        before: what is wrong, in a few words.
        after: the same of the repaired file.
        reason: why it is not repaired; the same text for all files with the same obstacle.
        detail: what is particular to the file.
        stale: whether the file is not as the audit read it.
        disk: why the repaired file could not be written, as the end of a sentence.
        needs: files without whose repair this one would be wrong.
    """

    path: str
    old: tuple[int, int]
    remedy: str = ""
    target: str = ""
    new: tuple[int, int] = (0, 0)
    before: str = ""
    after: str = ""
    reason: str = ""
    detail: str = ""
    stale: bool = False
    disk: str = ""
    needs: tuple[str, ...] = ()


def make_repaired(
    tasks: Sequence[RepairTask], *, root: str, attempts: Sequence[Attempt], named: bool, folder: str | None
) -> list[Outcome]:
    """Repair a chunk of files, in a worker.

    Args:
        tasks: the files.
        root: the dataset's folder.
        attempts: the remedies, in the order in which they are tried.
        named: whether the user asked for the remedy by name.
        folder: where repaired files are written, under their new paths; None to write nothing.
    """
    if not tasks:
        return []
    with OpenRoot(root) as dataset:
        return [_repair(task, dataset, attempts, named=named, folder=folder) for task in tasks]


def _repair(
    task: RepairTask, dataset: OpenRoot, attempts: Sequence[Attempt], *, named: bool, folder: str | None
) -> Outcome:
    outcome = Outcome(task.path, (task.bytes, task.mtime_ns))
    try:
        with dataset.open(task.path) as file:
            if (file.size, file.mtime_ns) != outcome.old:
                return outcome._replace(stale=True)
            content = file.read()
            status = os.fstat(file.descriptor)
    except UnreadableFileError as error:
        return outcome._replace(reason=UNREADABLE, detail=str(error))
    partners = partial(_read_partners, task, dataset)
    refusals = []
    for remedy, study, refusal in attempts:
        source = Source(
            content=content, path=task.path, is_mask=task.is_mask, partners=partners, named=named, study=study
        )
        if refusal is not None:
            refusals.append(refusal)
            continue
        try:
            made = remedy.repair(source)
            needs = tuple(task.partners[place] for place in made.together)
            return _store(outcome._replace(needs=needs), remedy.name, made, folder, status)
        except OSError as error:
            reason = f"{error.filename or folder} cannot be written ({error.strerror or error})"
            return outcome._replace(disk=reason)
        except RefusedError as error:
            refusals.append((error.reason, error.detail))
    reason, detail = refusals[0]  # that of the first remedy, which is the likeliest one
    return outcome._replace(reason=reason, detail=detail)


def _read_partners(task: RepairTask, dataset: OpenRoot) -> tuple[bytes, ...]:
    """The contents of the files that a file is paired with."""
    contents = []
    for path in task.partners:
        try:
            with dataset.open(path) as partner:
                contents.append(partner.read())
        except UnreadableFileError as error:
            raise RefusedError("a file that it is paired with cannot be read", f"{path}: {error}") from error
    return tuple(contents)


def _store(outcome: Outcome, remedy: str, made: Repaired, folder: str | None, old: os.stat_result) -> Outcome:
    """Write a repaired file with the permissions of the old one, and another time, so that an audit reads it.

    Raises:
        OSError: the disk failed.
    """
    target = outcome.path if made.suffix is None else str(PurePosixPath(outcome.path).with_suffix(made.suffix))
    mtime_ns = 0
    if folder is not None:
        place = Path(folder, target)
        write_bytes(place, made.content)
        with suppress(PermissionError):  # only root may change the owner
            os.chown(place, old.st_uid, old.st_gid)
        place.chmod(stat.S_IMODE(old.st_mode))
        mtime_ns = place.stat().st_mtime_ns
        if mtime_ns == outcome.old[1]:
            os.utime(place, ns=(mtime_ns, mtime_ns + 1_000_000_000))
            mtime_ns = place.stat().st_mtime_ns
    return outcome._replace(
        remedy=remedy,
        target=target,
        new=(len(made.content), mtime_ns),
        before=made.before,
        after=made.after,
    )
