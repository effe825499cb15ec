"""Masks of which it is known which classes touch, and a small run that is trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from histods import audit, shard
from histods.synthetic.tissue import smooth_field
from training.verbs.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.verbs.train import TrainResult

CLASSES = ("Ground", "Low", "Middle", "High")
MAP = "name: four\nclasses: [Ground, Low, Middle, High]\nmap: {Ground: [0], Low: [1], Middle: [2], High: [3]}\n"
SIDE = 32
REDUCE = 2
SETTINGS = (
    "model.dim=16",
    "model.dim_mults=[1, 2]",
    "model.dropout=0.0",
    "optimizer.lr=2e-3",
    "optimizer.warmup_steps=20",
    "data.batch_size=8",
    "data.workers=0",
    f"data.reduce={REDUCE}",
    "run.validate_every=0",
    "run.preview_every=0",
)


def planted(number: int, side: int = SIDE) -> NDArray[np.uint8]:
    """Four classes of smooth outlines, each of which may touch any other."""
    random = np.random.default_rng([5, number])
    fields = [smooth_field(random, side, side * 1.2) + random.normal(0, 0.5) for _ in CLASSES]
    return np.asarray(cv2.medianBlur(np.argmax(fields, axis=0).astype(np.uint8), 5), np.uint8)


def make_masks(folder: Path, count: int = 200) -> Path:
    """Write pairs of masks and plain images in ten slides, and their shards; returns the workspace."""
    for number in range(count):
        home = folder / "data" / f"slide_{number % 10}"
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(planted(number)).save(home / f"p{number:03d}_mask.png")
        pixels = np.full((SIDE, SIDE, 3), (number % 16 * 16, number // 16 * 16, 90), np.uint8)
        Image.fromarray(pixels).save(home / f"p{number:03d}.png")
    (folder / "four.yml").write_text(MAP)
    workspace = folder / "out"
    audit(folder / "data", workspace=workspace, group_regex=r"(slide_\d)", workers=1)
    shard(workspace=workspace, map=folder / "four.yml", workers=1)
    return workspace


def train_masks(workspace: Path, *settings: str, name: str | None = None) -> TrainResult:
    """Train a small run of masks in this process."""
    return train(workspace=workspace, what="masks", name=name, settings=[*SETTINGS, *settings], device="cpu")
