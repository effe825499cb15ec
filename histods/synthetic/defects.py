"""Defects, each planted in one sample, with every finding that it must cause.

A defect writes the files of its sample and returns the complete list of findings: a mask stored as JPEG is
`lossy_mask`, but its values are damaged too, and the list includes that. `DEFECTS` holds all of them; defects of
missing, competing or linked files are in `pairing_defects`, defects of images in `image_defects`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from histods.synthetic.damage import TEXT, flipped_bit, jpeg_bomb, png_bomb, truncated, without_end
from histods.synthetic.faults import Fault, codes_of_labels
from histods.synthetic.files import encode
from histods.synthetic.image_defects import IMAGE_DEFECTS
from histods.synthetic.pairing_defects import PAIRING_DEFECTS, Defect, jpeg_of, mask_png_of
from histods.synthetic.palette import LABELS, PALETTE_LABEL, colour_table, palette_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from histods.synthetic.site import Site

    Labels = NDArray[np.uint8]


def _mask_defect(codes: tuple[str, ...], note: str, ruin: Callable[[Site], bytes], suffix: str = ".png") -> Defect:
    """An intact image with a mask file whose content is made by `ruin`."""

    def plant(site: Site) -> list[Fault]:
        site.write_image()
        path = site.write_mask(suffix, ruin(site))
        return [site.fault(code, path, note) for code in codes]

    return plant


def _image_defect(code: str, note: str, ruin: Callable[[Site], bytes], suffix: str = ".jpg") -> Defect:
    """An intact mask with an image file whose content is made by `ruin`."""

    def plant(site: Site) -> list[Fault]:
        site.write_mask()
        return [site.fault(code, site.write_image(suffix, ruin(site)), note)]

    return plant


def _judged_defect(code: str, note: str, ruin: Callable[[Site], bytes], suffix: str = ".png") -> Defect:
    """Like `_mask_defect`, with the findings that the decoded values cause in addition to `code`."""

    def plant(site: Site) -> list[Fault]:
        content = ruin(site)
        site.write_image()
        path = site.write_mask(suffix, content)
        with Image.open(io.BytesIO(content)) as image:
            implied = codes_of_labels(np.asarray(image), LABELS)
        return [site.fault(each, path, note) for each in dict.fromkeys([code, *implied])]

    return plant


def _png(site: Site) -> bytes:
    return encode(site.patch.image, ".png")


# Sizes and values of masks.


def _double_size(site: Site) -> bytes:
    return encode(site.patch.mask.repeat(2, axis=0).repeat(2, axis=1), ".png")


def _narrower(site: Site) -> bytes:
    return encode(np.ascontiguousarray(site.patch.mask[:, : site.size - 1]), ".png")


def _largest_label(mask: Labels) -> int:
    """The label other than 0 with the most pixels."""
    return int(np.bincount(mask.ravel())[1:].argmax()) + 1


def _relabelled(label: int) -> Callable[[Site], bytes]:
    """Masks in which the largest region has an unknown label; labels above 255 need 16 bits."""

    def ruin(site: Site) -> bytes:
        mask = site.patch.mask
        kind = np.uint8 if label <= np.iinfo(np.uint8).max else np.uint16
        return encode(np.where(mask == _largest_label(mask), kind(label), mask.astype(kind)), ".png")

    return ruin


def _binary_255(site: Site) -> bytes:
    mask = site.patch.mask
    return encode(np.where(mask == _largest_label(mask), 255, 0).astype(np.uint8), ".png")


def _times_60(site: Site) -> bytes:
    """Five classes as 0, 60, 120, 180, 240, with a disc of each class so that all occur."""
    classes = np.minimum(np.searchsorted(np.unique(site.patch.mask), site.patch.mask), 4).astype(np.uint8)
    for number, (x, y) in enumerate(((1, 1), (3, 1), (2, 2), (1, 3), (3, 3))):
        cv2.circle(classes, (x * site.size // 4, y * site.size // 4), site.size // 12, number, -1)
    return encode(classes * 60, ".png")


def _far_apart(site: Site) -> Labels:
    """The patch's regions with labels that are far apart, so that values between them are noticed."""
    mask = site.patch.mask
    far = np.array([2, 50, 26, 10, 41, 18], np.uint8)
    return far[np.searchsorted(np.unique(mask), mask) % far.size]


