"""PNG files written by hand: any colour type and depth, interlaced or not, around any pixel data."""

from __future__ import annotations

import struct
import zlib

from histods.images.formats import PNG_SIGNATURE

WIDE, HIGH = 48, 32


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


MODES = [
    (colour, depth, interlaced)
    for colour, depths in ((0, (1, 2, 4, 8, 16)), (3, (1, 2, 4, 8)), (2, (8, 16)), (4, (8, 16)), (6, (8, 16)))
    for depth in depths
    for interlaced in (False, True)
]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_png(stream: bytes, mode: tuple[int, int, bool], *, size: tuple[int, int] = (WIDE, HIGH)) -> bytes:
    """A PNG of sound chunks around compressed pixel data of any kind."""
    colour, depth, interlaced = mode
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    chunks = [chunk(b"IHDR", header)]
    chunks += [chunk(b"PLTE", bytes(range(96)) * 8)] if colour == 3 else []
    return PNG_SIGNATURE + b"".join([*chunks, chunk(b"IDAT", stream), chunk(b"IEND", b"")])


def pixel_rows(mode: tuple[int, int, bool], *, width: int = WIDE, height: int = HIGH) -> bytes:
    """Rows of a grey ramp without filters, as they are compressed: its brightest values fill every depth."""
    colour, depth, interlaced = mode
    rows = []
    for left, top, right, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        size = (len(range(left, width, right)) * depth * CHANNELS[colour] + 7) // 8
        rows += [b"\0" + b"\xff" * size for _ in range(top, height, down)]
    return b"".join(rows)
