"""GIF by Pillow: masks alone, whose only way to store grey is a palette of greys."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.GifImagePlugin import GifImageFile

from histods.errors import UnreadableFileError
from histods.images.codecs.pillow import kind_of, load, one_line, opened, palette_of, whole_labels
from histods.images.formats import Values
from histods.images.header import Header
from histods.images.rgb import Shown, show_pillow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
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
        load(image, "gif")
        return show_pillow(image)


def read(content: bytes, _: Header, kind: str) -> Values:
    """See `Codec.read`."""
    with _opened(content) as image:
        load(image, "gif")
        pixels = np.asarray(image)
        palette = palette_of(image) if kind == "palette" else None
    if palette is not None and _is_grey(pixels, palette):
        pixels, palette, kind = palette[pixels, 0], None, "gray8"
    whole = kind == "other" or pixels.dtype != np.uint8
    return Values(whole_labels(pixels) if whole else pixels, kind, palette)


def _identify(image: ImageFile, content: bytes) -> tuple[Header, str]:
    mode = image.mode  # of the first frame: those after it may be stored in colours
    return _header(image, content), kind_of(mode)


def _header(image: ImageFile, _: bytes) -> Header:
    return Header("gif", *image.size, 1 + _has_second_frame(image))


def _has_second_frame(image: ImageFile) -> bool:
    """Whether a GIF is animated, without going through all of its frames."""
    try:
        image.seek(1)
    except EOFError:
        return False
    except Exception as error:
        raise UnreadableFileError(f"damaged gif data: {one_line(error)}") from error
    return True


def _is_grey(indices: NDArray[Any], palette: NDArray[np.uint8]) -> bool:
    """Whether all colours that a palette picture uses are greys."""
    used = palette[np.unique(indices)] if len(palette) > indices.max() else palette[:0]
    return len(used) > 0 and bool((used == used[:, :1]).all())


@contextmanager
def _opened(content: bytes) -> Iterator[ImageFile]:
    with opened(content, GifImageFile, lambda error: f"damaged gif header: {one_line(error)}") as image:
        if content.rstrip(b"\0")[-1:] != b";":
            raise UnreadableFileError("truncated: the GIF has no end marker")
        yield image
