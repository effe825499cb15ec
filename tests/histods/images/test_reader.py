"""The reader gives labels exactly as stored, and names whatever is wrong with a file."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.contents import read_header
from histods.images.header import MAX_PIXELS, Header
from histods.images.reader import check_image, decode_image, decode_mask, read_mask
from histods.io.open_file import OpenFile

if TYPE_CHECKING:
    from pathlib import Path


def inspect_image(path: Path, *, whole: bool = False) -> tuple[Header, bytes | None]:
    with OpenFile(path) as file:
        header = read_header(file, whole=whole)
        return (check_image(file.read()), file.read()) if header is None else (header, None)


shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(pixels: np.ndarray, depth: int) -> bytes:
    """A grey PNG of 1, 2, 4 or 8 bits, written by hand: no library's idea of grey is involved."""
    height, width = pixels.shape
    bits = np.unpackbits(pixels.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :].reshape(height, -1)
    rows = np.packbits(bits, axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, shapes), st.sampled_from(["png", "tiff", "bmp"]))
def test_grey_bytes_come_back_as_stored(pixels: np.ndarray, file_format: str) -> None:
    mask = decode_mask(encode(Image.fromarray(pixels), file_format))
    np.testing.assert_array_equal(mask.labels, pixels)
    assert mask.kind == "gray8"


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint16, shapes), st.sampled_from(["png", "tiff"]))
def test_sixteen_bit_labels_come_back_as_stored(pixels: np.ndarray, file_format: str) -> None:
    mask = decode_mask(encode(Image.fromarray(pixels), file_format))
    np.testing.assert_array_equal(mask.labels, pixels)
    assert (mask.kind, mask.labels.dtype) == ("gray16", np.dtype(np.uint16))


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, shapes, elements=st.integers(0, 15)), st.sampled_from(["png", "tiff", "bmp", "png4"]))
def test_palette_indices_are_labels_whatever_their_colours(pixels: np.ndarray, file_format: str) -> None:
    image = Image.fromarray(pixels, "P")
    image.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200, 90, 90, 90] * 4)
    options = {"bits": 4} if file_format == "png4" else {}
    mask = decode_mask(encode(image, file_format[:4].rstrip("4"), **options))
    np.testing.assert_array_equal(mask.labels, pixels)
    assert mask.kind == "palette"


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 2, 4, 8]), st.data())
def test_grey_of_few_bits_is_not_spread_over_255(depth: int, data: st.DataObject) -> None:
    pixels = data.draw(hnp.arrays(np.uint8, shapes, elements=st.integers(0, 2**depth - 1)))
    mask = decode_mask(raw_png(pixels, depth))
    np.testing.assert_array_equal(mask.labels, pixels)
    assert mask.kind == ("bilevel" if depth == 1 else "gray8")


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, shapes))
def test_pillow_and_opencv_writers_are_read_alike(pixels: np.ndarray) -> None:
    by_opencv = cv2.imencode(".png", pixels)[1].tobytes()
    np.testing.assert_array_equal(
        decode_mask(by_opencv).labels, decode_mask(encode(Image.fromarray(pixels), "png")).labels
    )


def test_interlaced_and_transparent_grey_masks_are_read() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8) % 5
    transparent = encode(Image.fromarray(pixels), "png", transparency=2)
    np.testing.assert_array_equal(decode_mask(transparent).labels, pixels)


def test_wide_integers_in_tiff_are_labels_while_they_fit() -> None:
    pixels = np.array([[0, 70], [300, 65535]], dtype=np.int32)
    np.testing.assert_array_equal(decode_mask(encode(Image.fromarray(pixels), "tiff")).labels, pixels)
    with pytest.raises(NotAnIndexMaskError, match="values from 0 to 65536, labels go from 0 to 65535"):
        decode_mask(encode(Image.fromarray(np.array([[0, 65536]], dtype=np.int32)), "tiff"))


