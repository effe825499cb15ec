"""Images at reduced scale: the size, and the same picture as reducing the whole one."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images.reader import check_image, decode_rgb
from histods.images.reduced import reduce_image
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
