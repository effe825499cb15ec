"""One reader for every image and mask: labels exactly as stored, damage named, nothing decoded twice.

Which decoder, and why (one core, 512x512 masks, microseconds, from memory, all measured in one run):

| masks | kornia-rs | pyspng | OpenCV |
| --- | --- | --- | --- |
| 12 real lung masks, 1.9 KB | 86 | 404 | 580 |
| the same written by OpenCV, 2.5 KB | 144 | 1,234 | 1,227 |
| all zero | 63 | 603 | 676 |

kornia-rs decodes PNG (see `png.py`), Pillow TIFF, BMP and WebP. For JPEG, simplejpeg in its strict mode
refuses damage that Pillow and OpenCV turn into grey blocks, in half of Pillow's time.

Work on one file is bounded, and a file beyond a bound is a finding: `MAX_PIXELS` of any format
(`header.py`), scans and segments of a JPEG (`jpeg.py`), chunks and compressed text of a PNG (`png.py`), parts
of a WebP (`webp.py`), pages (`tiff_tags.py`) and strips or tiles of a TIFF (`tiff_pixels.py`).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg

from histods.colours.colour_labels import Mask, labels_from_pixels
from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.formats import check_other, check_tiff, one_line, opened, sniff
from histods.images.jpeg import check_jpeg
from histods.images.png import check_pixel_data, check_png, decode_png, read_palette
from histods.images.rgb import Shown, join_reasons, show_pillow, show_png
from histods.images.tiff import as_stored, check_checksums, parse_tiff, why_no_labels
from histods.images.tiff_rgb import show_tiff, why_not_shown
from histods.io.open_file import OpenFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image
    from PIL.ImageFile import ImageFile

    from histods.images.header import Header

    Colours = Mapping[int, tuple[int, int, int]]

_PNG_KINDS = {
    (0, 1): "bilevel",
    (0, 2): "gray8",
    (0, 4): "gray8",
    (0, 8): "gray8",
    (0, 16): "gray16",
    (3, 1): "palette",
    (3, 2): "palette",
    (3, 4): "palette",
    (3, 8): "palette",
    (2, 8): "rgb",
    (4, 8): "gray_alpha",
    (6, 8): "rgba",
}
_PILLOW_KINDS = {
    "1": "bilevel",
    "L": "gray8",
    "P": "palette",
    "I;16": "gray16",
    "I;16B": "gray16",
    "RGB": "rgb",
    "RGBA": "rgba",
    "LA": "gray_alpha",
}


def check_image(content: bytes) -> Header:
    """Verify the structure of a whole image file, and that it can be shown right, as far as its header tells.

    Raises:
        UnreadableFileError: it is damaged, takes too long to decode, or cannot be shown right.
    """
    kind = sniff(content[:12])
    if kind == "png":
        return check_png(content)
    if kind == "jpeg":
        return check_jpeg(content)
    header = check_other(content, kind)[0]
    reason = why_not_shown(parse_tiff(content)) if kind == "tiff" else None
    if reason is not None:
        raise UnreadableFileError(reason)
    return header


def decode_image(content: bytes, header: Header) -> None:
    """Decode an image completely, prove that no pixel is missing, and drop them.

    A JPEG's entropy-coded data is decoded in full and transformed at 1/8 scale: it finds the same damage
    as a decode at full scale (checked on flipped bits) in 57 % of the time.

    Raises:
        UnreadableFileError: the pixel data is damaged.
    """
    if header.format == "jpeg":
        _decode_jpeg(content, eighth=True)
        return
    if header.format == "png":
        check_pixel_data(content, header)
    elif header.format == "tiff":
        check_checksums(content, parse_tiff(content))
    show_image(content, header)


def show_image(content: bytes, header: Header) -> Shown:
    """Decode an image as a viewer shows it, and say how training sees it otherwise than it is stored.

    Args:
        content: a whole file.
        header: what `check_image` gave for it.

    Raises:
        UnreadableFileError: the pixel data is damaged, or nothing tells how it is to be shown.
    """
    if header.format == "png":
        shown = show_png(content, header)
    else:
        with _decoded(content, header.format) as image:
            shown = show_tiff(image, parse_tiff(content)) if header.format == "tiff" else show_pillow(image)
    return Shown(shown.pixels, join_reasons(header.converted, shown.converted))


def decode_rgb(content: bytes, buffer: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Decode an image to red, green and blue, as a viewer shows it: transparent pixels are seen on white.

    Args:
        content: a file of any supported format.
        buffer: [height x width x 3] or larger; a JPEG is decoded into it and no memory is asked for.

    Returns:
        uint8 of shape [height, width, 3]; the orientation is not applied.

    Raises:
        UnreadableFileError: the image is damaged, takes too long to decode, or cannot be shown right.
    """
    if content.startswith(b"\xff\xd8"):
        header = check_jpeg(content)
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, strict=True, buffer=buffer)
        except ValueError:  # a kind that it does not know, or damage: Pillow says which
            return show_image(content, header).pixels
        return pixels
    return show_image(content, check_image(content)).pixels


