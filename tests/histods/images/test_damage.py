"""Missing pixels are damage and never label 0; work on one file is bounded."""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images.formats import PNG_SIGNATURE
from histods.images.jpeg import MAX_SCANS, MAX_SEGMENTS
from histods.images.png import MAX_CHUNKS
from histods.images.reader import check_image, decode_image, decode_mask, decode_rgb
from histods.images.tiff_tags import MAX_DIRECTORIES
from histods.images.webp import MAX_FRAMES
from tests.histods.checks.mask_files import pillow, regions, tiff, vips
from tests.histods.images.test_tiff import BITS, HEIGHT, LENGTHS, PHOTOMETRIC, PLAIN, STRIPS, WIDTH, write_tiff

if TYPE_CHECKING:
    from collections.abc import Callable

WIDE, HIGH = 48, 32
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
MODES = [
    (colour, depth, interlaced)
    for colour, depths in ((0, (1, 2, 4, 8, 16)), (3, (1, 2, 4, 8)), (2, (8, 16)), (4, (8, 16)), (6, (8, 16)))
    for depth in depths
    for interlaced in (False, True)
]
ROWS_PER_STRIP = 278


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_png(stream: bytes, mode: tuple[int, int, bool], *, size: tuple[int, int] = (WIDE, HIGH)) -> bytes:
    """A PNG of sound chunks around compressed pixel data of any kind."""
    colour, depth, interlaced = mode
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    chunks = [chunk(b"IHDR", header)]
    chunks += [chunk(b"PLTE", bytes(range(96)) * 8)] if colour == 3 else []
    return PNG_SIGNATURE + b"".join([*chunks, chunk(b"IDAT", stream), chunk(b"IEND", b"")])


def pixel_rows(mode: tuple[int, int, bool], *, width: int = WIDE, height: int = HIGH) -> bytes:
    """Rows of a grey ramp without filters, as they are compressed: its brightest values fill every depth."""
    colour, depth, interlaced = mode
    rows = []
    for left, top, right, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        size = (len(range(left, width, right)) * depth * CHANNELS[colour] + 7) // 8
        rows += [b"\0" + b"\xff" * size for _ in range(top, height, down)]
    return b"".join(rows)


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


GREY = np.arange(24, dtype=np.uint8).reshape(4, 6)
TILED = {322: 16, 323: 16, 324: 8, 325: 256}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (PLAIN | TILED, "tags of strips and of tiles"),
        (PLAIN | {322: 16, 323: 16}, "tags of strips and of tiles"),
        (PLAIN | {ROWS_PER_STRIP: 2}, "1 strips for 6x4 pixels, expected 2"),
        (
            PLAIN | {ROWS_PER_STRIP: 2, STRIPS: [8, 20, 32], LENGTHS: [12] * 3},
            "3 strips for 6x4 pixels, expected 2",
        ),
        (PLAIN | {ROWS_PER_STRIP: 2, STRIPS: [8, 14], LENGTHS: [12, 12]}, "lie over one another"),
        (PLAIN | {ROWS_PER_STRIP: 2, STRIPS: [8, 8], LENGTHS: [12, 12]}, "lie over one another"),
        (PLAIN | {STRIPS: 4}, "lie over its header"),
        (PLAIN | {STRIPS: 20}, "lie over its header"),
        (PLAIN | {LENGTHS: 23}, "1 of 1 strips or tiles are too short"),
        (PLAIN | {ROWS_PER_STRIP: 2, STRIPS: [8, 20], LENGTHS: [12, 0]}, "1 of 2 strips or tiles are too short"),
        (
            PLAIN | {ROWS_PER_STRIP: 2, STRIPS: [8, 20], LENGTHS: 24},
            "says where 2 parts start, and how long 1 are",
        ),
        (PLAIN | {259: 8, LENGTHS: 0}, "1 of 1 strips or tiles are too short"),
    ],
)
def test_strips_and_tiles_that_do_not_hold_the_picture_are_damage(tags: Any, expected: str) -> None:
    content = write_tiff(GREY.tobytes(), tags)
    for read in (decode_mask, decode_rgb):
        with pytest.raises(UnreadableFileError, match=f"^damaged: .*{expected}"):
            read(content)


@pytest.mark.parametrize(
    "options", [{}, {"rowsperstrip": 3}, {"rowsperstrip": 1}, {"tile": (16, 16)}, {"tile": (32, 16)}]
)
@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "packbits", "zstd"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_sound_strips_and_tiles_are_no_damage(
    options: dict[str, Any], compression: str | None, bigtiff: bool
) -> None:
    pixels = np.random.default_rng(0).integers(0, 9, (37, 53), dtype=np.uint8)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, compression=compression, bigtiff=bigtiff, **options)
    np.testing.assert_array_equal(decode_mask(buffer.getvalue()).labels, pixels)


