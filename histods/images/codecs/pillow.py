"""Reading by Pillow, quietly and within bounds: what the codecs of TIFF, BMP, WebP and GIF share."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.formats import Values
from histods.images.header import Header, check_pixels
from histods.images.rgb import Shown, show_pillow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from PIL import Image
    from PIL.ImageFile import ImageFile

    # A class of Pillow by itself: `Image.open` has a limit of its own and names memory addresses in its errors.
    Opener = Callable[[io.BytesIO], ImageFile]

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors reach stderr past every setting
_KINDS = {
    "1": "bilevel",
    "L": "gray8",
    "P": "palette",
    "I;16": "gray16",
    "I;16B": "gray16",
    "RGB": "rgb",
    "RGBA": "rgba",
    "LA": "gray_alpha",
}


class PillowCodec(NamedTuple):
    """The functions of `Codec` for a format that Pillow alone reads."""

    check: Callable[[bytes], Header]
    identify: Callable[[bytes], tuple[Header, str]]
    decode: Callable[[bytes, Header], None]
    show: Callable[[bytes, Header], Shown]
    read: Callable[[bytes, Header, str], Values]


def stored(pixels: NDArray[Any], kind: str, palette: NDArray[np.uint8] | None) -> Values:
    """Decoded values as labels of 8 or 16 bits, where they are labels."""
    whole = kind == "other" or pixels.dtype != np.uint8
    return Values(whole_labels(pixels) if whole else pixels, kind, palette)


def pillow_codec(
    name: str,
    opened: Callable[[bytes], AbstractContextManager[ImageFile]],
    header: Callable[[ImageFile, bytes], Header],
    values: Callable[[NDArray[Any], str, NDArray[np.uint8] | None], Values] = stored,
) -> PillowCodec:
    """A codec of what is special about a format.

    Args:
        name: the format's name, for reasons.
        opened: opens a file and checks that it is whole.
        header: gives the header of an opened file, whose content follows.
        values: makes a mask's values of decoded pixels, their kind and their palette.
    """

    def check(content: bytes) -> Header:
        with opened(content) as image:
            return header(image, content)

    def identify(content: bytes) -> tuple[Header, str]:
        with opened(content) as image:
            mode = image.mode  # before the header, for which another frame may be looked for
            return header(image, content), kind_of(mode)

    def show(content: bytes, _: Header) -> Shown:
        with opened(content) as image:
            load(image, name)
            return show_pillow(image)

    def decode(content: bytes, known: Header) -> None:
        show(content, known)

    def read(content: bytes, _: Header, kind: str) -> Values:
        with opened(content) as image:
            load(image, name)
            return values(np.asarray(image), kind, palette_of(image) if kind == "palette" else None)

    return PillowCodec(check, identify, decode, show, read)


def kind_of(mode: str) -> str:
    """How a mask of one of Pillow's modes is stored; see `Mask.kind`."""
    return _KINDS.get(mode, "other")


@contextmanager
def opened(content: bytes, opener: Opener, refusal: Callable[[Exception], str]) -> Iterator[ImageFile]:
    """Open a file with Pillow, quietly, and check its size; nothing is decoded yet.

    Args:
        content: a whole file.
        opener: Pillow's class of the format.
        refusal: the reason where Pillow refuses the header.

    Raises:
        UnreadableFileError: the header is damaged or promises more pixels than are read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = opener(io.BytesIO(content))
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises anything from SyntaxError to KeyError
            raise UnreadableFileError(refusal(error)) from error
        with image:
            check_pixels(*image.size)
            yield image


def load(image: ImageFile, name: str) -> None:
    """Decode an opened image; whatever Pillow raises becomes one line.

    Raises:
        UnreadableFileError: the pixel data is damaged.
    """
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise UnreadableFileError(f"damaged {name} data: {one_line(error)}") from error


def palette_of(image: Image.Image) -> NDArray[np.uint8]:
    """The colours of a palette image, uint8 [n, 3]."""
    flat = np.array(image.getpalette("RGB") or [], dtype=np.uint8)
    return flat.reshape(-1, 3)


def check_length(promised: int, content: bytes, name: str) -> None:
    """Refuse a file that is shorter than its header promises.

    Raises:
        UnreadableFileError: it is.
    """
    if promised > len(content):
        raise UnreadableFileError(f"truncated: the {name} header promises {promised - len(content):,} more bytes")


def whole_labels(pixels: NDArray[Any], depth: int = 0) -> NDArray[Any]:
    """Bring Booleans, byte-swapped and wide integers to uint8 or uint16, or say why that loses something.

    Args:
        pixels: decoded values.
        depth: bits of a channel, for the message; 0 for no word of it.

    Raises:
        NotAnIndexMaskError: there are several channels, fractions, or values that no label has.
    """
    if pixels.ndim != 2:
        stored = f" of {depth} bits" if depth else ""
        raise NotAnIndexMaskError(f"{pixels.shape[-1]} channels{stored}, which are not labels")
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    low, high = pixels.min(), pixels.max()
    if not np.issubdtype(pixels.dtype, np.integer) and not (pixels == np.round(pixels)).all():
        raise NotAnIndexMaskError(
            f"floating-point values from {low:.4g} to {high:.4g} that are not whole numbers, "
            "such as probabilities; export the label of each pixel as an 8-bit PNG"
        )
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise NotAnIndexMaskError(f"values from {low:.0f} to {high:.0f}, labels go from 0 to 65535")
    return pixels.astype(np.uint16)


def one_line(error: BaseException) -> str:
    """First line of an error's text without the final full stop, or the error's name where it has none.

    Semicolons become commas: what follows one in a reason is advice.
    """
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".").replace(";", ",") if text else type(error).__name__