def read_mask(path: str | Path, colours: Colours | None = None, *, nearest: bool = False) -> Mask:
    """Read a mask's labels exactly as stored.

    Grey values of 1 to 16 bits and palette indices are labels; colours are labels where `colours`
    (label -> RGB) names them, or where red, green and blue are equal.

    Args:
        path: PNG, TIFF, BMP or JPEG file; the content decides, not the suffix.
        colours: RGB of each label, for colour masks.
        nearest: give pixels of other colours the label of the nearest colour (Euclidean in RGB)
            instead of `OFF_PALETTE_LABEL`.

    Raises:
        UnreadableFileError: the file is damaged.
        NotAnIndexMaskError: the file is sound but its values are not labels.
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
    if header.format == "jpeg":
        pixels = _decode_jpeg(content, eighth=False)
        pixels = pixels[..., 0] if kind == "gray8" else pixels
        return labels_from_pixels(pixels, kind, "jpeg", colours, nearest=nearest)
    if header.format == "png":
        pixels, palette = _decode_png_mask(content, header), None
        if kind == "palette":
            palette = read_palette(content)
        elif kind == "other":
            pixels = _whole_labels(pixels, content[24])
        return labels_from_pixels(pixels, kind, "png", colours, nearest=nearest, palette=palette)
    pixels, palette = _decode_values(content, header.format, kind)
    if header.format == "gif" and palette is not None and _is_grey(pixels, palette):
        pixels, palette, kind = palette[pixels, 0], None, "gray8"  # GIF has no other way to store grey
    if kind == "other" or pixels.dtype != np.uint8:
        pixels = _whole_labels(pixels, 0)
    return labels_from_pixels(pixels, kind, header.format, colours, nearest=nearest, palette=palette)


def _decode_png_mask(content: bytes, header: Header) -> NDArray[Any]:
    """Samples of a PNG mask whose rows and checksum are proved; see `png.py` for what that costs."""
    check_pixel_data(content, header)
    return decode_png(content, header)


def _is_grey(indices: NDArray[Any], palette: NDArray[np.uint8]) -> bool:
    """Whether all colours that a palette picture uses are greys."""
    used = palette[np.unique(indices)] if len(palette) > indices.max() else palette[:0]
    return len(used) > 0 and bool((used == used[:, :1]).all())


def identify_mask(content: bytes) -> tuple[Header, str]:
    """Verify a mask's structure and say how its values are stored; see `Mask.kind`.

    Raises:
        UnreadableFileError: the file is damaged.
    """
    file_format = sniff(content[:12])
    if file_format == "png":
        return check_png(content), _PNG_KINDS.get((content[25], content[24]), "other")
    if file_format == "jpeg":
        header = check_jpeg(content)
        return header, "gray8" if _jpeg_is_grey(content) else "rgb"
    if file_format == "tiff":
        header, tiff = check_tiff(content)
        if why_no_labels(tiff) is not None:  # then Pillow may not even open it
            return header, "other"
    header, mode = check_other(content, file_format)
    return header, _PILLOW_KINDS.get(mode, "other")


def _decode_values(content: bytes, file_format: str, kind: str) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Pixels of a mask with the values that the file holds (no PNG), and its palette."""
    tiff = parse_tiff(content) if file_format == "tiff" else None
    reason = None if tiff is None else why_no_labels(tiff)
    if reason is not None:
        raise NotAnIndexMaskError(reason)
    if tiff is not None:
        check_checksums(content, tiff)
    with _decoded(content, file_format) as image:
        pixels = np.asarray(image)
        palette = _palette_colours(image) if kind == "palette" else None
    return pixels if tiff is None else as_stored(pixels, tiff), palette


def _whole_labels(pixels: NDArray[Any], depth: int) -> NDArray[Any]:
    """Bring Booleans, byte-swapped and wide integers to uint8 or uint16, or say why that loses something."""
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


def _palette_colours(image: Image.Image) -> NDArray[np.uint8]:
    flat = np.array(image.getpalette("RGB") or [], dtype=np.uint8)
    return flat.reshape(-1, 3)


@contextmanager
def _decoded(content: bytes, file_format: str) -> Iterator[ImageFile]:
    """Decode an image with Pillow; whatever it raises becomes one line."""
    with opened(content, file_format) as image:
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:
            raise UnreadableFileError(f"damaged {file_format} data: {one_line(error)}") from error
        yield image


def _jpeg_is_grey(content: bytes) -> bool:
    try:
        return bool(simplejpeg.decode_jpeg_header(content, strict=True)[2] == "Gray")
    except ValueError as error:
        raise UnreadableFileError(f"damaged JPEG header: {one_line(error)}") from error


def _decode_jpeg(content: bytes, *, eighth: bool) -> NDArray[np.uint8]:
    try:
        space = simplejpeg.decode_jpeg_header(content, strict=True)[2]
        options = {"min_height": 1, "min_width": 1, "min_factor": 8} if eighth else {}
        pixels = simplejpeg.decode_jpeg(
            content, colorspace="GRAY" if eighth or space == "Gray" else "RGB", strict=True, **options
        )
    except ValueError as error:
        raise UnreadableFileError(f"damaged JPEG data: {one_line(error)}") from error
    result: NDArray[np.uint8] = pixels
    return result
