"""BMP by Pillow; the header states the length of the file.

Source: BITMAPFILEHEADER, BITMAPINFOHEADER and BITMAPCOREHEADER.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL.BmpImagePlugin import BmpImageFile

from histods.images.codecs.pillow import check_length, one_line, opened, pillow_codec
from histods.images.header import BILEVEL, Header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.ImageFile import ImageFile


_OS2_HEADER = 12
"""Bytes of BITMAPCOREHEADER, of OS/2: its sizes have 16 bits, and its pixels are never compressed."""
_PLAIN = (0, 3)  # kinds of compression: none, and bit fields


def _storage(content: bytes) -> tuple[int, int]:
    """Bits per pixel, and the kind of compression."""
    if int.from_bytes(content[14:18], "little") == _OS2_HEADER:
        return int.from_bytes(content[24:26], "little"), 0
    return int.from_bytes(content[28:30], "little") or 8, int.from_bytes(content[30:34], "little")


@contextmanager
def _opened(content: bytes) -> Iterator[ImageFile]:
    with opened(content, BmpImageFile, lambda error: f"damaged bmp header: {one_line(error)}") as image:
        bits, compression = _storage(content)
        pixels = 0 if compression not in _PLAIN else (image.width * bits + 31) // 32 * 4 * image.height
        check_length(int.from_bytes(content[10:14], "little") + pixels, content, "bmp")
        yield image


def _header(image: ImageFile, _: bytes) -> Header:
    converted = BILEVEL if image.mode == "1" else None
    return Header("bmp", *image.size, converted=converted, doubtful=image.mode == "RGBA")


check, identify, decode, show, read = pillow_codec("bmp", _opened, _header)
