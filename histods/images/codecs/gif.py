"""GIF by Pillow, for masks only; grey is always stored as a palette of greys."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.GifImagePlugin import GifImageFile

from histods.errors import UnreadableFileError
from histods.images.codecs.pillow import one_line, opened, pillow_codec, stored
from histods.images.header import Header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

    from histods.images.formats import Values


@contextmanager
def _opened(content: bytes) -> Iterator[ImageFile]:
    with opened(content, GifImageFile, lambda error: f"damaged gif header: {one_line(error)}") as image:
        if content.rstrip(b"\0")[-1:] != b";":
            raise UnreadableFileError("truncated: the GIF has no end marker")
        yield image


def _header(image: ImageFile, _: bytes) -> Header:
    return Header("gif", *image.size, 1 + _has_second_frame(image))


def _has_second_frame(image: ImageFile) -> bool:
    """Whether a GIF is animated, without reading all of its frames."""
    try:
        image.seek(1)
    except EOFError:
        return False
    except Exception as error:
        raise UnreadableFileError(f"damaged gif data: {one_line(error)}") from error
    return True


def _values(pixels: NDArray[Any], kind: str, palette: NDArray[np.uint8] | None) -> Values:
    """The greys if the palette has only greys, else the stored values."""
    if palette is not None and _is_grey(pixels, palette):
        return stored(palette[pixels, 0], "gray8", None)
    return stored(pixels, kind, palette)


def _is_grey(indices: NDArray[Any], palette: NDArray[np.uint8]) -> bool:
    """Whether all colours used by a palette picture are greys."""
    used = palette[np.unique(indices)] if len(palette) > indices.max() else palette[:0]
    return len(used) > 0 and bool((used == used[:, :1]).all())


check, identify, decode, show, read = pillow_codec("gif", _opened, _header, _values)
