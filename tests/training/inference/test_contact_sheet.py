"""The contact sheet shows every pixel of mask and image, says what colours mean, and stays small."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histods.errors import HistodsError
from histods.palette import class_fill
from training.inference.contact_sheet import SIDE, Cell, draw_cells, draw_sheet
from training.inference.pictures import coloured

CLASSES = ("Unknown", "Tumour", "Stroma", "Never seen")


def opened(content: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def find(page: Any, picture: Any) -> tuple[int, int]:
    """Where a picture stands on a page, pixel by pixel: (top, left)."""
    height, width = picture.shape[:2]
    for top, left in np.argwhere((page == picture[0, 0]).all(axis=-1)):
        if np.array_equal(page[top : top + height, left : left + width], picture):
            return int(top), int(left)
    raise AssertionError("the picture is not on the page")


def cell(seed: int, images: int = 1, side: int = SIDE) -> Cell:
    random = np.random.default_rng(seed)
    mask = random.integers(0, 3, (side // 8, side // 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return Cell(
        f"patch {seed}", mask, [random.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(images)]
    )


def test_each_mask_stands_beside_its_images() -> None:
    cells = [cell(seed, images=2) for seed in range(5)]
    page = opened(draw_cells("a title", cells, CLASSES))
    for shown in cells:
        top, left = find(page, coloured(shown.mask))
        places = [find(page, image) for image in shown.images]
        assert places == [(top, left + SIDE + 6), (top, left + 2 * (SIDE + 6))]


def test_the_legend_explains_the_classes_that_occur() -> None:
    shown = cell(0)
    page = opened(draw_cells("a title", [shown], CLASSES))
    legend = page[: find(page, coloured(shown.mask))[0]].reshape(-1, 3)
    colours = {tuple(row) for row in legend.tolist()}
    faces = [tuple(bytes.fromhex(class_fill(index).face[1:])) for index in range(4)]
    assert [face in colours for face in faces] == [True, True, True, False]


@pytest.mark.parametrize("side", [8, 64, 512])
def test_pictures_of_any_size_are_fitted_and_the_edges_of_classes_stay_sharp(side: int) -> None:
    mask = np.zeros((side, side // 2), np.uint8)
    mask[side // 2 :] = 2
    page = opened(draw_cells("", [Cell("", mask, [coloured(mask)])], CLASSES))
    expected = np.zeros((SIDE, SIDE // 2), np.uint8)
    expected[SIDE // 2 :] = 2
    find(page, coloured(expected))


def test_awkward_names_and_many_classes_stay_on_the_page() -> None:
    names = [f"{'a very long name of a class ' * 20}{index}" for index in range(74)]
    mask = np.arange(74, dtype=np.uint8).repeat(32).reshape(74, 32)
    awkward = Cell("x" * 5000 + "\n\x1b[31m日本ä", mask, [coloured(mask)])
    page = opened(draw_cells("t" * 5000, [awkward] * 3, names))
    assert page.shape[1] < 1700
    assert page.shape[0] < 1500


def test_of_many_masks_a_few_are_shown(tmp_path: Path) -> None:
    records = []
    for number in range(100):
        Image.fromarray(np.full((16, 16), number % 3, np.uint8)).save(tmp_path / f"{number:03d}_mask.png")
        Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(tmp_path / f"{number:03d}.png")
        records.append({"of": f"{number:03d}", "image": f"{number:03d}.png", "mask": f"{number:03d}_mask.png"})
    page = opened(draw_sheet("a title", tmp_path, records, CLASSES))
    greys = {row[0] for row in page.reshape(-1, 3)[:: SIDE // 8].tolist() if len(set(row)) == 1}
    assert {0, 99} <= greys, "from the first to the last"
    assert page.shape[0] * page.shape[1] < 4_000_000
    (tmp_path / "000.png").write_bytes(b"torn")
    with pytest.raises(HistodsError, match=r"000\.png cannot be read any more: .*; remove it and run"):
        draw_sheet("a title", tmp_path, records, CLASSES)
