"""BMP by Pillow; the header promises how long the file is.

Source: BITMAPFILEHEADER and BITMAPINFOHEADER.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from histods.images.codecs.pillow import check_length, kind_of, load, one_line, opened, palette_of, whole_labels
from histods.images.formats import Values
from histods.images.header import BILEVEL, Header
from histods.images.rgb import Shown, show_pillow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.ImageFile import ImageFile


def check(content: bytes) -> Header:
    """See `Codec.check`."""
    with _opened(content) as image:
        return _header(image, content)


def identify(content: bytes) -> tuple[Header, str]:
    """See `Codec.identify`."""
    with _opened(content) as image:
        return _identify(image, content)


def decode(content: bytes, header: Header) -> None:
    """See `Codec.decode`."""
    show(content, header)


def show(content: bytes, _: Header) -> Shown:
    """See `Codec.show`."""
    with _opened(content) as image:
        load(image, "bmp")
        return show_pillow(image)


def read(content: bytes, _: Header, kind: str) -> Values:
    """See `Codec.read`."""
    with _opened(content) as image:
        load(image, "bmp")
        pixels = np.asarray(image)
        palette = palette_of(image) if kind == "palette" else None
    whole = kind == "other" or pixels.dtype != np.uint8
    return Values(whole_labels(pixels) if whole else pixels, kind, palette)


def _identify(image: ImageFile, content: bytes) -> tuple[Header, str]:
    return _header(image, content), kind_of(image.mode)


def _header(image: ImageFile, _: bytes) -> Header:
    converted = BILEVEL if image.mode == "1" else None
    return Header("bmp", *image.size, converted=converted, doubtful=image.mode == "RGBA")


@contextmanager
def _opened(content: bytes) -> Iterator[ImageFile]:
    with opened(content, BmpImageFile, lambda error: f"damaged bmp header: {one_line(error)}") as image:
        bits = int.from_bytes(content[28:30], "little") or 8
        compressed = int.from_bytes(content[30:34], "little") not in (0, 3)
        pixels = 0 if compressed else (image.width * bits + 31) // 32 * 4 * image.height
        check_length(int.from_bytes(content[10:14], "little") + pixels, content, "bmp")
        yield image
