"""Bounds on what is decoded at all, and what is said of animations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import UnreadableFileError
from histods.images.header import MAX_PIXELS, check_pixels, describe_animation


@given(width=st.integers(1, MAX_PIXELS))
def test_a_size_is_taken_up_to_the_last_pixel_that_is_allowed(width: int) -> None:
    height = MAX_PIXELS // width
    check_pixels(width, height)
    check_pixels(height, width)
    with pytest.raises(UnreadableFileError, match=rf"says {width}x{height + 1} pixels, more than 89,478,485: not"):
        check_pixels(width, height + 1)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UnreadableFileError, match=rf"says {size[0]}x{size[1]} pixels, expected at least 1x1"):
        check_pixels(*size)


def test_a_single_picture_is_no_animation() -> None:
    assert describe_animation(1) is None
    assert str(describe_animation(1200)).startswith(
        "an animation of 1,200 pictures, of which training sees the first"
    )
