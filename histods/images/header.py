"""The header of an image file, and the limits on what is decoded."""

from __future__ import annotations

from typing import NamedTuple

from histods.errors import UnreadableFileError

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""Largest image that is decoded, about 9,459 px square: Pillow's own limit against decompression bombs."""


class Header(NamedTuple):
    """Format of a file by its content, its size in pixels as stored, and how its pixels are to be shown.

    A tuple, since one is made for each of half a million files.

    Attributes:
        format: jpeg, png, tiff, bmp, webp, ...
        width: pixels, as stored: the orientation is not applied.
        height: pixels, as stored.
        pages: pictures in which labels could hide: frames of an animation, and pages of a TIFF other than
            smaller copies of the first.
        orientation: EXIF or TIFF orientation, 1 to 8; 1 if the file has none.
        converted: how the pixels in training differ from those stored, if the header tells; advice follows "; ".
        doubtful: whether only the pixels can tell (16 bits, transparency).
    """

    format: str
    width: int
    height: int
    pages: int = 1
    orientation: int = 1
    converted: str | None = None
    doubtful: bool = False


def check_pixels(width: int, height: int) -> None:
    """Reject sizes that no patch has, before decoding.

    Raises:
        UnreadableFileError: a side is 0, or there are more than `MAX_PIXELS`.
    """
    if width == 0 or height == 0:
        raise UnreadableFileError(f"its header says {width}x{height} pixels, expected at least 1x1")
    if width * height > MAX_PIXELS:
        raise UnreadableFileError(
            f"its header says {width}x{height} pixels, more than {MAX_PIXELS:,}: not decoded (decompression bomb?)"
        )


def describe_animation(pages: int) -> str | None:
    """Report that training sees only the first picture of an animation; None for a single picture."""
    if pages == 1:
        return None
    return f"an animation of {pages:,} pictures, of which training sees the first; store the one that is meant"


BILEVEL = "1 bit per pixel, which training sees as black and white; check that this is a photograph and no mask"
CMYK = (
    "CMYK colours, which training sees converted to RGB without their print profile; "
    "convert it yourself if its colours matter, for example with 'magick IN -profile sRGB.icc OUT.png'"
)
"""Reasons that several formats share; see `Header.converted`."""
