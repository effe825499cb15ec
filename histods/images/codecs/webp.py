"""WebP: structure by `histods.images.webp`, pixels by Pillow."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL.WebPImagePlugin import WebPImageFile

from histods.images.codecs.pillow import check_length, one_line, opened, pillow_codec
from histods.images.header import Header, describe_animation
from histods.images.webp import parse_webp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.ImageFile import ImageFile


@contextmanager
def _opened(content: bytes) -> Iterator[ImageFile]:
    parse_webp(content)  # rejects files that would keep Pillow busy
    check_length(int.from_bytes(content[4:8], "little") + 8, content, "webp")
    with opened(content, WebPImageFile, lambda error: f"damaged webp header: {one_line(error)}") as image:
        yield image


def _header(image: ImageFile, content: bytes) -> Header:
    webp = parse_webp(content)
    converted = describe_animation(webp.frames)
    return Header("webp", *image.size, webp.frames, webp.orientation, converted, webp.alpha)


check, identify, decode, show, read = pillow_codec("webp", _opened, _header)
