"""Strips and tiles of a TIFF: verify that they hold the picture that the tags describe.

Source: TIFF 6.0, sections 8 and 15. If a file has both, Pillow reads strips and libtiff tiles; both fill missing
parts with zeros.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from histods.errors import UnreadableFileError
from histods.images.header import MAX_PIXELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.images.tiff_tags import Tags

MAX_PARTS = 400_000
"""Maximum number of strips or tiles, which are read one by one: the largest allowed image has 350,000 of 16x16."""

_STRIPS, _TILES = (273, 279), (324, 325)  # tags of starts and lengths
_ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 278, 322, 323
_HEADER_BYTES = 8
_OLD_JPEG = 6  # stores pixels elsewhere too
_INFLATE_BYTES = 1 << 20


def check_parts(tags: Tags, *, width: int, height: int, pixel_bits: int, planes: int, compression: int) -> int:
    """Verify that the strips or tiles of a picture cover it and do not overlap in the file.

    Args:
        tags: the picture's directory.
        width: pixels.
        height: pixels.
        pixel_bits: the minimum bits per pixel in a strip or tile, without compression.
        planes: number of channels with their own strips or tiles; 1 if they share them.
        compression: 1 for none.

    Returns:
        Bytes that the file must have to hold all pixels.

    Raises:
        UnreadableFileError: the tags contradict one another or the picture.
    """
    starts, sizes, tiled = _read_parts(tags)
    if compression == _OLD_JPEG:
        return int((starts + sizes).max())
    rows, columns = _read_shape(tags, width, height, tiled=tiled)
    down, across = -(-height // rows), -(-width // columns)
    if starts.size != down * across * planes:
        raise UnreadableFileError(
            f"damaged: {starts.size:,} {'tiles' if tiled else 'strips'} for {width}x{height} pixels, "
            f"expected {down * across * planes:,}"
        )
    needed = np.ones_like(sizes)
    if compression == 1:
        needed[:] = rows * ((columns * pixel_bits + 7) // 8)
        if not tiled:  # the last strip ends with the picture, unlike the last tile
            needed[down - 1 :: down] *= (height - rows * (down - 1)) / rows
    short = np.count_nonzero(sizes < needed)
    if short:
        raise UnreadableFileError(
            f"damaged: {short:,} of {starts.size:,} strips or tiles are too short for their rows"
        )
    # Some writers give the last strip the length of the others.
    _check_places(starts, needed if compression == 1 else sizes, tags)
    return int((starts + sizes).max())


def _read_parts(tags: Tags) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Starts and lengths of strips or tiles, and whether they are tiles."""
    strips, tiles = tags.values(_STRIPS[0]).size > 0, tags.values(_TILES[0]).size > 0
    if not (strips or tiles):
        raise UnreadableFileError("damaged: the TIFF does not say where its pixels are")
    if strips and (tiles or tags.value(_TILE_WIDTH, 0) or tags.value(_TILE_HEIGHT, 0)):
        raise UnreadableFileError(
            "damaged: the TIFF has tags of strips and of tiles, which contradict one another"
        )
    starts, sizes = (tags.values(tag) for tag in (_STRIPS if strips else _TILES))
    if starts.size != sizes.size:
        raise UnreadableFileError(
            f"damaged: the TIFF says where {starts.size:,} parts start, and how long {sizes.size:,} are"
        )
    if starts.size > MAX_PARTS:
        raise UnreadableFileError(f"{starts.size:,} strips or tiles, more than {MAX_PARTS:,}: not decoded")
    return starts.astype(np.float64), sizes.astype(np.float64), tiles


def _read_shape(tags: Tags, width: int, height: int, *, tiled: bool) -> tuple[int, int]:
    """Rows and columns of a strip or tile."""
    if not tiled:
        return min(max(tags.value(_ROWS_PER_STRIP, height), 1), height), width
    rows, columns = tags.value(_TILE_HEIGHT, 0), tags.value(_TILE_WIDTH, 0)
    if min(rows, columns) < 1 or rows * columns > MAX_PIXELS:
        raise UnreadableFileError(f"damaged: the TIFF has tiles of {columns}x{rows} pixels")
    return rows, columns


def _check_places(starts: NDArray[np.float64], sizes: NDArray[np.float64], tags: Tags) -> None:
    """Reject parts that overlap each other, the header or the directory."""
    order = np.argsort(starts, kind="stable")
    first, last = starts[order], (starts + sizes)[order]
    if (first[1:] < last[:-1]).any():
        raise UnreadableFileError("damaged: strips or tiles of the TIFF lie over one another")
    if first[0] < _HEADER_BYTES or ((starts < tags.end) & (starts + sizes > tags.start)).any():
        raise UnreadableFileError("damaged: strips or tiles of the TIFF lie over its header")


def check_deflated(tags: Tags, *, width: int, height: int, pixel_bits: int) -> None:
    """Inflate all strips or tiles of a picture, and verify their checksums.

    libtiff stops as soon as it has enough bytes for a strip, even if a flipped bit made them wrong.

    Args:
        tags: the picture's directory, which passed `check_parts`.
        width: pixels.
        height: pixels.
        pixel_bits: the maximum bits per pixel in a strip or tile.

    Raises:
        UnreadableFileError: a strip or tile is damaged.
    """
    starts, sizes, tiled = _read_parts(tags)
    rows, columns = _read_shape(tags, width, height, tiled=tiled)
    most = rows * ((columns * pixel_bits + 7) // 8)
    for start, size in zip(starts.astype(int).tolist(), sizes.astype(int).tolist(), strict=True):
        stream, data, found = zlib.decompressobj(), tags.content[start : start + size], 0
        try:
            while data and not stream.eof and found <= most:
                found += len(stream.decompress(data, _INFLATE_BYTES))
                data = stream.unconsumed_tail
        except zlib.error as error:
            raise UnreadableFileError(f"damaged tiff data: {error} (strip or tile at byte {start})") from error
        if not stream.eof:
            what = "holds more than its rows" if found > most else "ends without its checksum (Adler-32)"
            raise UnreadableFileError(f"damaged tiff data: the strip or tile at byte {start} {what}")
