"""The part of a file that is read before decoding: both ends of a JPEG, all of other files."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from histods.errors import UnreadableFileError
from histods.images.formats import sniff
from histods.images.jpeg import parse_jpeg

if TYPE_CHECKING:
    from histods.images.header import Header
    from histods.io.open_file import OpenFile, OpenRoot

_HEAD_BYTES = 4096
_LARGE_JPEG, _PHOTOGRAPH_BYTES = 8192, 0.12
"""Bytes of a JPEG, and bytes per pixel beyond them, that no mask needs: 12 real masks as JPEG of quality 75 have
0.02 to 0.05 per pixel, their patches 0.1 to 0.4. Larger files are photographs and need not be decoded to know
it."""

_BYTES_AHEAD = 64 << 20
_SMALL = 256 << 10
"""Files up to this size are not counted: all that are read at the same time need only 16 MiB."""


class Room:
    """The memory for files that are read ahead of their turn; larger ones wait for their turn."""

    def __init__(self) -> None:
        self._free = _BYTES_AHEAD
        self._lock = threading.Lock()

    def read(self, file: OpenFile, *, in_turn: bool = False) -> bytes | None:
        """The whole content of a file; None if there is no room for it, unless it is its turn."""
        if file.size <= _SMALL:
            return file.read()
        with self._lock:
            if file.size > self._free and not in_turn:
                return None
            self._free -= file.size
        kept = 0
        try:
            content = file.read()
            kept = len(content) if len(content) > _SMALL else 0
        finally:
            self._add(file.size - kept)
        return content

    def give(self, content: bytes | None) -> None:
        """Release the memory of a content that was read here."""
        if content is not None and len(content) > _SMALL:
            self._add(len(content))

    def _add(self, size: int) -> None:
        with self._lock:
            self._free += size


class Contents(NamedTuple):
    """The result of reading a file; a tuple, since one is made for each of half a million files.

    Attributes:
        size: bytes; 0 if it could not be opened.
        mtime_ns: modification time in nanoseconds.
        header: the header of a JPEG whose first and last bytes suffice.
        content: the whole file, unless its ends suffice.
        error: why it could not be read.
    """

    size: int = 0
    mtime_ns: int = 0
    header: Header | None = None
    content: bytes | None = None
    error: Exception | None = None


def read_contents(
    task: tuple[str, bool, str | None, bool], *, root: OpenRoot, whole: bool, room: Room, in_turn: bool = False
) -> Contents | None:
    """Read what is needed to measure a file; errors are part of the result.

    Args:
        task: a `FileTask`.
        root: the dataset's folder.
        whole: read all of each image, even if its ends suffice.
        room: the memory for files read before their turn.
        in_turn: read the file regardless of its size.

    Returns:
        None if there is no room for the file before its turn.
    """
    path, is_mask, problem, look = task
    if problem is not None:
        return Contents()
    size = mtime_ns = 0
    header = None
    try:
        with root.open(path) as file:
            size, mtime_ns = file.size, file.mtime_ns
            if not is_mask:
                header = read_header(file, whole=whole)
            if header is not None and not (look and not outweighs_masks(size, header.width, header.height)):
                return Contents(size, mtime_ns, header)
            content = room.read(file, in_turn=in_turn)
            return None if content is None else Contents(size, mtime_ns, header, content)
    except (UnreadableFileError, OSError, MemoryError) as error:
        return Contents(size, mtime_ns, error=error)


def read_header(file: OpenFile, *, whole: bool = False) -> Header | None:
    """Verify the structure of a JPEG by its first and last bytes; None if that needs more, or for other formats.

    Raises:
        UnreadableFileError: the structure is damaged, or it is not an image.
    """
    head = os.pread(file.descriptor, _HEAD_BYTES, 0)
    if sniff(head[:12]) != "jpeg" or whole:
        return None
    found = parse_jpeg(head)
    if found is None or not found.single or file.size <= found.scan:
        return None
    return found.header if os.pread(file.descriptor, 2, file.size - 2) == b"\xff\xd9" else None


def outweighs_masks(size: int, width: int, height: int) -> bool:
    """Whether a JPEG has more bytes than a mask of its size in pixels needs, and so is a photograph."""
    return size > _LARGE_JPEG + _PHOTOGRAPH_BYTES * width * height
