"""How strongly a JPEG was compressed: its quality, from the quantisation table, and its chroma subsampling.

A JPEG does not store a quality. libjpeg and most other encoders scale the example table of ITU T.81 (annex K.1)
by a quality from 1 to 100, so the estimate is the quality whose table for luma is nearest to that of the file (the
sum of absolute differences). It is exact for files of libjpeg, libjpeg-turbo, Pillow and OpenCV; encoders with
tables of their own (Photoshop, MozJPEG, some scanners) get the quality of libjpeg with about the same loss.
"""

from __future__ import annotations

import struct
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.images.jpeg import MAX_SEGMENTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUANTISATION, _SCAN, _END = 0xDB, 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# Table K.1 for luma, in the zigzag order of files.
_EXAMPLE = np.array(
    [
        [16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40],
        [26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51],
        [56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87],
        [95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99],
    ],
    np.int64,
).ravel()
_RATIOS = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
    (4, 2): "4:1:0",
}
_BASELINE_MOST = 255


class Compression(NamedTuple):
    """Quality from 1 to 100, and how many chroma samples there are as J:a:b; None where the file does not tell.

    A grey JPEG has no chroma. A ratio without a common name is written as 'HxV', luma samples per chroma sample.
    """

    quality: int | None = None
    subsampling: str | None = None


def read_compression(content: bytes) -> Compression:
    """Read the tables before the pixel data of a JPEG that passed `check_jpeg`."""
    tables: dict[int, bytes] = {}
    frame = b""
    position, size = 2, len(content)
    for _ in range(MAX_SEGMENTS):
        if position + 4 > size or content[position] != 0xFF:
            break
        marker = content[position + 1]
        if marker in (_SCAN, _END):
            break
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + (content[position + 2] << 8 | content[position + 3])
        if marker == _QUANTISATION:
            tables |= _split_tables(content[position + 4 : end])
        elif marker in _FRAMES:
            frame = content[position + 4 : end]
        position = end
    components = [frame[place : place + 3] for place in range(6, len(frame) - 2, 3)]
    if not components:
        return Compression()
    table = tables.get(components[0][2])
    return Compression(None if table is None else estimate_quality(table), _subsampling(components))


def _split_tables(segment: bytes) -> dict[int, bytes]:
    """Quantisation tables of one segment by number, each 64 big-endian 16-bit values in zigzag order."""
    found = {}
    while segment:
        wide, number = segment[0] >> 4, segment[0] & 15
        length = 128 if wide else 64
        values = segment[1 : 1 + length]
        if len(values) < length:
            break
        found[number] = values if wide else struct.pack(">64H", *values)
        segment = segment[1 + length :]
    return found


@lru_cache(maxsize=256)  # an encoder writes the same table into all files
def estimate_quality(table: bytes) -> int:
    """The quality whose table is nearest; of equally near ones the highest.

    Args:
        table: 64 big-endian 16-bit values in zigzag order.
    """
    distances = np.abs(_tables() - np.frombuffer(table, ">u2").astype(np.int64)).sum(axis=1)
    return 100 - int(distances[::-1].argmin())


@cache
def _tables() -> NDArray[np.int64]:
    """[100, 64] libjpeg's tables for luma at the qualities 1 to 100."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((scale[:, None] * _EXAMPLE + 50) // 100, 1, _BASELINE_MOST)


def _subsampling(components: list[bytes]) -> str | None:
    """The ratio of luma to chroma samples."""
    if len(components) != 3:
        return None
    (luma, *chroma) = [(one[1] >> 4, one[1] & 15) for one in components]
    if chroma[0] != chroma[1] or 0 in chroma[0]:
        return None
    (across, across_left), (down, down_left) = (divmod(luma[axis], chroma[0][axis]) for axis in (0, 1))
    if across_left or down_left:
        return None
    return _RATIOS.get((across, down), f"{across}x{down}")
