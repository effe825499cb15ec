"""One reader for all images and masks: labels exactly as stored, damage described, nothing decoded twice.

Comparison of decoders (one core, 512x512 masks, microseconds, from memory, all measured in one run):

| masks | kornia-rs | pyspng | OpenCV |
| --- | --- | --- | --- |
| 12 real lung masks, 1.9 KB | 86 | 404 | 580 |
| the same written by OpenCV, 2.5 KB | 144 | 1,234 | 1,227 |
| all zero | 63 | 603 | 676 |

Each format has a codec in `codecs/`, which `formats.py` lists.

Work on one file is limited, and a file beyond a limit is a finding: `MAX_PIXELS` for all formats
(`header.py`), scans and segments of a JPEG (`jpeg.py`), chunks and compressed text of a PNG (`png.py`), parts
of a WebP (`webp.py`), pages (`tiff_tags.py`) and strips or tiles of a TIFF (`tiff_pixels.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import simplejpeg

from histods.colours.colour_labels import Mask, labels_from_pixels
from histods.errors import NotAnIndexMaskError
from histods.images.formats import codec_of, sniff
from histods.images.jpeg import check_jpeg
from histods.images.rgb import Shown, join_reasons
from histods.io.open_file import OpenFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from histods.images.header import Header

    Colours = Mapping[int, tuple[int, int, int]]


def check_image(content: bytes) -> Header:
    """Verify the structure of a whole image file, and that it can be shown correctly, as far as its header tells.

    Raises:
        UnreadableFileError: it is damaged, takes too long to decode, or cannot be shown correctly.
    """
    return codec_of(sniff(content[:12])).check(content)


def decode_image(content: bytes, header: Header) -> None:
    """Decode an image completely to verify that no pixel is missing; discard the pixels.

    Raises:
        UnreadableFileError: the pixel data is damaged.
    """
    codec_of(header.format).decode(content, header)


def show_image(content: bytes, header: Header) -> Shown:
    """Decode an image as a viewer shows it, and tell how that differs from what is stored.

    Args:
        content: a whole file.
        header: the result of `check_image`.

    Raises:
        UnreadableFileError: the pixel data is damaged, or it is unclear how to show it.
    """
    shown = codec_of(header.format).show(content, header)
    return Shown(shown.pixels, join_reasons(header.converted, shown.converted))


def decode_rgb(content: bytes, buffer: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Decode an image to RGB as a viewer shows it, with transparent pixels on white.

    Args:
        content: a file of any supported format.
        buffer: [height x width x 3] or larger; a JPEG is decoded into it without allocating memory.

    Returns:
        uint8 of shape [height, width, 3]; the orientation is not applied.

    Raises:
        UnreadableFileError: the image is damaged, takes too long to decode, or cannot be shown correctly.
    """
    if content.startswith(b"\xff\xd8"):
        header = check_jpeg(content)
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, strict=True, buffer=buffer)
        except ValueError:  # an unsupported kind, or damage, which Pillow tells apart
            return show_image(content, header).pixels
        return pixels
    return show_image(content, check_image(content)).pixels


def read_mask(path: str | Path, colours: Colours | None = None, *, nearest: bool = False) -> Mask:
    """Read a mask's labels exactly as stored.

    Grey values of 1 to 16 bits and palette indices are labels; colours are labels if `colours`
    (label -> RGB) has them, or if red, green and blue are equal.

    Args:
        path: PNG, TIFF, BMP or JPEG file; the content decides, not the suffix.
        colours: RGB of each label, for colour masks.
        nearest: give pixels of other colours the label of the nearest colour (Euclidean in RGB)
            instead of `OFF_PALETTE_LABEL`.

    Raises:
        UnreadableFileError: the file is damaged.
        NotAnIndexMaskError: the file is intact but its values are not labels.
    """
    with OpenFile(path) as file:
        content = file.read()
    return decode_mask(content, colours, nearest=nearest)


def decode_mask(content: bytes, colours: Colours | None = None, *, nearest: bool = False) -> Mask:
    """Decode a mask from a file's content; see `read_mask`."""
    header, kind = identify_mask(content)
    mask = _decode_mask(content, header, kind, colours, nearest=nearest)
    return mask if header.orientation == 1 else replace(mask, orientation=header.orientation)


def _decode_mask(content: bytes, header: Header, kind: str, colours: Colours | None, *, nearest: bool) -> Mask:
    if header.pages > 1:
        raise NotAnIndexMaskError(
            f"{header.pages} pages in one file, expected one; keep the page that holds the labels, "
            "for example with 'magick IN[0] OUT.png' for the first"
        )
    values = codec_of(header.format).read(content, header, kind)
    return labels_from_pixels(
        values.pixels, values.kind, header.format, colours, nearest=nearest, palette=values.palette
    )


def identify_mask(content: bytes) -> tuple[Header, str]:
    """Verify a mask's structure and tell how its values are stored; see `Mask.kind`.

    Raises:
        UnreadableFileError: the file is damaged.
    """
    return codec_of(sniff(content[:12])).identify(content)
