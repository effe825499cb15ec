"""What is kept of an image and of a mask to compare them."""

from __future__ import annotations

import numpy as np
import pytest

from histods.colours.colour_labels import Mask
from histods.images.header import Header
from histods.images.reduced import Picture
from histods.masks.grids import CELLS, FEATURES, SIDE, measure_appearance, measure_layout, read_layouts
from histods.run_lengths import find_runs


def layout_of(labels: np.ndarray) -> bytes | None:
    return measure_layout(Mask(labels, "gray8", "png"), find_runs(labels))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (100, 37), (16, 16), (5, 7), (1, 1), (300, 2000)])
def test_the_cells_of_an_image_have_its_colour_and_texture(height: int, width: int) -> None:
    flat = np.full((height, width, 3), (200, 120, 160), np.uint8)
    header = Header(format="png", width=width, height=height)
    cells = np.frombuffer(measure_appearance(Picture(flat, header, b"")), np.uint8).reshape(CELLS, FEATURES)
    assert (cells == (200, 120, 160, 0)).all()


def test_texture_is_the_deviation_of_luma_within_a_cell() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2, :32] = 255
    header = Header(format="png", width=64, height=64)
    cells = np.frombuffer(measure_appearance(Picture(image, header, b"")), np.uint8).reshape(SIDE, SIDE, FEATURES)
    assert (cells[:, :8, 3] == 127).all()
    assert (cells[:, 8:, 3] == 0).all()


def test_a_mask_keeps_the_label_at_the_centre_of_each_cell() -> None:
    mask = np.full((64, 128), 700, np.uint16)
    mask[:, 64:] = 9
    mask[0, 0] = 3  # at no centre
    grid = layout_of(mask)
    assert grid is not None
    places = np.frombuffer(grid, np.uint8).reshape(SIDE, SIDE)
    assert (places[:, :8] == 2).all()
    assert (places[:, 8:] == 1).all()


def test_a_mask_that_cannot_be_misplaced_keeps_nothing() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[0, 0] = 1
    assert layout_of(mask) is None
    assert layout_of(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) // 8) is None
    assert layout_of(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) // 16) is not None


def test_labels_are_numbered_alike_in_all_masks_and_rare_ones_share_a_number() -> None:
    first, second, third = (np.zeros(CELLS, np.uint8) for _ in range(3))
    first[0], second[:2], third[5] = 1, (1, 2), 1
    layouts, labels = [first.tobytes(), second.tobytes(), third.tobytes()], [[0, 40], [0, 7, 40], [40, 900]]
    numbers, count = read_layouts(layouts, labels, least_masks=2)
    assert count == 3
    forty, zero, rare = numbers[0, 0], numbers[0, 1], numbers[1, 0]
    assert len({forty, zero, rare}) == 3
    assert rare == count - 1
    assert numbers[1, 1] == forty
    assert (numbers[2, 0], numbers[2, 5]) == (forty, rare)
    numbers, count = read_layouts(layouts, labels, least_masks=1, most_labels=1)
    assert count == 2
    assert (numbers[0, 0], numbers[0, 1], numbers[1, 0]) == (0, 1, 1)  # 40 is in the most masks
    assert read_layouts([], [], least_masks=2)[0].shape == (0, CELLS)
