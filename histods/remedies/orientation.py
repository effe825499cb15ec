"""The orientation of a file beside that of its partners, and its tag in the bytes.

Source: EXIF 2.32, section 4.6.4, and TIFF 6.0, tag 274.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from histods.errors import UnreadableFileError
from histods.images.formats import codec_of, sniff
from histods.remedies.base import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from histods.images.header import Header
    from histods.remedies.base import Source

UNDECIDED = (
    "sizes do not tell whether its pixels or its tag are right, only the eye can; compare it with its partner by "
    "'histods show turned --open DIR', then choose --remedy upright or --remedy untag"
)
FITS_STORED = "it has the size of its partner as stored, not upright; use --remedy untag"
FITS_UPRIGHT = "it has the size of its partner upright, not as stored; use --remedy upright"
FITS_NEITHER = "its size is not that of its partner, neither as stored nor upright"

_ORIENTATION, _SHORT = 274, 3
_ENTRY_BYTES = 12


def read_header(content: bytes) -> Header:
    """The header of an image or mask.

    Raises:
        RefusedError: the file is damaged.
    """
    try:
        return codec_of(sniff(content[:12])).identify(content)[0]
    except UnreadableFileError as error:
        raise RefusedError("the file cannot be read", str(error)) from error


def shown_size(header: Header) -> tuple[int, int]:
    """Width and height as viewers show the file."""
    size = (header.width, header.height)
    return size if header.orientation < 5 else (size[1], size[0])


def check_fit(source: Source, header: Header, *, upright: bool) -> tuple[int, ...]:
    """Refuse to turn a file, or to remove its tag, unless it then fits the files that it is paired with.

    A file and its partner with the same tag agree both ways. Where sizes fit both ways, and where the partner has
    another tag, of which sizes prove only half, the user has to decide by naming the remedy.

    Args:
        source: the file.
        header: its header.
        upright: whether it becomes as viewers show it; else it stays as stored.

    Returns:
        Places of the partners that have a tag, too: the file fits them only once they are repaired as well.

    Raises:
        RefusedError: it would not fit, or that cannot be told.
    """
    together = []
    for place, content in enumerate(source.partners()):
        partner = read_header(content)
        shown = shown_size(header) == shown_size(partner)
        stored = (header.width, header.height) == (partner.width, partner.height)
        if not shown and not stored:
            raise RefusedError(FITS_NEITHER)
        if upright and not shown:
            raise RefusedError(FITS_STORED)
        if not upright and not stored:
            raise RefusedError(FITS_UPRIGHT)
        same = partner.orientation == header.orientation
        doubtful = (shown and stored) or partner.orientation != 1
        if doubtful and not same and not source.named:
            raise RefusedError(UNDECIDED)
        if partner.orientation != 1:
            together.append(place)
    return tuple(together)


def without_tag(content: bytes) -> bytes:
    """Set the orientation tag of a file to 1; no other byte changes but the checksum of a PNG chunk.

    Raises:
        RefusedError: the tag is stored in a way that cannot be changed in place.
    """
    header = read_header(content)
    for start, end in _exif_blocks(content, header.format):
        changed = _with_orientation(content[start:end])
        if changed is None:
            continue
        new = bytearray(content)
        new[start:end] = changed
        if header.format == "png":
            name = content.rindex(b"eXIf", 0, start)
            new[end : end + 4] = struct.pack(">I", zlib.crc32(new[name:end]))
        found = read_header(bytes(new))
        if found == header._replace(orientation=1):
            return bytes(new)
    raise RefusedError("its orientation tag is stored in an unusual way; use 'exiftool -Orientation= FILE'")


def _exif_blocks(content: bytes, name: str) -> Iterator[tuple[int, int]]:
    """Start and end of each block of EXIF data, beginning with its byte order."""
    if name == "tiff":
        yield 0, len(content)
    elif name == "jpeg":
        yield from _segments(content)
    elif name in ("png", "webp"):
        yield from _chunks(content, png=name == "png")


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """EXIF data in the segments of a JPEG before its pixels."""
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF and content[place + 1] not in (0xDA, 0xD9):
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        if content[place + 1] == 0xE1 and content[place + 4 : place + 9] == b"Exif\0":
            yield place + 10, place + 2 + length
        place += 2 + length


def _chunks(content: bytes, *, png: bool) -> Iterator[tuple[int, int]]:
    """EXIF data in the chunks of a PNG or WebP file."""
    place = 8 if png else 12
    while place + 8 <= len(content):
        first, second = content[place : place + 4], content[place + 4 : place + 8]
        length = int.from_bytes(first, "big") if png else int.from_bytes(second, "little")
        if (second if png else first) in (b"eXIf", b"EXIF"):
            skip = 6 if content[place + 8 : place + 13] == b"Exif\0" else 0
            yield place + 8 + skip, place + 8 + length
        place += 12 + length if png else 8 + length + length % 2


def _with_orientation(exif: bytes) -> bytes | None:
    """EXIF data with orientation 1; None if there is no such tag, or not as a short number."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for place in range(start + 2, start + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
            if struct.unpack_from(order + "HH", exif, place) == (_ORIENTATION, _SHORT):
                new = bytearray(exif)
                struct.pack_into(order + "H", new, place + 8, 1)
                return bytes(new)
    except struct.error:
        pass
    return None
