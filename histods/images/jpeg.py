"""Structure of JPEG files: size, orientation and decoding effort, without decoding.

Sources: ITU T.81 annex B; JFIF 1.02; EXIF 2.32 for the segment that holds the orientation.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from histods.errors import UnreadableFileError
from histods.images.exif import find_orientation
from histods.images.header import CMYK, Header, check_pixels

MAX_SCANS = 100
"""Maximum number of scans: encoders write 6 to 12, and each costs a pass over the whole image."""
MAX_SEGMENTS = 4096
"""Maximum number of segments and fill bytes before the pixel data: a colour profile of 16 MB takes 255."""

# JPEG start-of-frame markers have the size; C4, C8 and CC in their range have another meaning.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_DECODABLE = {0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA}  # the rest are hierarchical, which no decoder supports
_PROGRESSIVE = {0xC2, 0xCA}
_APP1, _SCAN, _END = 0xE1, 0xDA, 0xD9
_SCAN_MARKER = bytes((0xFF, _SCAN))
_GREY, _COLOUR, _INKS = 1, 3, 4


class Jpeg(NamedTuple):
    """A JPEG's header, the position of its first scan, and whether it has only one scan."""

    header: Header
    scan: int
    single: bool


_known: dict[bytes, Jpeg] = {}
"""Results by the bytes before the first scan, which an encoder writes identically for all files of one size."""
_MAX_KNOWN = 256


def parse_jpeg(start: bytes) -> Jpeg | None:
    """Read the segments before the pixel data of a JPEG.

    Args:
        start: the first bytes of the file, or all of it.

    Returns:
        None if `start` ends before the pixel data.

    Raises:
        UnreadableFileError: the bytes are not a sequence of JPEG segments, or the kind is not supported.
    """
    scan = start.find(_SCAN_MARKER)
    header = start[: scan + 5]
    found = _known.get(header)
    if found is None:
        found = _parse_segments(start)
        if found is not None and found.scan == scan:  # not a thumbnail's scan, which other segments may follow
            if len(_known) >= _MAX_KNOWN:
                _known.clear()
            _known[header] = found
    return found


def _parse_segments(start: bytes) -> Jpeg | None:
    """Like `parse_jpeg`, without the cache."""
    orientation, position, size = 1, 2, len(start)
    for _ in range(MAX_SEGMENTS):  # not in a generator, which would double the time of this function
        if position + 4 > size:
            return None
        if start[position] != 0xFF:
            raise UnreadableFileError(f"damaged: expected a JPEG marker at byte {position}")
        marker = start[position + 1]
        if marker in _FRAME_MARKERS:
            return None if position + 10 > size else _find_scan(start, position, orientation)
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _STANDALONE_MARKERS:
            position += 2
        elif marker in (_END, _SCAN):
            raise UnreadableFileError("damaged: the JPEG has no frame header before its pixel data")
        else:
            end = position + 2 + (start[position + 2] << 8 | start[position + 3])
            if marker == _APP1 and start[position + 4 : position + 9] == b"Exif\0":
                orientation = find_orientation(start[position + 4 : end])
            position = end
    raise UnreadableFileError(f"more than {MAX_SEGMENTS:,} segments before its pixel data: not decoded")


def _find_scan(start: bytes, position: int, orientation: int) -> Jpeg | None:
    """Read the frame header at `position`, and find the first scan; tables cannot contain its marker."""
    kind = start[position + 1]
    bits, height, width, channels = struct.unpack_from(">BHHB", start, position + 4)
    _check_frame(kind, bits, width, height, channels)
    scan = start.find(_SCAN_MARKER, position)
    if scan < 0 or scan + 5 > len(start):
        return None
    single = kind not in _PROGRESSIVE and start[scan + 4] >= channels
    return Jpeg(Header("jpeg", width, height, 1, orientation, CMYK if channels == _INKS else None), scan, single)


def _check_frame(kind: int, bits: int, width: int, height: int, channels: int) -> None:
    """Reject kinds that are not supported."""
    check_pixels(width, height)
    if kind not in _DECODABLE:
        raise UnreadableFileError(
            f"a hierarchical JPEG (marker FF{kind:X}), which is not supported; convert it to PNG"
        )
    if bits != 8:
        raise UnreadableFileError(
            f"a JPEG of {bits} bits per channel, which is not supported; convert it to 8 bits, "
            "with one scale for all images"
        )
    if channels not in (_GREY, _COLOUR, _INKS):
        raise UnreadableFileError(f"a JPEG of {channels} channels, expected 1, 3 or 4; convert it to RGB")


def check_scans(content: bytes, jpeg: Jpeg) -> None:
    """Reject a JPEG whose scans would take minutes to decode.

    Files with a single scan cost nothing here, since the decoder stops after it. In all others the markers of
    scans are counted, which coded data cannot contain.

    Raises:
        UnreadableFileError: there are more than `MAX_SCANS`.
    """
    if jpeg.single:
        return
    scans = content.count(_SCAN_MARKER, jpeg.scan)
    if scans > MAX_SCANS:
        raise UnreadableFileError(
            f"{scans:,} scans, more than {MAX_SCANS}: not decoded (made to keep a reader busy?)"
        )


def check_jpeg(content: bytes) -> Header:
    """Read the header of a whole JPEG file and find its end marker.

    Bytes after the end marker are allowed: some cameras and scanners pad their files.

    Raises:
        UnreadableFileError: the header is missing, there is no end marker, or the kind is not supported.
    """
    jpeg = parse_jpeg(content)
    if jpeg is None:
        raise UnreadableFileError("truncated: the JPEG ends inside its header")
    if content.rfind(b"\xff\xd9", jpeg.scan) < 0:
        raise UnreadableFileError("truncated: the JPEG has no end marker")
    check_scans(content, jpeg)
    return jpeg.header
