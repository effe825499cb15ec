"""Read files of a dataset that must be as the audit read them, ahead of their turn if storage is slow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from histods.errors import HistodsError, StaleFileError
from histods.images.contents import Room
from histods.io.overlap import overlap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from histods.io.open_file import OpenRoot
    from histods.io.overlap import Pace


class AuditedFile(NamedTuple):
    """A file below the dataset's folder, in its audited state."""

    path: str
    bytes: int
    mtime_ns: int


def read_ahead(files: Sequence[AuditedFile], root: OpenRoot, audit: str, pace: Pace) -> Iterator[bytes]:
    """Contents of files, in order.

    Args:
        files: the files.
        root: the dataset's folder.
        audit: the command that makes the audit again, for messages.
        pace: the experience from earlier reading.

    Raises:
        StaleFileError: a file is not as the audit read it.
    """
    room = Room()
    read = partial(_read, root=root, audit=audit, room=room)
    for file, ahead in zip(files, overlap(read, files, pace), strict=True):
        content = read(file, in_turn=True) if ahead is None else ahead
        assert content is not None  # noqa: S101 - it is its turn
        yield content
        room.give(content)


def _read(file: AuditedFile, *, root: OpenRoot, audit: str, room: Room, in_turn: bool = False) -> bytes | None:
    """Read a file, which must be unchanged since the audit; None if there is no room for it before its turn."""
    try:
        with root.open(file.path) as opened:
            if (opened.size, opened.mtime_ns) == (file.bytes, file.mtime_ns):
                content = room.read(opened, in_turn=in_turn)
                if content is None or len(content) == file.bytes:
                    return content
    except HistodsError as error:
        raise StaleFileError(
            f"{file.path} is not as the audit read it: it {error}; run '{audit}' again."
        ) from error
    raise StaleFileError(
        f"{file.path} is not as the audit read it: it has another size or time; run '{audit}' again."
    )
