"""BMP: every kind of header and depth is read as Pillow and OpenCV read it, and no byte may be missing."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images.codecs import bmp
from histods.images.header import BILEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = {"1": "bilevel", "L": "gray8", "P": "palette", "RGB": "rgb", "RGBA": "rgba"}


def encode(image: Image.Image) -> bytes:
    if image.mode == "RGBA":  # Pillow writes its opacity so that nobody reads it
        return cv2.imencode(".bmp", np.asarray(image)[..., [2, 1, 0, 3]])[1].tobytes()
    buffer = io.BytesIO()
    image.save(buffer, "BMP")
    return buffer.getvalue()


def by_hand(rows: NDArray[Any], palette: list[tuple[int, int, int]], *, os2: bool, down: bool = False) -> bytes:
    """A BMP of palette indices of 8 bits with the header of OS/2 or that of Windows."""
    height, width = rows.shape
    data = b"".join(row.tobytes() + bytes(-width % 4) for row in (rows if down else rows[::-1]))
    colours = b"".join(bytes(colour[::-1]) + (b"" if os2 else b"\0") for colour in palette)
    colours = colours.ljust(256 * (3 if os2 else 4), b"\0")
    if os2:
        header = struct.pack("<IHHHH", 12, width, height, 1, 8)
    else:
        header = struct.pack("<IiiHHIIiiII", 40, width, -height if down else height, 1, 8, *[0] * 6)
    start = 14 + len(header) + len(colours)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + colours + data


@pytest.mark.parametrize("mode", KINDS)
@settings(max_examples=10, deadline=None)
@given(width=st.integers(1, 9), height=st.integers(1, 5), seed=st.integers(0, 99))
def test_values_are_those_that_were_written(mode: str, width: int, height: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    channels = {"RGB": 3, "RGBA": 4}.get(mode)
    shape = (height, width) if channels is None else (height, width, channels)
    pixels = random.integers(0, 2 if mode == "1" else 256, shape, dtype=np.uint8)
    image = Image.fromarray(pixels.astype(bool) if mode == "1" else pixels, None if mode == "1" else mode)
    if mode == "P":
        image.putpalette(bytes(random.integers(0, 256, 768, dtype=np.uint8)))
    content = encode(image)
    header, kind = bmp.identify(content)
    assert (kind, header.width, header.height) == (KINDS[mode], width, height)
    assert header == bmp.check(content)
    assert (header.converted, header.doubtful) == (BILEVEL if mode == "1" else None, mode == "RGBA")
    np.testing.assert_array_equal(bmp.read(content, header, kind).pixels, pixels)


@pytest.mark.parametrize("os2", [False, True])
@pytest.mark.parametrize("palette", [[(0, 0, 0), (0, 0, 255), (255, 0, 0)], [(255, 0, 0), (9, 9, 9), (0, 255, 0)]])
def test_both_headers_are_read_and_no_byte_may_be_missing(os2: bool, palette: list[tuple[int, int, int]]) -> None:
    rows = np.arange(15, dtype=np.uint8).reshape(3, 5) % 3
    content = by_hand(rows, palette, os2=os2)
    header, kind = bmp.identify(content)
    assert kind == "palette"
    values = bmp.read(content, header, kind)
    np.testing.assert_array_equal(values.pixels, rows)
    assert values.palette is not None
    assert [tuple(colour) for colour in values.palette[:3].tolist()] == palette
    np.testing.assert_array_equal(bmp.show(content, header).pixels, np.array(palette)[rows])
    by_opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert by_opencv is not None
    np.testing.assert_array_equal(bmp.show(content, header).pixels, by_opencv[..., ::-1])
    for length in range(2, len(content), 7):
        with pytest.raises(UnreadableFileError, match="^(truncated|damaged)"):
            bmp.check(content[:length])


def test_rows_from_the_top_are_not_turned() -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(4, 3)
    content = by_hand(rows, [(9, 9, 9)] * 12, os2=False, down=True)
    header, kind = bmp.identify(content)
    np.testing.assert_array_equal(bmp.read(content, header, kind).pixels, rows)


@pytest.mark.parametrize("bits", [2, 16, 24])
def test_sizes_that_no_patch_has_are_refused_before_decoding(bits: int) -> None:
    content = bytearray(by_hand(np.zeros((1, 1), np.uint8), [(0, 0, 0)], os2=False))
    content[18:26] = struct.pack("<ii", 1 << bits, 1 << bits)
    with pytest.raises(UnreadableFileError) as refused:
        bmp.check(bytes(content))
    assert "\n" not in str(refused.value)
