"""Pyramidal OME-TIFF: other programs read the same pixels at every level, and one image has one set of bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images.reader import decode_rgb
from training.inference.pyramid import TILE, count_levels, cut_tiles, halve, read_level, write_pyramid


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def strips(image: np.ndarray, rows: int) -> list[np.ndarray]:
    return [image[top : top + rows] for top in range(0, len(image), rows)]


@pytest.mark.parametrize(
    ("height", "width", "rows"),
    [(8, 8, 8), (520, 1304, 24), (1544, 600, 520), (768, 1024, 64), (1024, 768, 1024), (16, 9600, 8), (1, 600, 1)],
)
def test_the_image_is_read_back_at_every_level(tmp_path: Path, height: int, width: int, rows: int) -> None:
    image = picture(height, width)
    write_pyramid(tmp_path / "a.tif", strips(image, rows), height, width, identity="a")
    assert np.array_equal(decode_rgb((tmp_path / "a.tif").read_bytes()), image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.tif")), image)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
        assert file.is_ome
        (series,) = file.series
        assert len(series.levels) == count_levels(height, width) + 1
        expected = image
        for level in series.levels:
            assert np.array_equal(level.asarray(), expected)
            expected = halve(expected)
        assert max(series.levels[-1].shape[:2]) <= 512 or min(series.levels[-1].shape[:2]) == 1


def test_the_smallest_level_that_is_large_enough_is_read(tmp_path: Path) -> None:
    image = picture(600, 2080)
    write_pyramid(tmp_path / "a.tif", strips(image, 24), 600, 2080, identity="a")
    for side, expected in (
        (4000, image),
        (2080, image),
        (1041, image),
        (1040, halve(image)),
        (1, halve(halve(halve(image)))),
    ):
        assert np.array_equal(read_level(tmp_path / "a.tif", side), expected)


@pytest.mark.parametrize("kept", [0, 4, 100, 2000])
def test_a_damaged_pyramid_is_said_to_be_unreadable(tmp_path: Path, kept: int) -> None:
    write_pyramid(tmp_path / "a.tif", strips(picture(600, 520), 24), 600, 520, identity="a")
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:kept])
    with pytest.raises(UnreadableFileError):
        read_level(tmp_path / "a.tif", 1)


def test_the_same_image_has_the_same_bytes(tmp_path: Path) -> None:
    image = picture(600, 520)
    for name, rows in (("a", 600), ("b", 16)):
        write_pyramid(tmp_path / name, strips(image, rows), 600, 520, identity="one")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 600), st.integers(1, 600), st.integers(1, 300))
def test_tiles_hold_every_pixel_whatever_the_strips(height: int, width: int, rows: int) -> None:
    image = picture(height, width)
    tiles = list(cut_tiles(strips(image, rows), width))
    across = -(-width // TILE)
    bands = [np.concatenate(tiles[first : first + across], axis=1) for first in range(0, len(tiles), across)]
    whole = np.concatenate(bands)
    assert np.array_equal(whole[:height, :width], image)
    assert whole[height:].sum() == whole[:, width:].sum() == 0


def test_a_level_is_the_mean_of_four_pixels() -> None:
    image = picture(6, 8)
    expected = np.asarray(Image.open(io.BytesIO(_png(image))).reduce(2))
    assert np.abs(halve(image).astype(int) - expected).max() <= 1
    assert halve(picture(7, 9)).shape == (3, 4, 3)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
