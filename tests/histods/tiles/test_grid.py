"""Tiles cover every pixel, whatever the sizes, and put together they are the image again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.tiles.grid import NEAR_WHITE, find_tissue, list_boxes, pad, tile_advice, tissue_share

sides = st.integers(1, 90)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, int, int, int, bool]:
    size = draw(st.integers(1, 40))
    return draw(sides), draw(sides), size, draw(st.integers(1, size)), draw(st.booleans())


@settings(max_examples=60, deadline=None)
@given(cuts())
def test_tiles_put_together_are_the_image(cut: tuple[int, int, int, int, bool]) -> None:
    width, height, size, stride, shift = cut
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    again, seen = np.zeros_like(image), np.zeros((height, width), int)
    boxes = list(list_boxes(width, height, size=size, stride=stride, shift=shift))
    assert len(set(boxes)) == len(boxes)
    for box in boxes:
        tile = pad(box.cut(image), size, 7)
        assert tile.shape == (size, size, 3)
        box.cut(again)[:] = tile[: box.height, : box.width]
        box.cut(seen)[:] += 1
        assert (tile[box.height :] == 7).all()
        assert (tile[:, box.width :] == 7).all()
        if shift:  # only images that are smaller than a tile are padded
            assert (box.width, box.height) == (min(size, width), min(size, height))
        else:
            assert box.x % stride == box.y % stride == 0
    assert seen.min() >= 1
    assert np.array_equal(again, image)
    if stride == size and not shift:
        assert seen.max() == 1


@pytest.mark.parametrize(
    ("length", "size", "stride", "shift", "starts"),
    [
        (1000, 512, 512, True, [0, 488]),
        (1000, 512, 512, False, [0, 512]),
        (1024, 512, 512, True, [0, 512]),
        (1024, 512, 512, False, [0, 512]),
        (512, 512, 512, True, [0]),
        (300, 512, 512, True, [0]),
        (300, 512, 100, False, [0]),
        (775, 512, 512, True, [0, 263]),
        (775, 512, 256, True, [0, 256, 263]),
        (775, 512, 256, False, [0, 256, 512]),
        (513, 512, 512, False, [0, 512]),
        (10, 3, 2, True, [0, 2, 4, 6, 7]),
    ],
)
def test_where_tiles_begin(length: int, size: int, stride: int, shift: bool, starts: list[int]) -> None:
    boxes = list(list_boxes(length, 1, size=size, stride=stride, shift=shift))
    assert [box.x for box in boxes] == starts


def test_a_tile_is_tissue_where_one_channel_is_darker_than_glass() -> None:
    pixels = np.full((4, 5, 3), NEAR_WHITE, np.uint8)
    assert tissue_share(find_tissue(pixels)) == 0
    pixels[1, 1, 1] = NEAR_WHITE - 1  # as pink is: green alone is darker
    assert tissue_share(find_tissue(pixels)) == 1 / 20


@pytest.mark.parametrize(
    ("shapes", "multiple", "side"),
    [
        ([(1000, 1000)], 1, 512),
        ([(522, 775)], 1, 512),
        ([(512, 512), (300, 900)], 1, 256),
        ([(64, 64), (37, 64)], 1, 37),
        ([(256, 256), (300, 400)], 1, 256),
        ([(96, 96), (48, 48)], 1, 48),
        ([(1000, 1000)], 64, 512),
        ([(100, 100)], 24, 96),
        ([(8, 8)], 16, 16),
    ],
)
def test_the_advice_proposes_a_side(shapes: list[tuple[int, int]], multiple: int, side: int) -> None:
    assert f"--size {side} " in tile_advice(*shapes, multiple=multiple)
