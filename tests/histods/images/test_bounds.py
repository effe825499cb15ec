"""Work on one file is bounded, whatever the file says of itself; ordinary files are within the bounds."""

from __future__ import annotations

import io
import time
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images.jpeg import MAX_SCANS, MAX_SEGMENTS
from histods.images.png import MAX_CHUNKS
from histods.images.reader import check_image, decode_image, decode_mask, decode_rgb
from histods.images.tiff_tags import MAX_DIRECTORIES
from histods.images.webp import MAX_FRAMES
from tests.histods.images.made_png import chunk, pixel_rows, write_png
from tests.histods.images.test_tiff import BITS, HEIGHT, LENGTHS, PHOTOMETRIC, PLAIN, STRIPS, WIDTH, write_tiff

if TYPE_CHECKING:
    from collections.abc import Callable


GREY = np.arange(24, dtype=np.uint8).reshape(4, 6)


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
