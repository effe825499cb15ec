"""WebP: pixels are those that were stored without loss, and the header promises no more than there is."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images.codecs import webp

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode(pixels: NDArray[np.uint8], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", **({"lossless": True, "exact": True} | options))
    return buffer.getvalue()


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9).map(lambda shape: (*shape, 3))))
def test_lossless_colours_come_back(pixels: NDArray[np.uint8]) -> None:
    content = encode(pixels)
    header, kind = webp.identify(content)
    assert (kind, header.format, header.pages, header.doubtful) == ("rgb", "webp", 1, False)
    assert header == webp.check(content)
    np.testing.assert_array_equal(webp.read(content, header, kind).pixels, pixels)
    np.testing.assert_array_equal(webp.show(content, header).pixels, pixels)
    by_opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert by_opencv is not None
    np.testing.assert_array_equal(by_opencv[..., ::-1], pixels)


def test_opacity_is_a_channel_of_a_mask_and_white_below_an_image() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., :3], pixels[0, :, 3] = (200, 10, 60), 255
    content = encode(pixels)
    header, kind = webp.identify(content)
    assert (kind, header.doubtful) == ("rgba", True)
    np.testing.assert_array_equal(webp.read(content, header, kind).pixels, pixels)
    shown = webp.show(content, header)
    assert shown.pixels.tolist() == [[[200, 10, 60]] * 2, [[255] * 3] * 2]
    assert shown.converted is not None


def test_an_animation_is_its_first_picture_and_is_told() -> None:
    first, second = (Image.new("RGB", (4, 4), (value, 0, 0)) for value in (10, 250))
    buffer = io.BytesIO()
    first.save(buffer, "WEBP", save_all=True, append_images=[second], lossless=True)
    header = webp.check(buffer.getvalue())
    assert header.pages == 2
    assert header.converted is not None
    assert "an animation of 2 pictures" in header.converted
    assert (webp.show(buffer.getvalue(), header).pixels == (10, 0, 0)).all()


def test_a_file_that_is_shorter_than_it_says_is_truncated_and_padding_is_none() -> None:
    content = encode(np.zeros((8, 8, 3), np.uint8))
    longer = content[:4] + struct.pack("<I", len(content) + 92) + content[8:]
    with pytest.raises(UnreadableFileError, match="^truncated: the webp header promises 100 more bytes"):
        webp.check(longer)
    assert webp.check(content + bytes(9)) == webp.check(content)


@pytest.mark.parametrize("place", [12, 20, 24])
def test_damage_is_named_in_one_line(place: int) -> None:
    damaged = bytearray(encode(np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8)))
    damaged[place] ^= 0xFF
    with pytest.raises(UnreadableFileError) as refused:
        webp.decode(bytes(damaged), webp.check(bytes(damaged)))
    assert "\n" not in str(refused.value)
    assert " object at " not in str(refused.value)
