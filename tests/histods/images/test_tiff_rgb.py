"""TIFF images as viewers show them: what is converted, what is refused, and pixels of both kinds of grey."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histods.images.reader import decode_rgb
from histods.images.tiff import parse_tiff
from histods.images.tiff_rgb import has_alpha, how_converted, why_not_shown
from tests.histods.images.test_tiff import (
    BITS,
    CHANNELS,
    EXTRA,
    HEIGHT,
    PHOTOMETRIC,
    SAMPLE_FORMAT,
    WIDTH,
    write_tiff,
)


def described(photometric: int, channels: int, bits: int = 8, *, extra: Any = None, kind: int = 1) -> Any:
    """What the tags of a picture of 2x2 pixels say."""
    tags: dict[int, Any] = {WIDTH: 2, HEIGHT: 2, BITS: [bits] * channels, CHANNELS: channels}
    tags |= {PHOTOMETRIC: photometric, SAMPLE_FORMAT: [kind] * channels}
    tags |= {} if extra is None else {EXTRA: extra}
    return parse_tiff(write_tiff(bytes(2 * 2 * channels * max(bits, 8) // 8), tags))


@pytest.mark.parametrize(
    ("tags", "alpha", "converted"),
    [
        ((2, 3), False, None),
        ((1, 1), False, None),
        ((3, 1), False, None),
        ((1, 1, 16), False, None),  # only its pixels tell
        ((0, 1), False, "grey whose 0 is white"),
        ((0, 1, 1), False, "1 bit per pixel"),
        ((1, 1, 1), False, "1 bit per pixel"),
        ((5, 4), False, "CMYK colours"),
        ((2, 4), True, None),  # Pillow takes an unnamed fourth channel for opacity
        ((1, 2), False, "2 channels, of which training sees the colours"),
    ],
)
def test_conversions_are_told_by_the_tags(tags: tuple[int, ...], alpha: bool, converted: str | None) -> None:
    tiff = described(*tags)
    assert has_alpha(tiff) == alpha
    assert why_not_shown(tiff) is None
    told = how_converted(tiff)
    if converted is None:
        assert told is None
    else:
        assert told is not None
        assert converted in told
        assert told.count("; ") == 1


@pytest.mark.parametrize(
    ("extra", "alpha"), [([0], False), ([1], True), ([2], True), ([0, 0], False), ([0, 2], True)]
)
def test_extra_channels_are_transparency_only_if_the_file_says_so(extra: list[int], alpha: bool) -> None:
    tiff = described(2, 3 + len(extra), extra=extra)
    assert has_alpha(tiff) == alpha
    assert (how_converted(tiff) is None) == alpha


@pytest.mark.parametrize(
    ("tags", "kind", "reason"),
    [
        ((1, 1, 32), 3, "floating-point values"),
        ((1, 1, 16), 2, "values with a sign"),
        ((1, 1, 32), 1, "values of 32 bits"),
        ((8, 3), 1, "CIELAB"),
        ((9, 3), 1, "CIELAB"),
        ((5, 4, 16), 1, "CMYK colours of 16 bits"),
    ],
)
def test_values_without_one_meaning_are_refused_with_advice(tags: tuple[int, ...], kind: int, reason: str) -> None:
    told = why_not_shown(described(*tags, kind=kind))
    assert told is not None
    assert reason in told
    assert told.count("; ") == 1 or "for example with" in told


@pytest.mark.parametrize(("pages", "merge"), [(2, False), (3, True), (4, True), (5, False)])
def test_grey_pages_are_proposed_to_be_merged_where_they_may_be_channels(pages: int, merge: bool) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((pages, 4, 4), np.uint8), photometric="minisblack")
    told = why_not_shown(parse_tiff(buffer.getvalue()))
    assert told is not None
    assert told.startswith(f"{pages} pages of one grey channel each in one file, expected one; ")
    assert ("merge them to RGB" in told) == merge


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, (3, 5)), st.sampled_from([np.uint8, np.uint16]))
def test_grey_whose_0_is_white_is_the_inverse_of_the_other(pixels: np.ndarray, kind: type[Any]) -> None:
    pixels[0, 0], pixels[0, 1] = 0, 255  # 16 bits are scaled by their largest value
    shown = []
    for photometric in ("minisblack", "miniswhite"):
        buffer = io.BytesIO()
        stored = pixels.astype(kind) * (257 if kind is np.uint16 else 1)
        tifffile.imwrite(buffer, stored, photometric=photometric)
        shown.append(decode_rgb(buffer.getvalue()))
    np.testing.assert_array_equal(shown[0], np.dstack([pixels] * 3))
    np.testing.assert_array_equal(shown[1], 255 - shown[0])
