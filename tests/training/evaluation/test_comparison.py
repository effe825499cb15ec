"""What is compared: classes of masks in folders; the rest is tested with `evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from training.evaluation.comparison import evenly, read_folders

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("labels", "warned"), [((0, 1, 2), False), ((0, 1, 255), True), ((0, 2), False)])
def test_masks_that_skip_most_numbers_of_classes_are_said(
    tmp_path: Path, labels: tuple[int, ...], warned: bool
) -> None:
    for name, shade in (("made", 10), ("real", 90), ("train", 170)):
        (tmp_path / name).mkdir()
        for number in range(2):
            mask = np.resize(np.array(labels, np.uint8), (16, 16))
            Image.fromarray(mask).save(tmp_path / name / f"{name}-{number}_mask.png")
            Image.new("RGB", (16, 16), (shade, number, 0)).save(tmp_path / name / f"{name}-{number}.png")
    found = read_folders(tmp_path / "made", tmp_path / "real", tmp_path / "train", tmp_path / "none")
    assert len(found.classes) == max(labels) + 1
    assert any("numbers up to 255" in line for line in found.warnings) is warned


def test_a_selection_is_even_and_has_both_ends() -> None:
    assert evenly(np.arange(10), 20).tolist() == list(range(10))
    assert evenly(np.arange(11), 3).tolist() == [0, 5, 10]
