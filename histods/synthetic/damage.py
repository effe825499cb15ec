"""Typical damage of image files on disks and in transfers."""

from __future__ import annotations

import struct
import zlib

BOMB_SIDE = 60_000
"""Side of the picture that a decompression bomb's header claims, in pixels."""

TEXT = b"<html><body>503 Service Unavailable</body></html>\n"
"""Content that a failed download leaves under an image's name."""


def truncated(content: bytes) -> bytes:
    """The first half of a file, as after writing to a full disk."""
    return content[: len(content) // 2]


def flipped_bit(png: bytes) -> bytes:
    """A PNG with one wrong bit in the middle of its pixel data, so the chunk's checksum is wrong."""
    start = png.index(b"IDAT") + 4
    (length,) = struct.unpack_from(">I", png, start - 8)
    place = start + length // 2
    return png[:place] + bytes([png[place] ^ 0x10]) + png[place + 1 :]


def without_end(png: bytes) -> bytes:
    """A PNG without its end chunk (IEND, 12 bytes)."""
    return png[:-12]


def png_bomb() -> bytes:
    """A valid, small grey PNG whose header claims 3.6 gigapixels; the rows after the first are missing."""
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 8, 0, 0, 0, 0)
    row = zlib.compress(bytes(BOMB_SIDE + 1))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", row) + png_chunk(b"IEND", b"")


def jpeg_bomb(jpeg: bytes) -> bytes:
    """A JPEG whose frame header claims 3.6 gigapixels."""
    place = jpeg.index(b"\xff\xc0") + 5  # marker, length (2), precision (1), then height and width
    return jpeg[:place] + struct.pack(">HH", BOMB_SIDE, BOMB_SIDE) + jpeg[place + 4 :]


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
