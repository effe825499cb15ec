"""JPEG: pixels are those of libjpeg, and strict decoding refuses what others paint grey."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images.codecs import jpeg
from tests.histods.checks.mask_files import photograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

TISSUE = photograph(1, 61, 83)
OPTIONS: dict[str, dict[str, Any]] = {
    "4:2:0": {"subsampling": 2},
    "4:4:4": {"subsampling": 0, "quality": 95},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "low quality": {"quality": 5},
}


def encode(pixels: NDArray[np.uint8] | Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("grey", [False, True])
def test_pixels_are_those_that_pillow_decodes(option: str, grey: bool) -> None:
    content = encode(TISSUE[..., 1].copy() if grey else TISSUE, **OPTIONS[option])
    header, kind = jpeg.identify(content)
    assert (kind, header.width, header.height) == ("gray8" if grey else "rgb", 83, 61)
    assert header == jpeg.check(content)
    expected = np.asarray(Image.open(io.BytesIO(content))).astype(int)
    assert np.abs(jpeg.read(content, header, kind).pixels - expected).max() <= 1
    shown = jpeg.show(content, header)
    np.testing.assert_array_equal(shown.pixels, np.dstack([expected] * 3) if grey else expected)
    assert shown.converted is None
    jpeg.decode(content, header)


def test_cmyk_and_lossless_files_are_shown() -> None:
    content = encode(Image.new("RGB", (16, 8), (90, 90, 90)).convert("CMYK"), quality=95)
    assert np.abs(jpeg.show(content, jpeg.check(content)).pixels.astype(int) - 90).max() <= 1
    lossless = bytes(imagecodecs.jpeg_encode(TISSUE, lossless=True))
    np.testing.assert_array_equal(jpeg.show(lossless, jpeg.check(lossless)).pixels, TISSUE)


def test_missing_data_that_pillow_paints_grey_are_refused() -> None:
    content = encode(TISSUE)
    start = content.index(b"\xff\xda")
    for kept in (0.3, 0.6, 0.9):
        torn = content[: start + int(kept * (len(content) - start))] + b"\xff\xd9"
        header = jpeg.check(torn)  # its structure is whole
        for read in (jpeg.decode, lambda data, known: jpeg.read(data, known, "rgb")):
            with pytest.raises(UnreadableFileError, match="^damaged JPEG data: "):
                read(torn, header)


def test_damage_in_the_header_is_named_in_one_line() -> None:
    content = bytearray(encode(TISSUE))
    place = content.index(b"\xff\xc0")
    content[place + 4] = 7  # bits per sample
    with pytest.raises(UnreadableFileError) as refused:
        jpeg.identify(bytes(content))
    assert "\n" not in str(refused.value)
