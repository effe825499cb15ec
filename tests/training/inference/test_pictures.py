"""Pictures: pixels are rounded and cut off, masks have the charts' colours, and PNG files hold what was given."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histods.errors import MissingExtraError
from histods.palette import class_fill
from training.inference.pictures import coloured, sheet, to_pixels, write_png

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ALL = np.arange(256, dtype=np.uint8)
LOWS = [-1.0, 0.0]


def as_images(values: list[float]) -> torch.Tensor:
    """[1, 3, 1, W], the same in all colours."""
    return torch.tensor(values).reshape(1, 1, 1, -1).expand(1, 3, 1, -1)


@pytest.mark.parametrize("low", LOWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_value_of_a_byte_comes_back(low: float, dtype: torch.dtype) -> None:
    images = torch.arange(256, dtype=dtype).div(255).mul(1 - low).add(low).reshape(1, 1, 16, 16)
    pixels = to_pixels(images.expand(2, 3, 16, 16), low)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.broadcast_to(ALL.reshape(1, 16, 16, 1), (2, 16, 16, 3)))


@pytest.mark.parametrize("low", LOWS)
@given(value=st.floats(-3, 3, width=32))
def test_values_are_rounded_to_the_nearest_and_cut_off(low: float, value: float) -> None:
    found = to_pixels(as_images([value]), low)[0, 0, 0, 0]
    exact = min(max((value - low) / (1 - low) * 255, 0), 255)
    assert abs(int(found) - exact) <= 0.5 + 1e-4


@pytest.mark.parametrize("low", LOWS)
def test_what_lies_outside_is_black_or_white_and_does_not_wrap_around(low: float) -> None:
    pixels = to_pixels(as_images([low - 0.02, low - 100, low, 1, 1.02, 300, float("inf"), float("-inf")]), low)
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 0, 255, 255, 255, 255, 0]


def test_the_default_range_is_that_of_the_default_space() -> None:
    images = torch.rand(1, 3, 4, 4) * 2 - 1
    assert np.array_equal(to_pixels(images), to_pixels(images, -1))
    assert not np.array_equal(to_pixels(images), to_pixels(images, 0))


def test_colours_stand_last_and_keep_their_order() -> None:
    images = torch.stack([torch.full((2, 5), value) for value in (-1.0, 0.0, 1.0)])[None]
    pixels = to_pixels(images)
    assert pixels.shape == (1, 2, 5, 3)
    assert pixels[0, 1, 4].tolist() == [0, 128, 255]


def test_masks_have_the_colours_of_charts() -> None:
    pixels = coloured(ALL.reshape(16, 16))
    assert pixels.shape == (16, 16, 3)
    for index in range(256):
        face = "#" + bytes(pixels[index // 16, index % 16].tolist()).hex()
        assert face == class_fill(index).face.lower()


def test_a_sheet_holds_every_picture_where_it_belongs_and_white_between() -> None:
    random = np.random.default_rng(0)
    rows = [[random.integers(0, 255, (6, 9, 3), dtype=np.uint8) for _ in range(columns)] for columns in (3, 1, 2)]
    page = sheet(rows)
    gap = 8
    assert page.shape == (3 * (6 + gap) + gap, 3 * (9 + gap) + gap, 3)
    left = page.astype(int)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            top, start = gap + row * (6 + gap), gap + column * (9 + gap)
            assert np.array_equal(page[top : top + 6, start : start + 9], picture)
            left[top : top + 6, start : start + 9] = 255
    assert (left == 255).all()


@pytest.mark.parametrize("shape", [(7, 5, 3), (7, 5)])
def test_pillow_reads_what_was_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels: NDArray[np.uint8] = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "new" / "picture.png"
    write_png(path, pixels)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), pixels)
    write_png(path, 255 - pixels)
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), 255 - pixels)
    assert [entry.name for entry in path.parent.iterdir()] == ["picture.png"]


def test_without_pillow_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match="run 'pip install pillow', or set run.preview_every=0"):
        write_png(tmp_path / "picture.png", np.zeros((2, 2), np.uint8))
    assert not list(tmp_path.iterdir())
