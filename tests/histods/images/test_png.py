"""PNG: samples of every kind come back as stored, and missing pixels are damage and never label 0."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from histods.errors import UnreadableFileError
from histods.images.png import check_png, decode_png, read_palette, read_transparency
from histods.images.reader import check_image, decode_image, decode_mask, decode_rgb
from tests.histods.images.made_png import ADAM7, CHANNELS, MODES, WIDE, chunk, pixel_rows, write_png

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def encode(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def filtered(samples: NDArray[Any], depth: int, kind: int) -> bytes:
    """Rows of [height, width, channels] samples with the filter None (0), Sub (1) or Up (2)."""
    height = len(samples)
    if depth == 16:
        packed = samples.reshape(height, -1).astype(">u2").view(np.uint8)
    else:
        bits = np.unpackbits(samples.astype(np.uint8).reshape(height, -1, 1), axis=2)[..., 8 - depth :]
        packed = np.packbits(bits.reshape(height, -1), axis=1)
    back = max(1, samples.shape[2] * depth // 8)
    left = np.pad(packed, ((0, 0), (back, 0)))[:, : packed.shape[1]]
    above = np.pad(packed, ((1, 0), (0, 0)))[:height]
    rows = packed - (np.zeros_like(packed), left, above)[kind]
    return b"".join(bytes([kind]) + row.tobytes() for row in rows)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(MODES), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2), st.integers(0, 99))
def test_samples_of_every_kind_come_back_as_stored(
    mode: tuple[int, int, bool], width: int, height: int, kind: int, seed: int
) -> None:
    colour, depth, interlaced = mode
    samples = np.random.default_rng(seed).integers(0, 2**depth, (height, width, CHANNELS[colour]))
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    parts = [samples[top::down, left::right] for left, top, right, down in passes]
    data = zlib.compress(b"".join(filtered(part, depth, kind) for part in parts if part.size))
    content = write_png(data, mode, size=(width, height))
    found = decode_png(content, check_png(content))
    np.testing.assert_array_equal(found.reshape(samples.shape), samples)
    assert found.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert found.ndim == (2 if CHANNELS[colour] == 1 else 3)


DAMAGE: dict[str, tuple[str, Callable[[bytes, int], bytes]]] = {
    "half of the rows": ("rows are missing", lambda rows, row: zlib.compress(rows[: len(rows) // 2 // row * row])),
    "no last row": ("rows are missing", lambda rows, row: zlib.compress(rows[:-row])),
    "no last byte": ("rows are missing", lambda rows, _: zlib.compress(rows[:-1])),
    "no rows at all": ("rows are missing", lambda _, __: zlib.compress(b"")),
    "twice the rows": ("more rows than", lambda rows, _: zlib.compress(rows * 2)),
    "one row more": ("more rows than", lambda rows, row: zlib.compress(rows + rows[:row])),
    "wrong Adler-32": (
        r"checksum of its pixel data \(Adler-32\) is wrong",
        lambda rows, _: zlib.compress(rows)[:-4] + b"\0\1\2\3",
    ),
    "no Adler-32": (r"ends without its checksum \(Adler-32\)", lambda rows, _: zlib.compress(rows)[:-4]),
    "half an Adler-32": (r"ends without its checksum \(Adler-32\)", lambda rows, _: zlib.compress(rows)[:-2]),
    "a stream cut short": ("missing|checksum", lambda rows, _: zlib.compress(rows, 0)[:-40]),
    "no stream": ("rows are missing", lambda _, __: b""),
}


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("kind", DAMAGE)
def test_pixel_data_that_are_not_whole_are_damage(kind: str, mode: tuple[int, int, bool]) -> None:
    expected, damage = DAMAGE[kind]
    row = (WIDE * mode[1] * CHANNELS[mode[0]] + 7) // 8 + 1
    content = write_png(damage(pixel_rows(mode), row), mode)
    with pytest.raises(UnreadableFileError, match=f"^damaged PNG data: .*({expected})"):
        decode_image(content, check_image(content))
    with pytest.raises(UnreadableFileError, match=f"^damaged PNG data: .*({expected})"):
        decode_mask(content)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_whole_pixel_data_are_none(mode: tuple[int, int, bool]) -> None:
    content = write_png(zlib.compress(pixel_rows(mode)), mode)
    decode_image(content, check_image(content))
    assert (decode_rgb(content) == (255 if mode[0] != 3 else decode_rgb(content)[0, 0])).all()


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_missing_rows_are_no_black_margin_in_training(mode: tuple[int, int, bool]) -> None:
    rows = pixel_rows(mode, width=300, height=200)
    row = (300 * mode[1] * CHANNELS[mode[0]] + 7) // 8 + 1
    content = write_png(zlib.compress(rows[:-row]), mode, size=(300, 200))
    for read in (decode_rgb, decode_mask):
        with pytest.raises(UnreadableFileError, match="rows are missing"):
            read(content)


@pytest.mark.parametrize("label", [0, 7])
def test_masks_of_any_size_are_proved_whole(label: int) -> None:
    mode = (0, 8, False)
    rows = (b"\0" + bytes([label]) * 512) * 512
    sound = write_png(zlib.compress(rows), mode, size=(512, 512))
    assert (decode_mask(sound).labels == label).all()
    for stream in (zlib.compress(rows)[:-4], zlib.compress(rows * 2), zlib.compress(rows)[:-4] + b"\1\2\3\4"):
        with pytest.raises(UnreadableFileError, match="^damaged PNG data"):
            decode_mask(write_png(stream, mode, size=(512, 512)))


def test_every_flipped_bit_of_a_png_is_caught() -> None:
    small = encode(Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) % 3))
    for place in range(8 * 8, 8 * len(small)):
        damaged = bytearray(small)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(UnreadableFileError):
            decode_mask(bytes(damaged))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["Raw profile type exif", "Raw profile type APP1"])
@pytest.mark.parametrize("compressed", [False, True])
def test_orientation_in_the_text_of_a_png_is_found(orientation: int, name: str, compressed: bool) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = exif.tobytes()  # as ImageMagick 6 writes it
    lines = [data.hex()[place : place + 72] for place in range(0, 2 * len(data), 72)]
    texts = PngInfo()
    texts.add_text("date:create", "2020-01-01T00:00:00+00:00")
    texts.add_text(name, "\n".join(["", "exif", f"{len(data):>8}", *lines, ""]), zip=compressed)
    for mode in ("L", "P", "RGB"):
        assert check_image(encode(Image.new(mode, (8, 6)), pnginfo=texts)).orientation == orientation


@pytest.mark.parametrize("text", ["", "exif", "\nexif\n 4\nzz49", "\nexif\n 6\n4d4d002a0000", "no profile at all"])
def test_a_damaged_profile_in_the_text_of_a_png_turns_nothing(text: str) -> None:
    texts = PngInfo()
    texts.add_text("Raw profile type exif", text, zip=len(text) % 2 == 0)
    assert check_image(encode(Image.new("L", (8, 6)), pnginfo=texts)).orientation == 1


def with_chunk(content: bytes, kind: bytes, body: bytes) -> bytes:
    return content[:33] + chunk(kind, body) + content[33:]


def test_palette_and_transparency_are_those_of_the_file() -> None:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    image.putpalette([1, 2, 3, 4, 5, 6])
    content = encode(image, transparency=b"\x00\x80")
    assert read_palette(content).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read_transparency(content) == b"\x00\x80"
    grey = encode(Image.new("L", (2, 2)))
    assert read_palette(grey).shape == (0, 3)
    assert read_transparency(grey) is None
    assert read_palette(with_chunk(grey, b"PLTE", b"\1\2\3\4")).tolist() == [[1, 2, 3]]


def test_pixel_data_in_many_chunks_are_those_in_one() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16) % 7
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    whole = write_png(data, (0, 8, False), size=(16, 16))
    parts = b"".join(chunk(b"IDAT", data[place : place + 1]) for place in range(len(data)))
    content = whole[:33] + parts + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode_png(content, check_png(content)), pixels)


@pytest.mark.parametrize(("colour", "depth"), [(0, 3), (2, 4), (3, 16), (4, 4), (6, 1), (1, 8), (7, 8)])
def test_a_colour_type_that_does_not_exist_is_damage(colour: int, depth: int) -> None:
    fields = struct.pack(">IIBBBBB", 4, 4, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", fields), (b"PLTE", bytes(6)), (b"IDAT", zlib.compress(bytes(200))), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks)
    with pytest.raises(UnreadableFileError, match=f"^damaged: PNG has no colour type {colour} of {depth} bits"):
        check_png(content)
