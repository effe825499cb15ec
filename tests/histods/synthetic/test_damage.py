"""Damage is what it says: other decoders fail on it, or are told of gigapixels, and the rest is as it was."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from histods.synthetic.damage import (
    BOMB_SIDE,
    TEXT,
    flipped_bit,
    jpeg_bomb,
    png_bomb,
    png_chunk,
    truncated,
    without_end,
)
from histods.synthetic.files import encode

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
PNG, JPEG = encode(PIXELS, ".png"), encode(PIXELS, ".jpg")


def test_one_bit_is_another_and_its_checksum_is_wrong() -> None:
    damaged = flipped_bit(PNG)
    (place,) = [place for place, (one, other) in enumerate(zip(PNG, damaged, strict=True)) if one != other]
    assert (PNG[place] ^ damaged[place]).bit_count() == 1
    with Image.open(io.BytesIO(damaged)) as image, pytest.raises((SyntaxError, OSError)):
        image.load()


@pytest.mark.parametrize("content", [truncated(PNG), truncated(JPEG), truncated(b""), TEXT])
def test_no_decoder_gives_an_image_of_half_a_file_or_a_page(content: bytes) -> None:
    with pytest.raises(OSError, match="cannot identify|truncated"):
        Image.open(io.BytesIO(content)).load()


def test_only_the_end_chunk_is_missing() -> None:
    assert without_end(PNG) + png_chunk(b"IEND", b"") == PNG


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("bomb", [png_bomb(), jpeg_bomb(JPEG)], ids=["png", "jpeg"])
def test_a_bomb_is_small_and_claims_gigapixels(monkeypatch: pytest.MonkeyPatch, bomb: bytes) -> None:
    assert len(bomb) < 10_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(bomb))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert Image.open(io.BytesIO(bomb)).size == (BOMB_SIDE, BOMB_SIDE)


def test_every_chunk_of_the_png_bomb_has_a_sound_checksum() -> None:
    """Else a reader would refuse it for that, and not for its size."""
    bomb, place, kinds = png_bomb(), 8, []
    while place < len(bomb):
        (length,) = struct.unpack_from(">I", bomb, place)
        content = bomb[place + 4 : place + 8 + length]
        assert struct.unpack_from(">I", bomb, place + 8 + length) == (zlib.crc32(content),)
        kinds.append(content[:4])
        place += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