def _as_jpeg(site: Site) -> bytes:
    return encode(_far_apart(site), ".jpg")


def _was_jpeg(site: Site) -> bytes:
    with Image.open(io.BytesIO(encode(_far_apart(site), ".jpg", quality=60))) as image:
        return encode(np.asarray(image), ".png")


def _was_resampled(site: Site) -> bytes:
    small = _far_apart(site)[::3, ::3]
    return encode(cv2.resize(small, (site.size, site.size), interpolation=cv2.INTER_LINEAR), ".png")


def _constant(label: int, suffix: str = ".png") -> Callable[[Site], bytes]:
    return lambda site: encode(np.full((site.size, site.size), label, np.uint8), suffix)


def _wide(suffix: str) -> Callable[[Site], bytes]:
    return lambda site: encode(site.patch.mask.astype(np.uint16), suffix)


def _white_is_zero(site: Site) -> bytes:
    """A TIFF that declares that 0 is white (tag 262, photometric interpretation 0), like fax machines."""
    buffer = io.BytesIO()
    inverse = Image.fromarray(255 - site.patch.mask)  # Pillow inverts it, so the file holds the labels
    inverse.save(buffer, "TIFF", tiffinfo={262: 0})
    return buffer.getvalue()


# Colours and transparency.


def _ramp(site: Site) -> NDArray[np.uint8]:
    """Opacity that rises from 0 to 254 over the columns."""
    row = np.linspace(0, 254, site.size).astype(np.uint8)
    return np.broadcast_to(row, (site.size, site.size))


def _photo_rgba(site: Site) -> bytes:
    return encode(np.dstack([site.patch.image, _ramp(site)]), ".png")


def _photo_gray_alpha(site: Site) -> bytes:
    return encode(np.dstack([site.patch.image[..., 1], _ramp(site)]), ".png")


def _photo_palette(site: Site) -> bytes:
    return encode(Image.fromarray(site.patch.image).quantize(200), ".png")


def _other_palette(site: Site) -> bytes:
    """A palette of another program: the same indices, one of which has a colour that no label has."""
    colours = colour_table()
    colours[PALETTE_LABEL] = (1, 2, 3)
    return palette_mask(site.patch.mask, colours)


def _shuffled_palette(site: Site) -> bytes:
    """A coloured mask reduced to a palette: colours of the labels in the order of first use from the end."""
    mask = site.patch.mask
    present = np.unique(mask)[::-1]
    ranks = (present.size - 1 - np.searchsorted(present[::-1], mask)).astype(np.uint8)
    image = Image.fromarray(ranks).convert("P")
    image.putpalette(colour_table()[present].tobytes())
    return encode(image, ".png")


def _pen_stroke(opaque: bool) -> Callable[[Site], bytes]:
    """Class colours with a short stroke in a colour that no label has."""

    def ruin(site: Site) -> bytes:
        colours = colour_table()[site.patch.mask]
        middle, half = site.size // 2, max(2, site.size // 32)
        colours[middle : middle + 2, middle - half : middle + half] = (1, 2, 3)
        return encode(
            np.dstack([colours, np.full(colours.shape[:2], 255, np.uint8)]) if opaque else colours, ".png"
        )

    return ruin


