"""Reading with Pillow: any of its errors is one line, nothing is logged, and values stay whole numbers."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.PpmImagePlugin import PpmImageFile

from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.codecs.pillow import (
    check_length,
    kind_of,
    load,
    one_line,
    opened,
    palette_of,
    pillow_codec,
    stored,
    whole_labels,
)
from histods.images.header import MAX_PIXELS, Header

PIXELS = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)


def refusal(error: Exception) -> str:
    return f"refused: {one_line(error)}"


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        hnp.arrays(st.sampled_from([np.dtype(kind) for kind in ("i2", "i4", ">u2", "<u2", "u4")]), PIXELS),
        hnp.arrays(np.float32, PIXELS, elements=st.integers(-2, 70000).map(float)),
        hnp.arrays(np.bool_, PIXELS),
    )
)
def test_whole_numbers_in_the_range_of_labels_are_kept_and_others_are_named(pixels: np.ndarray) -> None:
    low, high = int(pixels.min()), int(pixels.max())
    if low >= 0 and high <= 65535:
        labels = whole_labels(pixels)
        assert labels.dtype in (np.uint8, np.uint16)
        assert labels.dtype.isnative
        assert labels.tolist() == pixels.astype(np.int64).tolist()
    else:
        with pytest.raises(NotAnIndexMaskError, match=f"^values from {low} to {high}, labels go from 0 to 65535$"):
            whole_labels(pixels)


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (np.array([[0.5, 1]]), "floating-point values from 0.5 to 1 that are not whole numbers"),
        (np.array([[np.nan, 1.0]]), "floating-point values"),
        (np.array([[np.inf, 1.0]]), "values from 1 to inf, labels go from 0 to 65535"),
        (np.zeros((2, 2, 3), np.uint16), "^3 channels of 16 bits, which are not labels$"),
    ],
)
def test_what_is_no_label_is_refused(pixels: np.ndarray, found: str) -> None:
    with pytest.raises(NotAnIndexMaskError, match=found):
        whole_labels(pixels, 16)


def test_bytes_are_taken_as_they_are_and_the_rest_is_checked() -> None:
    pixels = np.array([[1, 2]], dtype=np.uint8)
    assert stored(pixels, "gray8", None).pixels is pixels
    assert stored(np.array([[1, 2]], dtype=np.int32), "other", None).pixels.dtype == np.uint16
    with pytest.raises(NotAnIndexMaskError):
        stored(np.zeros((2, 2, 4), np.uint8), "other", None)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first.\nsecond"), "first"),
        (KeyError(), "KeyError"),
        (OSError(" a; b. "), "a, b"),
        (SyntaxError("\n\n"), "SyntaxError"),
    ],
)
def test_an_error_is_one_line_without_a_second_half(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_any_error_of_a_header_is_a_refusal_and_warnings_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    def fails(error: type[BaseException]) -> Any:
        def opener(_: io.BytesIO) -> Any:
            warnings.warn("look out", stacklevel=1)
            raise error("first; line\nsecond")

        return opener

    for error in (SyntaxError, KeyError, IndexError, OverflowError, ZeroDivisionError):
        with pytest.raises(UnreadableFileError, match="^refused: ") as refused, opened(b"", fails(error), refusal):
            pass
        assert "\n" not in str(refused.value)
    with pytest.raises(MemoryError), opened(b"", fails(MemoryError), refusal):
        pass
    assert capfd.readouterr() == ("", "")


def test_the_size_is_checked_before_anything_is_decoded() -> None:
    for size, found in ((f"{MAX_PIXELS + 1} 1", "decompression bomb"), ("1 1", None)):
        content = f"P5 {size} 255\n".encode()
        if found is None:
            with opened(content, PpmImageFile, refusal) as image, pytest.raises(UnreadableFileError) as refused:
                load(image, "toy")  # the pixel is missing
            assert str(refused.value).startswith("damaged toy data: ")
        else:
            with pytest.raises(UnreadableFileError, match=found), opened(content, PpmImageFile, refusal):
                pass


def test_missing_bytes_are_counted() -> None:
    check_length(5, b"12345", "toy")
    with pytest.raises(UnreadableFileError, match=r"^truncated: the toy header promises 1,000 more bytes$"):
        check_length(1005, b"12345", "toy")


def test_modes_have_kinds_and_a_palette_its_colours() -> None:
    assert [kind_of(mode) for mode in ("1", "L", "P", "I;16", "RGBA", "F", "?")] == [
        *("bilevel", "gray8", "palette", "gray16", "rgba", "other", "other"),
    ]
    image = Image.new("P", (1, 1))
    image.putpalette([1, 2, 3, 4, 5, 6])
    assert palette_of(image)[:2].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert palette_of(Image.new("L", (1, 1))).shape == (0, 3)


def test_a_codec_is_made_of_how_a_format_is_opened() -> None:
    codec = pillow_codec(
        "toy", lambda content: opened(content, BmpImageFile, refusal), lambda image, _: Header("toy", *image.size)
    )
    buffer = io.BytesIO()
    Image.fromarray(np.array([[7, 8], [9, 10]], dtype=np.uint8)).save(buffer, "BMP")
    content = buffer.getvalue()
    header, kind = codec.identify(content)
    assert (header, kind) == (codec.check(content), "gray8")
    assert codec.read(content, header, kind).pixels.tolist() == [[7, 8], [9, 10]]
    assert codec.show(content, header).pixels[..., 0].tolist() == [[7, 8], [9, 10]]
    with pytest.raises(UnreadableFileError, match="^damaged toy data"):
        codec.decode(content[:-8], header)
