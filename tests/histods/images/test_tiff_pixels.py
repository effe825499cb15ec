"""Strips and tiles of a TIFF hold the picture that the tags describe, and their checksums are verified."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import UnreadableFileError
from histods.images.reader import check_image, decode_image, decode_mask, decode_rgb
from tests.histods.checks.mask_files import pillow, regions, tiff, vips
from tests.histods.images.test_tiff import LENGTHS, PLAIN, STRIPS, write_tiff

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6)


ROWS_PER_STRIP = 278


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


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 7), st.permutations(range(4)), st.sampled_from([0, 1, 5]), st.integers(0, 3))
def test_strips_in_any_order_and_with_gaps_hold_the_picture(
    rows: int, order: list[int], gap: int, missing: int
) -> None:
    """Strips written by hand; a file that ends one byte early is truncated."""
    rows = min(rows, 4)
    parts = [GREY[top : top + rows].tobytes() for top in range(0, 4, rows)]
    starts, data = [0] * len(parts), b""
    for place in [place for place in order if place < len(parts)]:
        starts[place] = 8 + len(data)
        data += parts[place] + bytes(gap)
    tags = PLAIN | {ROWS_PER_STRIP: rows, STRIPS: starts, LENGTHS: [len(part) for part in parts]}
    np.testing.assert_array_equal(decode_mask(write_tiff(data, tags)).labels, GREY)
    lengths = [len(part) for part in parts]
    lengths[missing % len(parts)] -= 1
    with pytest.raises(UnreadableFileError, match="too short for their rows"):
        check_image(write_tiff(data, tags | {LENGTHS: lengths}))


def test_a_part_beyond_the_end_of_the_file_is_truncation() -> None:
    with pytest.raises(UnreadableFileError, match=r"^truncated: the tiff header promises [\d,]+ more bytes"):
        check_image(write_tiff(GREY.tobytes(), PLAIN | {STRIPS: [10_000], LENGTHS: [24]}))
