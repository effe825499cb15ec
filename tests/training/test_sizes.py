"""Images that the network has no shape for are refused before the first step, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods import audit, shard
from histods.errors import HistodsError
from tests.training.trained_runs import run_tiny
from training.verbs.encode import encode

if TYPE_CHECKING:
    from pathlib import Path


def shards(home: Path, sizes: list[tuple[int, int]]) -> Path:
    """Shards of images (width, height) whose masks hold labels 1 and 2."""
    for number, (width, height) in enumerate(sizes):
        path = home / "data" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((height, width, 3), number * 9, np.uint8)).save(path)
        mask = np.full((height, width), number % 3, np.uint8)
        Image.fromarray(mask).save(path.with_name(f"{number:03d}_mask.png"))
    labels = home / "map.yml"
    labels.write_text("name: m\nclasses: [Unknown, A, B]\nmap: {Unknown: [0], A: [1], B: [2]}\n")
    audit(home / "data", workspace=home / "out", workers=1)
    shard(workspace=home / "out", map=labels, workers=1)
    return home / "out" / "shards"


def test_images_of_two_sizes_are_refused(tmp_path: Path) -> None:
    folder = shards(tmp_path, [(48, 48)] * 11 + [(64, 64)])
    with pytest.raises(HistodsError, match=r" is 48x48 and 011 is 64x64, but all images must have one size"):
        run_tiny(tmp_path, folder, "run.steps=1")


def test_sides_that_cannot_be_halved_are_refused(tmp_path: Path) -> None:
    folder = shards(tmp_path, [(40, 48)] * 6)
    with pytest.raises(
        HistodsError, match="are 40x48, but model.dim_mults = .* needs sides that are multiples of 16 px; "
    ):
        run_tiny(tmp_path, folder, "run.steps=1", "data.augment=false")


def test_latents_of_other_channels_are_refused(folder: Path, tmp_path: Path) -> None:
    encode(shards=folder, out=tmp_path / "latents", workspace=tmp_path)
    with pytest.raises(
        HistodsError, match=r"model.channels is 8, but the latents in .* have 4 channels; set model\.channels=4"
    ):
        run_tiny(tmp_path, tmp_path / "latents", "run.steps=1", "model.channels=8")
