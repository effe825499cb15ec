"""Quality and chroma subsampling of a JPEG: what encoders were told, read back from the file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histods.images.jpeg_tables import read_compression

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def encode(pixels: NDArray[np.uint8] = PIXELS, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


@given(
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    progressive=st.booleans(),
    exif=st.booleans(),
)
def test_what_pillow_was_told_is_read_back(quality: int, subsampling: str, progressive: bool, exif: bool) -> None:
    more: dict[str, Any] = {"exif": b"Exif\0\0" + bytes(2000)} if exif else {}
    content = encode(quality=quality, subsampling=subsampling, progressive=progressive, **more)
    assert read_compression(content) == (quality, subsampling)


@pytest.mark.parametrize("subsampling", ["444", "422", "440", "420", "411"])
def test_what_other_encoders_were_told_is_read_back(subsampling: str) -> None:
    content = simplejpeg.encode_jpeg(PIXELS, quality=83, colorsubsampling=subsampling)
    assert read_compression(content) == (83, ":".join(subsampling))
    _, found = cv2.imencode(".jpg", PIXELS, [cv2.IMWRITE_JPEG_QUALITY, 61])
    assert read_compression(found.tobytes()) == (61, "4:2:0")


def test_grey_and_cmyk_have_no_subsampling() -> None:
    assert read_compression(encode(PIXELS[..., 0], quality=70)) == (70, None)
    cmyk = io.BytesIO()
    Image.fromarray(PIXELS).convert("CMYK").save(cmyk, "JPEG", quality=70)
    assert read_compression(cmyk.getvalue()) == (70, None)


def test_tables_of_an_encoder_s_own_are_named_by_the_nearest_quality() -> None:
    image = Image.open(io.BytesIO(encode(quality=80)))
    assert hasattr(image, "quantization")
    tables = {number: [min(value + 1, 255) for value in table] for number, table in image.quantization.items()}
    quality = read_compression(encode(qtables=tables)).quality
    assert quality is not None
    assert 75 <= quality <= 80


@given(st.binary(max_size=200), st.integers(0, 700))
def test_damage_never_raises(noise: bytes, place: int) -> None:
    content = encode(quality=50)
    read_compression(content[:place])
    read_compression(content[:place] + noise + content[place + len(noise) :])
