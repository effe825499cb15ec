"""A bundled labels file is offered where the labels are evidence of it, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods.storage.bundled_labels import find_bundled_labels

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("labels", "is_drsk"),
    [
        (range(55), True),
        (range(1, 55), True),
        (range(0, 55, 2), True),
        ([0, *range(30, 50)], True),
        ([], False),
        ([0, 1], False),
        ([0, 4, 7, 8, 9], False),
        ([0, 54], False),
        (range(20), False),
        (range(27), False),
        (range(56), False),
        ([*range(40), 255], False),
        ([*range(40), 65535], False),
    ],
)
def test_many_labels_with_high_ones_among_them_are_evidence(labels: list[int], is_drsk: bool) -> None:
    assert find_bundled_labels(labels) == ("drsk_labels.yml" if is_drsk else None)


def test_an_audit_says_that_a_bundled_file_fits_its_labels(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(root / f"{number}.jpg")
        mask = np.repeat(np.repeat(rng.permutation(64).reshape(8, 8) % 55, 8, axis=0), 8, axis=1)
        Image.fromarray(mask.astype(np.uint8)).save(root / f"{number}_mask.png")

    def printed(*more: str) -> str:
        command = [sys.executable, "-m", "histods", "audit", str(root), "-w", str(out), *more]
        return " ".join(subprocess.run(command, capture_output=True, text=True, check=False).stdout.split())

    offer = f"The labels fit drsk_labels.yml: histods audit {root} --labels drsk_labels.yml -w {out}"
    assert offer.replace(" ", "") in printed().replace("\\", "").replace(" ", "")
    both = tmp_path / "both.yml"
    both.write_text("".join(f"{label}: tissue\n" for label in range(55)) + "map: {all: [1-54]}\n")
    text = printed("--labels", str(both)).replace("\\", "").replace(" ", "")
    assert "Thelabelsfit" not in text
    assert f"Next:histodsremap--map{both}-w{out}" in text  # the file holds a map as well
