"""Images at reduced scale: the size, and the same picture as reducing the whole one."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images.header import Header
from histods.images.reader import check_image, decode_rgb
from histods.images.reduced import CELL, Picture, cell_variance, reduce_image
from histods.synthetic.tissue import make_patch

TISSUE = cv2.resize(make_patch(1, 2, size=512).image, (1100, 1030))


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize(
    ("size", "reduced"),
    [
        ((1, 1), (1, 1)),
        ((1, 300), (1, 300)),
        ((511, 600), (511, 600)),
        ((512, 512), (256, 256)),
        ((700, 513), (350, 257)),
        ((1030, 1100), (258, 275)),
    ],
)
def test_the_shorter_side_keeps_256_pixels_in_all_formats(
    kind: str, size: tuple[int, int], reduced: tuple[int, int]
) -> None:
    content = encode(Image.fromarray(TISSUE[: size[0], : size[1]]), kind)
    shown = reduce_image(content, check_image(content))
    assert shown.pixels.shape == (*reduced, 3)
    assert shown.pixels.dtype == np.uint8
    assert shown.converted is None
    area = cv2.resize(decode_rgb(content), reduced[::-1], interpolation=cv2.INTER_AREA)
    difference = np.abs(shown.pixels.astype(int) - area)
    assert difference.mean() < 3


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpeg_of_other_colours_is_decoded_too(mode: str) -> None:
    content = encode(Image.fromarray(TISSUE[:600, :600]).convert(mode), "JPEG")
    shown = reduce_image(content, check_image(content))
    assert shown.pixels.shape == (300, 300, 3)
    assert (shown.converted is None) == (mode == "L")


def test_damage_of_pixels_is_told() -> None:
    for kind in ("JPEG", "PNG"):
        content = bytearray(encode(Image.fromarray(TISSUE), kind))
        header = check_image(bytes(content))
        middle = len(content) // 2
        content[middle : middle + 400] = b"\xff\x3f" * 200
        with pytest.raises(UnreadableFileError):
            reduce_image(bytes(content), header)


@settings(max_examples=40, deadline=None)
@given(st.integers(CELL, 70), st.integers(CELL, 300), st.integers(0, 99))
def test_cells_are_means_of_their_pixels(height: int, width: int, seed: int) -> None:
    """Bytes are rounded at each of two halvings, up where in the middle."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    picture = Picture(pixels, Header(format="png", width=width, height=height), b"")

    def means(values: np.ndarray) -> np.ndarray:
        rows, columns = height // CELL, width // CELL
        whole = values[: rows * CELL, : columns * CELL].astype(np.float64)
        return np.asarray(whole.reshape(rows, CELL, columns, CELL, *values.shape[2:]).mean(axis=(1, 3)))

    beyond = picture.cells - means(pixels)
    assert beyond.min() >= -0.5
    assert beyond.max() <= 1
    luma = picture.grey.astype(np.float64)
    np.testing.assert_allclose(picture.luma_means[0], means(luma), atol=1e-3)
    np.testing.assert_allclose(cell_variance(picture), means(luma**2) - means(luma) ** 2, atol=0.05)
