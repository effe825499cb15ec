"""Reading with Pillow, without log output and within limits; shared by the codecs of TIFF, BMP, WebP and GIF."""

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

    # A Pillow class directly, since `Image.open` has its own limit and puts memory addresses into its errors.
    Opener = Callable[[io.BytesIO], ImageFile]

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors reach stderr regardless of settings
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
    """The functions of `Codec` for a format that only Pillow reads."""

    check: Callable[[bytes], Header]
    identify: Callable[[bytes], tuple[Header, str]]
    decode: Callable[[bytes, Header], None]
    show: Callable[[bytes, Header], Shown]
    read: Callable[[bytes, Header, str], Values]


def stored(pixels: NDArray[Any], kind: str, palette: NDArray[np.uint8] | None) -> Values:
    """Decoded values as labels of 8 or 16 bits, if they are labels."""
    whole = kind == "other" or pixels.dtype != np.uint8
    return Values(whole_labels(pixels) if whole else pixels, kind, palette)


def pillow_codec(
    name: str,
    opened: Callable[[bytes], AbstractContextManager[ImageFile]],
    header: Callable[[ImageFile, bytes], Header],
    values: Callable[[NDArray[Any], str, NDArray[np.uint8] | None], Values] = stored,
) -> PillowCodec:
    """Make a codec from the specifics of a format.

    Args:
        name: the format's name, for error messages.
        opened: opens a file and checks that it is complete.
        header: returns the header, given the opened file and its content.
        values: turns decoded pixels, their kind and their palette into a mask's values.
    """

    def check(content: bytes) -> Header:
        with opened(content) as image:
            return header(image, content)

    def identify(content: bytes) -> tuple[Header, str]:
        with opened(content) as image:
            mode = image.mode  # before the header, which may seek to another frame
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
    """How a mask with one of Pillow's modes is stored; see `Mask.kind`."""
    return _KINDS.get(mode, "other")


@contextmanager
def opened(content: bytes, opener: Opener, refusal: Callable[[Exception], str]) -> Iterator[ImageFile]:
    """Open a file with Pillow, without log output, and check its size; nothing is decoded yet.

    Args:
        content: a whole file.
        opener: Pillow's class for the format.
        refusal: makes the error message if Pillow rejects the header.

    Raises:
        UnreadableFileError: the header is damaged or states more pixels than are allowed.
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
    """Decode an opened image; any error of Pillow becomes one line.

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
    """Reject a file that is shorter than its header states.

    Raises:
        UnreadableFileError: the file is too short.
    """
    if promised > len(content):
        raise UnreadableFileError(f"truncated: the {name} header promises {promised - len(content):,} more bytes")


def whole_labels(pixels: NDArray[Any], depth: int = 0) -> NDArray[Any]:
    """Convert Booleans, byte-swapped and wide integers to uint8 or uint16, or raise if that loses information.

    Args:
        pixels: decoded values.
        depth: bits per channel, for the message; 0 to omit it.

    Raises:
        NotAnIndexMaskError: there are several channels, fractions, or values outside the range of labels.
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
    """First line of an error's text without the final full stop, or the error's name if it has no text.

    Semicolons become commas, since text after a semicolon is advice.
    """
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".").replace(";", ",") if text else type(error).__name__
