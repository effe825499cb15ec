"""Training sees what a viewer shows: `decode_rgb` against references that no decoder of ours made."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import imagecodecs
import numpy as np
import pytest
import pyvips
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images.reader import check_image, decode_rgb, show_image
from histods.images.rgb import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (37, 53, 3), dtype=np.uint8)
COLOURS[0, 0] = 255  # so that 16 bits of it fill their range
GREY = COLOURS[..., 0].copy()
GREYS = np.dstack([GREY] * 3)
OPACITY = RANDOM.integers(0, 256, (37, 53), dtype=np.uint8)
RGBA, GREY_ALPHA = np.dstack([COLOURS, OPACITY]), np.dstack([GREY, OPACITY])
WIDE, WIDE_GREY = COLOURS.astype(np.uint16) * 257, GREY.astype(np.uint16) * 257
FOUR = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0], [9, 9, 200]], np.uint8)
LARGE = np.tile(COLOURS, (8, 8, 1))


def by_pillow(pixels: NDArray[Any] | Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def by_tifffile(pixels: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def by_opencv(pixels: NDArray[Any], suffix: str, options: Sequence[int] = ()) -> bytes:
    stored = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return cv2.imencode(suffix, np.ascontiguousarray(stored), list(options))[1].tobytes()


def by_vips(pixels: NDArray[Any], suffix: str, **options: Any) -> bytes:
    image = pyvips.Image.new_from_array(pixels)
    if pixels.dtype == np.uint16:
        image = image.copy(interpretation="rgb16" if pixels.ndim == 3 else "grey16")
    return bytes(image.write_to_buffer(suffix, **options))


def palette(**options: object) -> bytes:
    image = Image.fromarray(GREY % 4, "P")
    image.putpalette(FOUR.ravel().tolist())
    return by_pillow(image, "PNG", **options)


def on_white(colours: NDArray[Any], opacity: NDArray[Any] = OPACITY) -> NDArray[np.float64]:
    weight = opacity[..., None] / 255
    return np.asarray(colours * weight + 255 * (1 - weight))


PREMULTIPLIED = np.rint(COLOURS * (OPACITY[..., None] / 255)).astype(np.uint8)
FOUR_OPACITIES = np.array([0, 255, 128, 255])[GREY % 4]
SIXTEEN, TRANSPARENT, BLACK_AND_WHITE = "16 bits per channel", "not opaque", "1 bit per pixel"

AS_STORED: dict[str, tuple[bytes | bytearray, NDArray[Any]]] = {
    "png-opencv": (by_opencv(COLOURS, ".png"), COLOURS),
    "png-vips-interlaced": (by_vips(COLOURS, ".png", interlace=True), COLOURS),
    "png-imagecodecs-grey": (imagecodecs.png_encode(GREY), GREYS),
    "png-pillow-palette": (palette(), FOUR[GREY % 4]),
    "png-pillow-palette-opaque": (palette(transparency=b"\xff\xff\xff\xff"), FOUR[GREY % 4]),
    "png-pillow-palette-unused": (palette(transparency=7), FOUR[GREY % 4]),
    "png-opaque": (by_pillow(np.dstack([COLOURS, np.full_like(GREY, 255)]), "PNG"), COLOURS),
    "tiff-planes": (
        by_tifffile(np.moveaxis(COLOURS, -1, 0), photometric="rgb", planarconfig="separate"),
        COLOURS,
    ),
    "tiff-zstd": (by_tifffile(COLOURS, photometric="rgb", compression="zstd"), COLOURS),
    "tiff-lzw-tiles": (
        by_tifffile(COLOURS, photometric="rgb", compression="lzw", predictor=True, tile=(16, 16)),
        COLOURS,
    ),
    "tiff-strips": (by_tifffile(COLOURS, photometric="rgb", rowsperstrip=5), COLOURS),
    "tiff-opencv": (by_opencv(COLOURS, ".tiff"), COLOURS),
    "tiff-pyramid": (by_vips(LARGE, ".tif", tile=True, pyramid=True, tile_width=64, tile_height=64), LARGE),
    "tiff-pyramid-below": (
        by_vips(LARGE, ".tif", tile=True, pyramid=True, subifd=True, tile_width=64, tile_height=64),
        LARGE,
    ),
    "webp-vips": (by_vips(COLOURS, ".webp", lossless=True), COLOURS),
    "webp-opencv": (by_opencv(COLOURS, ".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]), COLOURS),
    "bmp-opencv": (by_opencv(COLOURS, ".bmp"), COLOURS),
    "jpeg-lossless": (imagecodecs.jpeg_encode(COLOURS, lossless=True), COLOURS),
}

CONVERTED: dict[str, tuple[bytes | bytearray, NDArray[Any], str]] = {
    "png-pillow-alpha": (by_pillow(RGBA, "PNG"), on_white(COLOURS), TRANSPARENT),
    "png-opencv-alpha": (by_opencv(RGBA, ".png"), on_white(COLOURS), TRANSPARENT),
    "png-vips-alpha-interlaced": (by_vips(RGBA, ".png", interlace=True), on_white(COLOURS), TRANSPARENT),
    "png-grey-alpha": (by_pillow(GREY_ALPHA, "PNG"), on_white(GREYS), TRANSPARENT),
    "png-grey-alpha-16": (imagecodecs.png_encode(GREY_ALPHA.astype(np.uint16) * 257), on_white(GREYS), SIXTEEN),
    "png-opencv-16": (by_opencv(WIDE, ".png"), COLOURS, SIXTEEN),
    "png-imagecodecs-16": (imagecodecs.png_encode(WIDE), COLOURS, SIXTEEN),
    "png-vips-16": (by_vips(WIDE, ".png"), COLOURS, SIXTEEN),
    "png-grey-16": (by_opencv(WIDE_GREY, ".png"), GREYS, SIXTEEN),
    "png-grey-12-in-16": (by_opencv(GREY.astype(np.uint16) << 4, ".png"), GREYS * (16 * 255 / 4095), SIXTEEN),
    "png-grey-8-in-16": (by_opencv(GREY.astype(np.uint16), ".png"), GREYS, SIXTEEN),
    "png-palette-alpha": (
        palette(transparency=bytes([0, 255, 128, 255])),
        on_white(FOUR[GREY % 4], FOUR_OPACITIES),
        TRANSPARENT,
    ),
    "png-grey-value": (
        by_pillow(GREY, "PNG", transparency=int(GREY[1, 1])),
        on_white(GREYS, np.where(GREY[1, 1] == GREY, 0, 255)),
        TRANSPARENT,
    ),
    "png-colour-value": (
        by_pillow(COLOURS, "PNG", transparency=tuple(map(int, COLOURS[1, 1]))),
        on_white(COLOURS, np.where((COLOURS[1, 1] == COLOURS).all(2), 0, 255)),
        TRANSPARENT,
    ),
    "png-bilevel": (by_pillow(GREY > 127, "PNG"), (GREYS > 127) * 255, BLACK_AND_WHITE),
    "tiff-16": (by_tifffile(WIDE, photometric="rgb"), COLOURS, SIXTEEN),
    "tiff-16-big-endian": (by_tifffile(WIDE, photometric="rgb", byteorder=">"), COLOURS, SIXTEEN),
    "tiff-16-opencv": (by_opencv(WIDE, ".tiff"), COLOURS, SIXTEEN),
    "tiff-grey-16": (by_tifffile(WIDE_GREY), GREYS, SIXTEEN),
    "tiff-grey-12-in-16": (by_tifffile(GREY.astype(np.uint16) << 4), GREYS * (16 * 255 / 4095), SIXTEEN),
    "tiff-white-is-0": (by_tifffile(255 - GREY, photometric="miniswhite"), GREYS, "0 is white"),
    "tiff-white-is-0-16": (by_tifffile(65535 - WIDE_GREY, photometric="miniswhite"), GREYS, "0 is white"),
    "tiff-alpha": (
        by_tifffile(RGBA, photometric="rgb", extrasamples=["unassalpha"]),
        on_white(COLOURS),
        TRANSPARENT,
    ),
    "tiff-alpha-premultiplied": (
        by_tifffile(np.dstack([PREMULTIPLIED, OPACITY]), photometric="rgb", extrasamples=["assocalpha"]),
        PREMULTIPLIED + 255.0 - OPACITY[..., None],
        TRANSPARENT,
    ),
    "tiff-fourth-channel": (
        by_tifffile(RGBA, photometric="rgb", extrasamples=["unspecified"]),
        COLOURS,
        "4 channels",
    ),
    "tiff-cmyk": (by_pillow(Image.fromarray(COLOURS).convert("CMYK"), "TIFF"), COLOURS, "CMYK"),
    "webp-alpha": (
        by_pillow(RGBA, "WEBP", lossless=True, exact=True),
        on_white(COLOURS),
        TRANSPARENT,
    ),
    "bmp-alpha": (by_opencv(RGBA, ".bmp"), on_white(COLOURS), TRANSPARENT),
    "bmp-bilevel": (by_pillow(GREY > 127, "BMP"), (GREYS > 127) * 255, BLACK_AND_WHITE),
    "jpeg-cmyk": (
        by_pillow(Image.new("RGB", (16, 16), (90, 90, 90)).convert("CMYK"), "JPEG", quality=95),
        np.full((16, 16, 3), 90),
        "CMYK",
    ),
}

REFUSED: dict[str, tuple[bytes | bytearray, str]] = {
    "tiff-float": (by_tifffile(GREY / np.float32(255)), "floating-point values"),
    "tiff-signed": (by_tifffile(GREY.astype(np.int16)), "values with a sign"),
    "tiff-32": (by_tifffile(GREY.astype(np.uint32)), "values of 32 bits"),
    "tiff-lab": (by_pillow(Image.new("LAB", (8, 8)), "TIFF"), "CIELAB colours"),
    "tiff-three-pages": (by_tifffile(np.moveaxis(COLOURS, -1, 0), photometric="minisblack"), "merge them to RGB"),
    "tiff-two-pages": (by_tifffile(np.stack([COLOURS] * 2), photometric="rgb"), "keep the page that is meant"),
    "jpeg-12": (imagecodecs.jpeg_encode(WIDE >> 4, bitspersample=12), "a JPEG of 12 bits per channel"),
    "png-16-dark": (by_opencv(WIDE_GREY // 50, ".png"), "nothing tells how bright"),
    "tiff-16-dark": (by_tifffile(WIDE // 5, photometric="rgb"), "nothing tells how bright"),
}


def converted(content: bytes) -> str | None:
    """What the audit says of an image: from its header, or from its pixels where only they tell."""
    header = check_image(content)
    return show_image(content, header).converted if header.doubtful else header.converted


@pytest.mark.parametrize(("content", "expected"), AS_STORED.values(), ids=AS_STORED)
def test_sound_images_are_seen_as_they_are_stored(content: bytes, expected: NDArray[Any]) -> None:
    np.testing.assert_array_equal(decode_rgb(content), expected)
    assert converted(content) is None


@pytest.mark.parametrize(("content", "expected", "reason"), CONVERTED.values(), ids=CONVERTED)
def test_what_is_converted_is_seen_as_viewers_show_it_and_told(
    content: bytes, expected: NDArray[Any], reason: str
) -> None:
    np.testing.assert_allclose(decode_rgb(content), expected, atol=1.01)
    told = converted(content)
    assert told is not None
    assert reason in told
    assert told.count("; ") == 1


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_shown_right_is_refused_with_advice(content: bytes, reason: str) -> None:
    for read in (decode_rgb, converted):
        with pytest.raises(UnreadableFileError, match=reason) as caught:
            read(content)
        assert str(caught.value).count("; ") == 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([8, 10, 12, 14, 16]), hnp.arrays(np.uint16, (5, 7)))
def test_sixteen_bits_are_scaled_by_the_depth_that_they_fill(depth: int, pixels: NDArray[np.uint16]) -> None:
    values = pixels >> (16 - depth)
    values[0, 0] = 2**depth - 1
    shown = show(values, alpha=False, bits=16).pixels
    np.testing.assert_allclose(shown[..., 0], values * (255 / (2**depth - 1)), atol=0.51)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, (4, 6, 4)))
def test_opaque_pixels_stay_and_transparent_ones_are_white(pixels: NDArray[np.uint8]) -> None:
    shown = show(pixels, alpha=True).pixels
    np.testing.assert_array_equal(shown[pixels[..., 3] == 255], pixels[pixels[..., 3] == 255, :3])
    assert (shown[pixels[..., 3] == 0] == 255).all()
    np.testing.assert_allclose(shown, on_white(pixels[..., :3], pixels[..., 3]), atol=0.51)