DEFECTS: tuple[Defect, ...] = (
    *PAIRING_DEFECTS,
    *IMAGE_DEFECTS,
    _image_defect("unreadable_image", "the first half of a JPEG", lambda site: truncated(jpeg_of(site))),
    _image_defect("unreadable_image", "zero bytes", lambda _: b""),
    _image_defect("unreadable_image", "an error page under an image's name", lambda _: TEXT),
    _image_defect("unreadable_image", "a JPEG header of 60000x60000", lambda site: jpeg_bomb(jpeg_of(site))),
    _image_defect("unreadable_image", "a PNG header of 60000x60000", lambda _: png_bomb(), ".png"),
    _image_defect("unreadable_image", "one bit flipped", lambda site: flipped_bit(_png(site)), ".png"),
    _image_defect("unreadable_image", "no end chunk", lambda site: without_end(_png(site)), ".png"),
    _mask_defect(("unreadable_mask",), "the first half of a PNG", lambda site: truncated(mask_png_of(site))),
    _mask_defect(("unreadable_mask",), "zero bytes", lambda _: b""),
    _mask_defect(("unreadable_mask",), "an error page under a mask's name", lambda _: TEXT),
    _mask_defect(("unreadable_mask",), "a PNG header of 60000x60000", lambda _: png_bomb()),
    _mask_defect(("unreadable_mask",), "one bit flipped", lambda site: flipped_bit(mask_png_of(site))),
    _mask_defect(("unreadable_mask",), "no end chunk", lambda site: without_end(mask_png_of(site))),
    *[_mask_defect(("size_mismatch",), "twice the image's size", _double_size)] * 2,
    *[_mask_defect(("size_mismatch",), "one column short", _narrower)] * 2,
    _mask_defect(("unknown_label",), "a region with label 73", _relabelled(73)),
    _mask_defect(("unknown_label",), "a region with label 200", _relabelled(200)),
    _mask_defect(("unknown_label",), "a region with label 300, in 16 bits", _relabelled(300)),
    _mask_defect(("not_an_index_mask",), "the photograph itself", _png),
    _mask_defect(("not_an_index_mask",), "a photograph with varying opacity", _photo_rgba),
    _mask_defect(("not_an_index_mask",), "a grey photograph with varying opacity", _photo_gray_alpha),
    _mask_defect(("not_an_index_mask",), "a photograph in 200 palette colours", _photo_palette),
    _mask_defect(("not_an_index_mask",), "palette indices that are not the colours' labels", _shuffled_palette),
    *[_mask_defect(("scaled_mask", "unknown_label"), "one region as 255", _binary_255)] * 2,
    *[_mask_defect(("scaled_mask", "unknown_label"), "five classes times 60", _times_60)] * 2,
    *[_judged_defect("lossy_mask", "labels stored as JPEG", _as_jpeg, ".jpg")] * 2,
    _judged_defect("lossy_mask", "one label stored as JPEG", _constant(28, ".jpg"), ".jpg"),
    *[_judged_defect("speckled_mask", "a PNG that was a JPEG before", _was_jpeg)] * 2,
    *[_judged_defect("speckled_mask", "enlarged with bilinear interpolation", _was_resampled)] * 2,
    *[_mask_defect(("wide_mask",), "small labels in 16 bits", _wide(".png"))] * 2,
    _mask_defect(("wide_mask",), "small labels in a 16-bit TIFF", _wide(".tif"), ".tif"),
    *[_mask_defect(("inverted_mask",), "a TIFF that shows 0 as white", _white_is_zero, ".tif")] * 3,
    *[_mask_defect(("palettes_differ",), "a palette index in another colour", _other_palette)] * 3,
    *[_mask_defect(("off_palette",), "class colours (RGB) and a stroke of another", _pen_stroke(False))] * 2,
    _mask_defect(("off_palette",), "class colours (RGBA) and a stroke of another", _pen_stroke(True)),
    *[_image_defect("suffix_mismatch", "PNG content", _png)] * 2,
    _image_defect("suffix_mismatch", "JPEG content", jpeg_of, ".png"),
    _mask_defect(("suffix_mismatch",), "TIFF content", lambda site: encode(site.patch.mask, ".tif")),
    _mask_defect(("constant_mask",), "label 28 everywhere", _constant(28)),
    _mask_defect(("constant_mask",), "label 53 everywhere", _constant(53)),
    _mask_defect(("constant_mask",), "label 1 everywhere", _constant(1)),
)
