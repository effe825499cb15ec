"""Values that mean nothing, or the opposite of what a viewer shows, by several encoders; sound ones beside."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from tests.histods.checks.mask_files import (
    codecs_png,
    opencv,
    photograph,
    pillow,
    regions,
    tiff,
    vips,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[Any]
    Judge = Callable[..., dict[str, dict[str, str]]]

TWO, THREE = regions(1, (0, 1)), regions(2, (0, 1, 2))
GREY = cv2.cvtColor(photograph(3), cv2.COLOR_RGB2GRAY)
TABLE = np.array([(255, 255, 255), (220, 0, 0), (0, 160, 0)], dtype=np.uint8)
COLOURS = {0: (255, 255, 255), 1: (220, 0, 0), 2: (0, 160, 0)}


@pytest.mark.parametrize(
    "content",
    [
        tiff(TWO == 0, photometric="miniswhite"),
        tiff(TWO, photometric="miniswhite"),
        tiff(THREE, photometric="miniswhite", compression="deflate"),
        tiff(THREE.astype(np.uint16), photometric="miniswhite"),
        tiff(THREE, photometric="miniswhite", bigtiff=True),
        pillow(Image.fromarray(TWO * 255).convert("1"), "TIFF", compression="group4", tiffinfo={262: 0}),
        pillow(Image.fromarray(THREE), "TIFF", tiffinfo={262: 0}),
        vips(TWO * 255, ".tif", miniswhite=True, bitdepth=1),
        vips(THREE, ".tif", miniswhite=True, compression="lzw"),
        tiff(np.zeros((9, 9), np.uint8), photometric="miniswhite"),
    ],
)
def test_a_tiff_whose_zero_is_white_is_told(judge_files: Judge, content: bytes) -> None:
    assert "the TIFF stores 0 as white" in judge_files({"m.tif": content})["m.tif"]["inverted_mask"]


@pytest.mark.parametrize(
    "content",
    [
        tiff(TWO == 0, photometric="minisblack"),
        tiff(THREE, photometric="minisblack", compression="lzw"),
        pillow(THREE, "TIFF", compression="tiff_lzw"),
        opencv(THREE, ".tif"),
        vips(THREE, ".tif", compression="deflate"),
        vips(THREE, ".webp", lossless=True),
        pillow(THREE, "WEBP", lossless=True),
        tiff(THREE, compression="zstd"),
        pillow(THREE, "TIFF", compression="packbits"),
    ],
)
def test_sound_masks_of_other_formats_have_no_finding(judge_files: Judge, content: bytes) -> None:
    assert set(judge_files({"m.tif": content})["m.tif"]) <= {"suffix_mismatch"}


@pytest.mark.parametrize(
    ("content", "how"),
    [
        (pillow(THREE * 60, "JPEG"), "JPEG"),
        (opencv(THREE * 60, ".jpg"), "JPEG"),
        (pillow(THREE * 60, "TIFF", compression="jpeg", quality=80), "JPEG inside TIFF"),
        (vips(THREE * 60, ".tif", compression="jpeg", Q=75), "JPEG inside TIFF"),
        (tiff(THREE * 60, compression="jpeg"), "JPEG inside TIFF"),
        (vips(TABLE[THREE], ".tif", compression="jpeg", tile=True), "JPEG inside TIFF"),
        (tiff(THREE * 60, compression="jpeg2000", compressionargs={"level": 40}), "lossy JPEG 2000 inside TIFF"),
        (pillow(TABLE[THREE], "WEBP", quality=80), "lossy WebP"),
        (vips(THREE * 60, ".webp", Q=90), "lossy WebP"),
        (bytes(imagecodecs.webp_encode(TABLE[THREE], level=70, lossless=False)), "lossy WebP"),
        (
            pillow(Image.fromarray(TABLE[THREE]), "WEBP", quality=90, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
            "lossy WebP",
        ),
    ],
)
def test_lossy_compression_is_told_wherever_it_hides(judge_files: Judge, content: bytes, how: str) -> None:
    message = judge_files({"m.tif": content})["m.tif"]["lossy_mask"]
    assert message.startswith(f"mask is stored as {how}, which invents labels along edges; ")


def rgba(labels: Pixels, ground: tuple[int, int, int], hidden: int = 0) -> Pixels:
    """Classes 1 and 2 opaque in their colours, label 0 transparent over `ground`."""
    pixels = np.dstack([TABLE[labels], np.where(labels == 0, hidden, 255)]).astype(np.uint8)
    pixels[labels == 0, :3] = ground
    return pixels


OVER_WHITE = rgba(THREE, (255, 255, 255))
OVER_COLOURS = np.dstack([TABLE[THREE], np.where(THREE == 1, 0, 255)]).astype(np.uint8)
ERASED = rgba(THREE, (220, 0, 0))
PAINTED_UNDER = OVER_WHITE.copy()
PAINTED_UNDER[:20, :, :3] = TABLE[1]
ALPHA_ONLY = np.dstack([np.zeros((60, 80, 3), np.uint8), THREE])
ALPHA_BINARY = np.dstack([np.full((60, 80, 3), 255, np.uint8), np.where(THREE == 1, 255, 0)]).astype(np.uint8)
INVISIBLE = np.dstack([TABLE[THREE], np.zeros_like(THREE)])


@pytest.mark.parametrize(
    "encode", [pillow, opencv, vips, codecs_png, lambda pixels: tiff(pixels, photometric="rgb")]
)
@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (ERASED, "is visible, and also lies under full transparency"),
        (PAINTED_UNDER, "lie under full transparency, where no viewer shows them"),
        (ALPHA_ONLY, "every pixel has one colour and the transparency varies from 0 to 2"),
        (ALPHA_BINARY, "every pixel has one colour and the transparency varies from 0 to 255"),
        (INVISIBLE, "every pixel is fully transparent"),
    ],
    ids=["erased", "painted under", "alpha only", "alpha binary", "invisible"],
)
def test_labels_in_or_under_transparency_are_refused(
    judge_files: Judge, encode: Callable[[Pixels], bytes], pixels: Pixels, reason: str
) -> None:
    for colours in (None, COLOURS, COLOURS | {3: (0, 0, 0)}):
        assert reason in judge_files({"m.png": encode(pixels)}, colours)["m.png"]["not_an_index_mask"]


@pytest.mark.parametrize("encode", [pillow, opencv, vips, codecs_png])
@pytest.mark.parametrize(
    ("pixels", "colours"),
    [
        (OVER_WHITE, COLOURS),
        (rgba(THREE, (0, 0, 0)), COLOURS | {0: (0, 0, 0)}),
        (np.dstack([TABLE[THREE], np.full_like(THREE, 255)]), COLOURS),
        (np.dstack([TABLE[THREE], np.full_like(THREE, 128)]), COLOURS),  # one opacity for all, as overlays have it
        (np.dstack([THREE] * 3 + [np.full_like(THREE, 255)]), None),
        (np.zeros((60, 80, 4), np.uint8), None),  # a drawing without a class
        (np.dstack([np.full((60, 80, 3), 255, np.uint8), np.zeros_like(THREE)]), COLOURS),
    ],
    ids=["white ground", "black ground", "opaque", "half opaque", "grey", "empty", "empty over white"],
)
def test_transparency_that_hides_nothing_is_read(
    judge_files: Judge, encode: Callable[[Pixels], bytes], pixels: Pixels, colours: Any
) -> None:
    assert judge_files({"m.png": encode(pixels)}, colours)["m.png"] == {}


def test_grey_with_its_labels_in_the_transparency_is_refused(judge_files: Judge) -> None:
    both = np.dstack([np.zeros_like(THREE), THREE])
    for content in (pillow(Image.fromarray(both, "LA")), vips(both), codecs_png(both)):
        assert "-alpha extract" in judge_files({"m.png": content})["m.png"]["not_an_index_mask"]


SOFT = cv2.GaussianBlur(GREY, (0, 0), 2)
GLASS = np.where(np.median(GREY) < GREY, 255, GREY).astype(np.uint8)  # half of the patch holds no tissue


@pytest.mark.parametrize(
    "content",
    [
        pillow(GREY),
        opencv(GREY, ".tif"),
        vips(GREY, ".tif", compression="lzw"),
        codecs_png(GREY),
        pillow(GREY, "BMP"),
        pillow(GREY, "JPEG", quality=60),
        vips(GREY, ".jpg"),
        pillow(np.dstack([GREY] * 3)),
        codecs_png(GREY.astype(np.uint16) * 257),
        tiff(GREY.astype(np.uint16) << 4),
        pillow(Image.fromarray(photograph(3)).quantize(200)),
        pillow(Image.fromarray(photograph(3)).quantize(16)),
        vips(photograph(3), ".png", palette=True, Q=100),
        pillow(Image.fromarray(photograph(3)).quantize(64), "BMP"),
        pillow(Image.fromarray(photograph(3)).convert("P")),  # dithered in the colours of the web
        pillow(Image.fromarray(photograph(4)).convert("P"), "TIFF"),
        opencv(SOFT),
        pillow(SOFT, "TIFF"),
        pillow(GLASS),
        pillow(GLASS, "JPEG", quality=90),
    ],
)
def test_a_photograph_is_no_mask(judge_files: Judge, content: bytes) -> None:
    reason = judge_files({"m.png": content})["m.png"]["not_an_index_mask"]
    assert "as in a photograph; put the mask in place of this picture" in reason


def after_jpeg(mask: Pixels, quality: int = 75) -> Pixels:
    """The mask as a JPEG file keeps it."""
    return np.asarray(Image.open(io.BytesIO(pillow(mask, "JPEG", quality=quality))))


WIDE = regions(4, tuple(range(74)), height=256, width=256, smooth=12)


@pytest.mark.parametrize(
    "pixels",
    [
        WIDE,
        regions(5, tuple(range(0, 222, 3)), height=256, width=256, smooth=10),
        cv2.resize(WIDE, (128, 128), interpolation=cv2.INTER_NEAREST),
        after_jpeg(regions(6, (0, 90, 180, 250), smooth=9)),
        after_jpeg(regions(6, (0, 255), smooth=2, height=256, width=256), 60),
        np.random.default_rng(1).integers(0, 9, (64, 64)).astype(np.uint8),
    ],
    ids=["74 classes", "steps of 3", "halved", "after JPEG", "small nuclei after JPEG", "noise"],
)
def test_masks_of_many_labels_are_no_photographs(judge_files: Judge, pixels: Pixels) -> None:
    assert "not_an_index_mask" not in judge_files({"m.png": pillow(pixels)})["m.png"]


@pytest.mark.parametrize("encode", [pillow, opencv, vips, codecs_png, lambda pixels: pillow(pixels, "BMP")])
@pytest.mark.parametrize("coloured", [1, 40])
def test_grey_with_a_few_coloured_pixels_is_not_read_as_labels(
    judge_files: Judge, encode: Callable[[Pixels], bytes], coloured: int
) -> None:
    pixels = np.dstack([THREE] * 3)
    pixels[5, :coloured] = (1, 0, 0)
    message = judge_files({"m.png": encode(pixels)})["m.png"]["not_an_index_mask"]
    assert "RGB colours and no labels file" in message
    assert "--write-labels FILE" in message


@pytest.mark.parametrize("encode", [pillow, opencv, vips, codecs_png, lambda pixels: pillow(pixels, "BMP")])
@pytest.mark.parametrize("greys", [(0, 85, 170), (0, 127, 255), (0, 64, 128, 192), (0, 50, 100)])
def test_greys_for_the_eye_stored_as_rgb_are_scaled_labels(
    judge_files: Judge, encode: Callable[[Pixels], bytes], greys: tuple[int, ...]
) -> None:
    masks = {f"t{n}.png": encode(np.dstack([regions(n, greys)] * 3)) for n in range(6)}
    assert all("scaled_mask" in codes for codes in judge_files(masks).values())
