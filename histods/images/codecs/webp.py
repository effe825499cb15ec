"""WebP: structure by `histods.images.webp`, pixels by Pillow."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL.WebPImagePlugin import WebPImageFile

from histods.images.codecs.pillow import check_length, kind_of, load, one_line, opened, palette_of, whole_labels
from histods.images.formats import Values
from histods.images.header import Header, describe_animation
from histods.images.rgb import Shown, show_pillow
from histods.images.webp import parse_webp

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
        load(image, "webp")
        return show_pillow(image)


def read(content: bytes, _: Header, kind: str) -> Values:
    """See `Codec.read`."""
    with _opened(content) as image:
        load(image, "webp")
        pixels = np.asarray(image)
        palette = palette_of(image) if kind == "palette" else None
    whole = kind == "other" or pixels.dtype != np.uint8
    return Values(whole_labels(pixels) if whole else pixels, kind, palette)


def _identify(image: ImageFile, content: bytes) -> tuple[Header, str]:
    return _header(image, content), kind_of(image.mode)


def _header(image: ImageFile, content: bytes) -> Header:
    webp = parse_webp(content)
    converted = describe_animation(webp.frames)
    return Header("webp", *image.size, webp.frames, webp.orientation, converted, webp.alpha)


@contextmanager
def _opened(content: bytes) -> Iterator[ImageFile]:
    parse_webp(content)  # refuses what would keep Pillow busy
    with opened(content, WebPImageFile, lambda error: f"damaged webp header: {one_line(error)}") as image:
        check_length(int.from_bytes(content[4:8], "little") + 8, content, "webp")
        yield image
