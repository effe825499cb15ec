"""Large images as tiled, pyramidal OME-TIFF, which viewers such as QuPath open without reading all of it.

A BigTIFF with tiles compressed without loss; smaller levels, each of half the size, are its SubIFDs (OME-TIFF
specification 6). Images arrive as strips of rows, and only one strip and the smaller levels are in memory.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from histods.errors import MissingExtraError, UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

TILE = 256
"""Pixels along each side of a tile."""
_MAX_TOP = 512  # pixels of the smallest level, at most


def write_pyramid(
    path: Path, strips: Iterable[NDArray[np.uint8]], height: int, width: int, *, identity: str
) -> None:
    """Write an image; the same one gives the same bytes.

    Args:
        path: the file, which is replaced.
        strips: rows from top to bottom, [rows, width, 3].
        height: pixels.
        width: pixels.
        identity: what tells this image from all others; its UUID follows from it.

    Raises:
        MissingExtraError: tifffile is not installed.
    """
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtraError(
            "TIFF files need tifffile, which is not installed; run \"pip install 'histods[train]'\"."
        ) from error

    half = np.empty((height // 2, width // 2, 3), np.uint8)
    levels = count_levels(height, width)
    options: dict[str, Any] = {"tile": (TILE, TILE), "photometric": "rgb", "compression": "zlib"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as writer:
        writer.write(
            cut_tiles(_halving(strips, half), width),
            shape=(height, width, 3),
            dtype=np.uint8,
            subifds=levels,
            metadata={"axes": "YXS", "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, identity))},
            **options,
        )
        for _ in range(levels):
            writer.write(half, subfiletype=1, metadata=None, **options)
            half = halve(half)


def read_level(path: Path, side: int) -> NDArray[np.uint8]:
    """Read the smallest level whose longer side has at least that many pixels, or else the image itself.

    Raises:
        UnreadableFileError: the file is damaged.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            levels = file.series[0].levels
            large = [level for level in levels if max(level.shape[:2]) >= side]
            return np.asarray((large or levels[:1])[-1].asarray(), np.uint8)
    except (OSError, ValueError, RuntimeError, IndexError, zlib.error, struct.error) as error:
        raise UnreadableFileError(str(error) or type(error).__name__) from error


def count_levels(height: int, width: int) -> int:
    """The number of smaller levels: halves until the longer side has at most 512 pixels, or the shorter one 1."""
    levels = 0
    while max(height, width) >> levels > _MAX_TOP and min(height, width) >> levels > 1:
        levels += 1
    return levels


def halve(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of each 2 x 2 pixels, [height // 2, width // 2, 3]; an odd last row or column is left out."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return np.asarray((blocks.sum(axis=(1, 3), dtype=np.uint16) + 2) // 4, np.uint8)


def _halving(strips: Iterable[NDArray[np.uint8]], half: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Pass strips on, and fill the level of half the size first: nobody asks for more after the last tile."""
    top, rest = 0, half[:0]
    for strip in strips:
        rows = np.concatenate([rest, strip]) if len(rest) else strip
        halved = halve(rows)
        half[top : top + len(halved)] = halved
        top += len(halved)
        rest = rows[2 * len(halved) :]
        yield strip


def cut_tiles(strips: Iterable[NDArray[np.uint8]], width: int) -> Iterator[NDArray[np.uint8]]:
    """Cut rows into tiles, left to right and top to bottom; those at the borders are filled up with zeros."""
    across = -(-width // TILE)
    band, filled = np.zeros((TILE, across * TILE, 3), np.uint8), 0
    for strip in strips:
        used = 0
        while used < len(strip):
            rows = strip[used : used + TILE - filled]
            band[filled : filled + len(rows), :width] = rows
            used, filled = used + len(rows), filled + len(rows)
            if filled == TILE:
                yield from _split(band)
                band, filled = np.zeros_like(band), 0
    if filled:
        yield from _split(band)


def _split(band: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for left in range(0, band.shape[1], TILE):
        yield np.ascontiguousarray(band[:, left : left + TILE])