def test_grey_stored_as_rgb_is_read_and_colours_are_refused() -> None:
    grey = Image.fromarray(np.array([[0, 3], [3, 7]], dtype=np.uint8))
    mask = decode_mask(encode(Image.merge("RGB", [grey] * 3), "png"))
    assert (mask.kind, mask.labels.tolist()) == ("rgb", [[0, 3], [3, 7]])
    colours = np.array([[[255, 0, 0], [0, 255, 0]]], dtype=np.uint8)
    with pytest.raises(NotAnIndexMaskError, match="2 RGB colours and no labels file that gives their labels"):
        decode_mask(encode(Image.fromarray(colours), "png"))


def test_transparency_is_no_label() -> None:
    grey = Image.fromarray(np.array([[1, 2]], dtype=np.uint8))
    alpha = Image.fromarray(np.array([[255, 9]], dtype=np.uint8))
    with pytest.raises(NotAnIndexMaskError, match="transparency that varies from 9 to 255"):
        decode_mask(encode(Image.merge("LA", [grey, alpha]), "png"))


def test_fractions_and_several_pages_are_no_labels() -> None:
    with pytest.raises(NotAnIndexMaskError, match="from 0.5 to 0.5 that are not whole"):
        decode_mask(encode(Image.fromarray(np.array([[0.5]], dtype=np.float32)), "tiff"))
    page = Image.fromarray(np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(NotAnIndexMaskError, match="^2 pages in one file, expected one; keep the page"):
        decode_mask(encode(page, "tiff", save_all=True, append_images=[page]))


def test_an_animated_png_is_several_pages_to_a_mask_and_its_first_picture_to_an_image(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), label, dtype=np.uint8)) for label in (1, 2, 3)]
    animated = encode(frames[0], "png", save_all=True, append_images=frames[1:])
    hidden = encode(frames[0], "png", save_all=True, append_images=frames[1:2], default_image=True)
    for content, pages in ((animated, 3), (hidden, 2)):
        with pytest.raises(NotAnIndexMaskError, match=f"^{pages} pages in one file, expected one;"):
            decode_mask(content)
        path = tmp_path / "image.png"
        path.write_bytes(content)
        header = inspect_image(path)[0]
        assert header.pages == pages
        assert header.converted == (
            f"an animation of {pages} pictures, of which training sees the first; store the one that is meant"
        )
    assert decode_mask(encode(frames[0], "png", save_all=True)).labels.tolist() == [[1] * 4] * 4


GREY_PNG = encode(Image.fromarray(np.random.default_rng(1).integers(0, 9, (64, 64), dtype=np.uint8)), "png")
JPEG = encode(Image.fromarray(np.random.default_rng(2).integers(0, 255, (64, 48, 3), dtype=np.uint8)), "jpeg")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (
            b"not a picture at all",
            "not an image: it starts with 6e 6f 74 20 61 20 70 69, no signature of a known format",
        ),
        (GREY_PNG[:5], "truncated: the file ends inside its signature"),
        (GREY_PNG[:20], "truncated: the PNG ends inside its header"),
        (GREY_PNG[:200], "truncated: the PNG has no end chunk (IEND)"),
        (GREY_PNG[:-12], "truncated: the PNG has no end chunk (IEND)"),
        (
            GREY_PNG[:60] + bytes([GREY_PNG[60] ^ 1]) + GREY_PNG[61:],
            "damaged: the checksum of PNG chunk IDAT at byte 33 is wrong",
        ),
        (
            GREY_PNG[:33] + chunk(b"a; \x1b", b"")[:-1] + b"?",
            "damaged: the checksum of PNG chunk 61 3b 20 1b at byte 33 is wrong",
        ),
        (GREY_PNG[:33] + chunk(b"IEND", b""), "damaged: the PNG has no pixel data (no IDAT chunk)"),
        (
            GREY_PNG[:33] + chunk(b"IDAT", b"") + chunk(b"tEXt", b"a\0b") + GREY_PNG[33:],
            "damaged: the pixel data of the PNG (IDAT chunks) lie apart",
        ),
        (GREY_PNG[:33] + GREY_PNG[8:], "damaged: the PNG has several headers (IHDR chunks)"),
        (
            GREY_PNG[:8] + chunk(b"IHDR", GREY_PNG[16:25] + b"\3" + GREY_PNG[26:29]) + GREY_PNG[33:],
            "damaged: the PNG of a palette has none (no PLTE chunk)",
        ),
        (JPEG[:-2], "truncated: the JPEG has no end marker"),
        (JPEG[: len(JPEG) // 2], "truncated: the JPEG has no end marker"),
        (JPEG[:30], "truncated: the JPEG ends inside its header"),
        (b"\xff\xd8\xff\xd9\0\0", "damaged: the JPEG has no frame header before its pixel data"),
    ],
)
def test_damage_is_named_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for read in (read_mask, inspect_image):
        with pytest.raises(UnreadableFileError) as caught:
            read(path)
        assert str(caught.value) == reason


