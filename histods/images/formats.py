"""The formats of images and masks: pairing, checks, the reader and sampling all use this table.

To add a format, write a codec, a module with the functions of `Codec`, and add it to `FORMATS`. Codecs are
imported when one of their files is first read, so the table costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from histods.errors import UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from histods.images.header import Header
    from histods.images.rgb import Shown

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Values(NamedTuple):
    """Values of a mask as stored.

    Attributes:
        pixels: uint8 or uint16 [height, width], or uint8 [height, width, channels] for colours.
        kind: how they are stored, see `Mask.kind`; a codec may correct it after decoding.
        palette: uint8 [n, 3], the colour of each index; None without.
    """

    pixels: NDArray[Any]
    kind: str
    palette: NDArray[np.uint8] | None = None


class Codec(Protocol):
    """The functions of a module for one format. All of them take the content of a whole file.

    All raise `UnreadableFileError` for damage; `read` also raises `NotAnIndexMaskError`.
    """

    @staticmethod
    def check(content: bytes) -> Header:
        """Verify the structure, and that the image can be shown correctly, without decoding."""

    @staticmethod
    def identify(content: bytes) -> tuple[Header, str]:
        """Verify the structure of a mask, and tell how its values are stored; see `Mask.kind`."""

    @staticmethod
    def decode(content: bytes, header: Header) -> None:
        """Decode an image completely to verify that no pixel is missing; discard the pixels."""

    @staticmethod
    def show(content: bytes, header: Header) -> Shown:
        """Decode an image as a viewer shows it."""

    @staticmethod
    def read(content: bytes, header: Header, kind: str) -> Values:
        """Decode a mask to its stored values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFormat:
    """One format.

    Attributes:
        name: its name in the tables of an audit.
        suffixes: the suffixes of its files, lower case; the usual one first.
        starts: whether a file is of this format, judged by its first 12 bytes.
        codec: name of the module that reads it, a `Codec`.
        images: whether files with its suffixes may be images; else they are masks only.
        lossless: whether masks are always stored losslessly, so that the suffix can identify masks.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: Callable[[bytes], bool]
    codec: str
    images: bool = True
    lossless: bool = True


FORMATS = [
    ImageFormat(
        name="jpeg",
        suffixes=(".jpg", ".jpeg"),
        starts=lambda start: start[:3] == b"\xff\xd8\xff",
        codec="histods.images.codecs.jpeg",
        lossless=False,
    ),
    ImageFormat(
        name="png",
        suffixes=(".png",),
        starts=lambda start: start[:8] == PNG_SIGNATURE,
        codec="histods.images.codecs.png",
    ),
    ImageFormat(
        name="tiff",
        suffixes=(".tif", ".tiff"),
        starts=lambda start: start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        codec="histods.images.codecs.tiff",
    ),
    ImageFormat(
        name="bmp",
        suffixes=(".bmp",),
        starts=lambda start: start[:2] == b"BM",
        codec="histods.images.codecs.bmp",
    ),
    ImageFormat(
        name="webp",
        suffixes=(".webp",),
        starts=lambda start: start[:4] == b"RIFF" and start[8:12] == b"WEBP",
        codec="histods.images.codecs.webp",
        lossless=False,
    ),
    ImageFormat(
        name="gif",
        suffixes=(".gif",),
        starts=lambda start: start[:6] in (b"GIF87a", b"GIF89a"),
        codec="histods.images.codecs.gif",
        images=False,
    ),
]


def image_suffixes() -> tuple[str, ...]:
    """Suffixes of files that may be images."""
    return tuple(suffix for one in FORMATS if one.images for suffix in one.suffixes)


def mask_suffixes() -> tuple[str, ...]:
    """Suffixes of files that may be masks, those of lossless formats first."""
    ordered = sorted(FORMATS, key=lambda one: not one.lossless)
    return tuple(suffix for one in ordered for suffix in one.suffixes)


def lossless_suffixes() -> tuple[str, ...]:
    """Suffixes of formats that always store masks losslessly."""
    return tuple(suffix for one in FORMATS if one.lossless for suffix in one.suffixes)


@cache
def codec_of(name: str) -> Codec:
    """The codec of a format."""
    return cast("Codec", import_module(next(one.codec for one in FORMATS if one.name == name)))


def sniff(start: bytes) -> str:
    """Name the format from the first 12 bytes.

    Raises:
        UnreadableFileError: the bytes are of no supported format.
    """
    for one in FORMATS:
        if one.starts(start):
            return one.name
    if not start:
        raise UnreadableFileError("the file is empty (0 bytes)")
    if start[:3] in (b"\xff\xd8", b"\x89PN") or PNG_SIGNATURE.startswith(start[:8]):
        raise UnreadableFileError("truncated: the file ends inside its signature")
    raise UnreadableFileError(f"not an image: it starts with {start[:8].hex(' ')}, no signature of a known format")
