"""TIFF: values as tifffile wrote them, whatever their depth, order and compression, or a reason."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.codecs import tiff
from tests.histods.checks.mask_files import palette_tiff

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode(pixels: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)),
    st.sampled_from([None, "deflate", "lzw", "packbits", "zstd"]),
    st.sampled_from("<>"),
    st.booleans(),
    st.sampled_from([{}, {"rowsperstrip": 3}, {"tile": (16, 16)}]),
)
def test_labels_come_back_from_every_way_of_storing_them(
    pixels: NDArray[Any], compression: str | None, order: Any, big: bool, parts: dict[str, Any]
) -> None:
    content = encode(pixels, compression=compression, byteorder=order, bigtiff=big, **parts)
    if big and order == ">":
        with pytest.raises(UnreadableFileError, match="not supported .*big-endian BigTIFF"):
            tiff.identify(content)
        return
    header, kind = tiff.identify(content)
    assert (header.height, header.width, header.pages) == (*pixels.shape, 1)
    values = tiff.read(content, header, kind)
    np.testing.assert_array_equal(values.pixels, pixels)
    assert values.kind == kind == ("gray8" if pixels.dtype == np.uint8 else "gray16")


def test_a_palette_comes_with_its_indices() -> None:
    colours = [(255, 255, 255), (200, 0, 0), (0, 160, 0)]
    pixels = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    content = palette_tiff(pixels, colours)
    header, kind = tiff.identify(content)
    values = tiff.read(content, header, kind)
    assert kind == "palette"
    np.testing.assert_array_equal(values.pixels, pixels)
    assert values.palette is not None
    assert [tuple(colour) for colour in values.palette[:3].tolist()] == colours
    np.testing.assert_array_equal(tiff.show(content, header).pixels, np.array(colours)[pixels])


def test_values_that_are_no_labels_are_identified_and_refused_with_the_reason() -> None:
    for content, found in (
        (encode(np.full((4, 4), 0.5, np.float32)), "^floating-point values from 0.5 to 0.5 that are not whole"),
        (encode(np.full((4, 4), -1, np.int16)), "^values from -1 to -1"),
        (encode(np.zeros((4, 4, 5), np.uint8), photometric="minisblack", planarconfig="contig"), "^5 channels"),
    ):
        header, kind = tiff.identify(content)
        with pytest.raises(NotAnIndexMaskError, match=found):
            tiff.read(content, header, kind)


def test_pages_are_counted_for_masks_and_refused_for_images() -> None:
    content = encode(np.zeros((2, 8, 8), np.uint8), photometric="minisblack")
    assert tiff.identify(content)[0].pages == 2
    with pytest.raises(UnreadableFileError, match="2 pages"):
        tiff.check(content)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_file_that_ends_early_anywhere_is_refused(compression: str | None) -> None:
    """tifffile writes the directory first, so that the tags are whole while pixels are missing."""
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8)
    content = encode(pixels, compression=compression)
    tiff.decode(content, tiff.check(content))
    with pytest.raises(UnreadableFileError, match="^truncated: the tiff header promises 9 more bytes"):
        tiff.check(content[:-9])
    for length in range(4, len(content), 7):
        with pytest.raises(UnreadableFileError):
            tiff.decode(content[:length], tiff.check(content[:length]))