def progressive(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    buffer = io.BytesIO()
    Image.fromarray(np.tile(GREY * 9, (8, 8))).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + b"\xff\xd9"


def animated(file_format: str, frames: int) -> bytes:
    buffer = io.BytesIO()
    pictures = [Image.new("RGB", (2, 2), (number % 251, number // 251, 0)) for number in range(frames)]
    pictures[0].save(buffer, file_format, save_all=True, append_images=pictures[1:], lossless=True)
    return buffer.getvalue()


BOMB = zlib.compress(b"\0" * 50_000_000)


def with_chunks(*chunks: bytes) -> bytes:
    sound = write_png(zlib.compress(pixel_rows((0, 8, False))), (0, 8, False))
    return sound[:33] + b"".join(chunks) + sound[33:]


def segments(count: int, filler: bytes) -> bytes:
    content = progressive(1)
    return content[:2] + filler * count + content[2:]


BEYOND: dict[str, tuple[Callable[[], bytes], str]] = {
    "scans": (lambda: progressive(1000), f"scans, more than {MAX_SCANS}"),
    "segments": (lambda: segments(500_000, b"\xff\xfe\0\2"), f"more than {MAX_SEGMENTS:,} segments"),
    "fill bytes": (lambda: segments(1_000_000, b"\xff"), f"more than {MAX_SEGMENTS:,} segments"),
    "chunks": (lambda: with_chunks(chunk(b"tEXt", b"a\0b") * 1_000_000), f"more than {MAX_CHUNKS:,} PNG chunks"),
    "zTXt": (
        lambda: with_chunks(chunk(b"zTXt", b"Comment\0\0" + BOMB)),
        "its zTXt chunk .* inflates to more than",
    ),
    "iCCP": (
        lambda: with_chunks(chunk(b"iCCP", b"profile\0\0" + BOMB)),
        "its iCCP chunk .* inflates to more than",
    ),
    "iTXt": (
        lambda: with_chunks(chunk(b"iTXt", b"XML\0\1\0en\0x\0" + BOMB)),
        "its iTXt chunk .* inflates to more",
    ),
    "directories": (lambda: write_tiff(b"\1" * 24, PLAIN, pages=2000), f"more than {MAX_DIRECTORIES:,} pages"),
    "frames": (lambda: animated("WEBP", MAX_FRAMES + 1), f"more than {MAX_FRAMES:,} pictures"),
    "strips": (
        lambda: write_tiff(
            b"\1",
            {WIDTH: 1, HEIGHT: 500_000, BITS: 8, PHOTOMETRIC: 1, STRIPS: [8] * 500_000, LENGTHS: [1] * 500_000},
        ),
        "500,000 strips or tiles, more than",
    ),
}


@pytest.mark.parametrize("kind", BEYOND)
def test_work_on_a_file_is_bounded(kind: str) -> None:
    make, expected = BEYOND[kind]
    content = make()
    started = time.process_time()
    for read in (check_image, decode_mask, decode_rgb):
        with pytest.raises(UnreadableFileError, match=expected):
            read(content)
    assert time.process_time() - started < 3


def test_what_ordinary_files_hold_is_within_the_bounds() -> None:
    profile = zlib.compress(np.random.default_rng(0).integers(0, 64, 140_000, dtype=np.uint8).tobytes())
    for content in (
        progressive(1),
        with_chunks(chunk(b"iCCP", b"profile\0\0" + profile)),
        with_chunks(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a patch of skin, " * 400))),
        with_chunks(chunk(b"tEXt", b"a\0b") * 1000),
        animated("WEBP", 3),
    ):
        header = check_image(content)
        decode_image(content, header)
        assert decode_rgb(content).shape == (header.height, header.width, 3)


REGIONS = regions(3, (0, 1, 2, 3), height=70, width=90)
DEFLATED: dict[str, bytes] = {
    "strips": tiff(REGIONS, compression="zlib", rowsperstrip=16),
    "one strip": tiff(REGIONS, compression="zlib", rowsperstrip=70),
    "tiles": tiff(REGIONS, compression="zlib", tile=(32, 32)),
    "differences": tiff(REGIONS, compression="zlib", predictor=True, rowsperstrip=20),
    "big-endian": tiff(REGIONS, compression="zlib", byteorder=">"),
    "BigTIFF": tiff(REGIONS, compression="zlib", bigtiff=True),
    "Pillow": pillow(REGIONS, "TIFF", compression="tiff_adobe_deflate"),
    "Pillow, old number": pillow(REGIONS, "TIFF", compression="tiff_deflate"),
    "libvips": vips(REGIONS, ".tif", compression="deflate"),
    "libvips, tiles": vips(REGIONS, ".tif", compression="deflate", tile=True, tile_width=32, tile_height=32),
    "grey as RGB": tiff(np.dstack([REGIONS] * 3), compression="zlib", photometric="rgb"),
}


def parts_of(content: bytes) -> list[tuple[int, int]]:
    """Start and length of each strip or tile."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return list(zip(file.pages[0].dataoffsets, file.pages[0].databytecounts, strict=True))


@pytest.mark.parametrize("content", DEFLATED.values(), ids=DEFLATED)
def test_a_flipped_bit_in_deflated_pixels_of_a_tiff_is_damage(content: bytes) -> None:
    assert (decode_mask(content).labels == REGIONS).all()
    decode_image(content, check_image(content))
    random = np.random.default_rng(5)
    parts = parts_of(content)
    for start, size in [parts[index] for index in random.integers(0, len(parts), 25)]:
        damaged = bytearray(content)
        damaged[start + int(random.integers(2, size))] ^= 1 << int(random.integers(8))
        try:
            assert (decode_mask(bytes(damaged)).labels == REGIONS).all()  # a bit that nobody reads
        except UnreadableFileError:
            with pytest.raises(UnreadableFileError, match="^damaged tiff data"):
                decode_image(bytes(damaged), check_image(bytes(damaged)))


def test_a_strip_that_inflates_without_end_is_not_inflated() -> None:
    bomb = zlib.compress(bytes(2 * 10**7))
    content = tiff(iter([bomb]), shape=(16, 16), dtype=np.uint8, compression="zlib", rowsperstrip=16)
    with pytest.raises(UnreadableFileError, match="holds more than its rows"):
        decode_mask(content)