@pytest.mark.parametrize("size", [(60000, 60000), (2**31 - 1, 1), (0, 5)])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10**6)) + chunk(b"IEND", b"")
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    expected = "expected at least 1x1" if 0 in size else f"more than {MAX_PIXELS:,}: not decoded"
    for read in (read_mask, inspect_image):
        with pytest.raises(UnreadableFileError, match=expected):
            read(path)


@pytest.mark.parametrize("file_format", ["tiff", "bmp", "webp"])
def test_every_truncation_of_other_formats_is_caught(tmp_path: Path, file_format: str) -> None:
    content = encode(Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(20, 20, 3)), file_format)
    path = tmp_path / "file"
    path.write_bytes(content)
    assert inspect_image(path)[0].format == file_format
    for length in range(12, len(content) - 2, 37):
        path.write_bytes(content[:length])
        with pytest.raises(UnreadableFileError):
            header, whole = inspect_image(path, whole=True)
            assert whole is not None
            decode_image(whole, header)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=300), st.integers(0, 2**32), st.sampled_from(["png", "jpeg", "tiff", "bmp", "webp", "none"])
)
def test_random_bytes_never_end_in_anything_but_a_reason(noise: bytes, seed: int, file_format: str) -> None:
    """Garbage, and real files with garbage in them."""
    content = bytearray(noise)
    if file_format != "none":
        content = bytearray(encode(Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)), file_format))
        chooser = random.Random(seed)
        for byte in noise[:8]:
            content[chooser.randrange(len(content))] = byte
    try:
        mask = decode_mask(bytes(content))
    except UnreadableFileError as error:
        assert "\n" not in str(error)
        assert " object at " not in str(error)
    else:
        assert mask.labels.size > 0


def test_jpeg_padding_after_the_end_marker_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "padded.jpg"
    path.write_bytes(JPEG + b"\0" * 100)
    assert inspect_image(path)[0] == Header("jpeg", 48, 64)


def test_decoding_finds_what_structure_cannot() -> None:
    """Bits flipped in a JPEG's entropy-coded data: the strict decoder refuses many, Pillow hardly any."""
    image = Image.fromarray(np.random.default_rng(3).integers(0, 255, (128, 128, 3), dtype=np.uint8))
    content = encode(image, "jpeg")
    header = inspect_header(content)
    refused = 0
    for seed in range(40):
        damaged = bytearray(content)
        chooser = random.Random(seed)
        damaged[chooser.randrange(700, len(content) - 10)] ^= 1 << chooser.randrange(8)
        try:
            decode_image(bytes(damaged), header)
        except UnreadableFileError as error:
            refused += 1
            assert str(error).startswith("damaged JPEG data: ")
    assert refused >= 5
    decode_image(content, header)


def inspect_header(content: bytes):  # type: ignore[no-untyped-def]
    from histods.images.jpeg import check_jpeg

    return check_jpeg(content)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(UnreadableFileError, match="not a regular file|an image"):
        read_mask(pipe)
    with pytest.raises(UnreadableFileError, match="cannot be opened: No such file or directory"):
        read_mask(tmp_path / "missing.png")
    with pytest.raises(UnreadableFileError, match="not a regular file"):
        read_mask(tmp_path)
