"""Directories of tags in TIFF files.

Sources: TIFF 6.0, section 2; BigTIFF as libtiff defines it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from histods.errors import UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

MAX_DIRECTORIES = 1000
"""Maximum number of directories: pyramids have a dozen, and each page of a patch must be checked."""

_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}


class Form(NamedTuple):
    """The layout of directories of tags: `struct` formats, and the size of a value stored in its entry."""

    counter: str
    entry: str
    offset: str
    inline: int
    first: int


_CLASSIC = Form("H", "HHI4x", "I", 4, 4)
_BIG = Form("Q", "HHQ8x", "Q", 8, 8)


class Tags:
    """One directory: positions of its entries, whose values are unpacked on request.

    Attributes:
        content: the whole file.
        order: `<` or `>`.
        start: position of the directory.
        end: position after it.
        entries: tag -> position of its entry.
    """

    def __init__(
        self, content: bytes, order: str, form: Form, start: int, end: int, entries: Mapping[int, int]
    ) -> None:
        self.content, self.order, self.form = content, order, form
        self.start, self.end, self.entries = start, end, entries

    def values(self, tag: int) -> NDArray[Any]:
        """All values of a tag; empty if it is missing or holds no integers."""
        place = self.entries.get(tag)
        if place is None:
            return np.empty(0, dtype=np.uint8)
        _, kind, count = struct.unpack_from(self.order + self.form.entry, self.content, place)
        if kind not in _INTEGERS:
            return np.empty(0, dtype=np.uint8)
        dtype = np.dtype(self.order + _INTEGERS[kind])
        place += struct.calcsize("<" + self.form.entry) - self.form.inline
        if count * dtype.itemsize > self.form.inline:
            (place,) = struct.unpack_from(self.order + self.form.offset, self.content, place)
        if place + count * dtype.itemsize > len(self.content):
            raise ValueError(place)
        return np.frombuffer(self.content, dtype, count, place)

    def value(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        values = self.values(tag)
        return int(values[0]) if values.size else default


def read_directories(content: bytes) -> Iterator[Tags]:
    """The directories of a TIFF file, in order.

    Raises:
        UnreadableFileError: there are more than `MAX_DIRECTORIES`, or they form a cycle.
        struct.error, OverflowError: the first directory lies past the end of the file.
    """
    order = "<" if content[:2] == b"II" else ">"
    form = _BIG if 43 in content[2:4] else _CLASSIC
    (start,) = struct.unpack_from(order + form.offset, content, form.first)
    seen: set[int] = set()
    while start or not seen:
        if start in seen:
            raise UnreadableFileError("damaged: the directories of the TIFF lead in a circle")
        if len(seen) == MAX_DIRECTORIES:
            raise UnreadableFileError(f"more than {MAX_DIRECTORIES:,} pages in one TIFF: not decoded")
        try:
            tags, following = _read_directory(content, start, order, form)
        except (struct.error, OverflowError):
            if not seen:
                raise
            return  # anything may follow a valid directory: Pillow and libtiff stop here too
        seen.add(start)
        start = following
        yield tags


def _read_directory(content: bytes, start: int, order: str, form: Form) -> tuple[Tags, int]:
    """A directory, and the start of the next one (0 for none)."""
    (count,) = struct.unpack_from(order + form.counter, content, start)
    position = start + struct.calcsize(form.counter)
    size = struct.calcsize("<" + form.entry)
    end = position + count * size
    (following,) = struct.unpack_from(order + form.offset, content, end)
    entries: dict[int, int] = {}
    for place in range(position, end, size):
        (tag,) = struct.unpack_from(order + "H", content, place)
        entries.setdefault(tag, place)
    return Tags(content, order, form, start, end + form.inline, entries), following
