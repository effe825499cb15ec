"""A planted dataset: each class has a colour and a texture, each slide a hue, and slides are kept in one split."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from histods import audit, shard, split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.io.evaluation_file import EvaluationFile

COLOURS = np.array([[236, 214, 226], [160, 60, 130], [225, 130, 170], [90, 40, 110]], dtype=np.float64)
CLASSES = ("Unknown", "A", "B", "C")
MAP = "name: four\nclasses: [Unknown, A, B, C]\nmap: {Unknown: [0], A: [1], B: [2], C: [3]}\n"

SMALL_NETWORK = (
    "model.dim=16",
    "model.dim_mults=[1, 2]",
    "model.dropout=0.0",
    "optimizer.lr=4e-3",
    "optimizer.warmup_steps=20",
    "data.batch_size=8",
    "data.workers=0",
    "data.unconditional=0.0",
    "run.preview_every=0",
    "run.validate_every=0",
    "run.keep_checkpoints=10",
)
"""Settings of a network that learns planted tissue in a few hundred steps."""


def paint(mask: NDArray[np.uint8], random: np.random.Generator, hue: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A patch: each class in its colour, stripes in class B, the hue of its slide, and a little grain."""
    rows = np.arange(mask.shape[0])[:, None] + np.zeros(mask.shape)
    stripes = np.where(mask == 2, 20 * np.sign(np.sin(rows * 1.5)), 0)
    pixels = COLOURS[mask] + stripes[..., None] + hue + random.normal(0, 4, (*mask.shape, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def blobs(random: np.random.Generator, side: int = 32) -> NDArray[np.uint8]:
    """A mask of all four classes in blocks."""
    cells = random.integers(0, 4, (4, 4), dtype=np.uint8)
    cells.flat[:4] = np.arange(4)
    return np.kron(random.permuted(cells), np.ones((side // 4, side // 4), np.uint8))


def plant(folder: Path, *, slides: int, patches: int, side: int = 32, seed: int = 0) -> None:
    """Write the patches of some slides as `s00-0.png` and `s00-0_mask.png`."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for slide in range(slides):
        hue = random.normal(0, 10, 3)
        for number in range(patches):
            mask = blobs(random, side)
            name = f"s{slide:02d}-{number}"
            Image.fromarray(paint(mask, random, hue)).save(folder / f"{name}.png")
            Image.fromarray(mask).save(folder / f"{name}_mask.png")


def make_shards(folder: Path, *, slides: int, patches: int, side: int = 32, seed: int = 0) -> Path:
    """Plant a dataset and shard it with two fifths of its slides for testing; the workspace."""
    plant(folder / "data", slides=slides, patches=patches, side=side, seed=seed)
    (folder / "four.yml").write_text(MAP)
    workspace = folder / "out"
    audit(folder / "data", workspace=workspace, workers=1, group_regex="^(s[0-9]+)")
    split(workspace=workspace, test=0.4)
    shard(workspace=workspace, map=folder / "four.yml", workers=1)
    return workspace


def swap_masks(images: Path, out: Path, by: int) -> Path:
    """Copy images with the mask of the image that is `by` places later, in order of names; returns `out`."""
    for path in images.glob("*.png"):
        shutil.copy(path, out / path.name)
    masks = sorted(out.glob("*_mask.png"))
    contents = [path.read_bytes() for path in masks]
    for path, content in zip(masks, contents[by:] + contents[:by], strict=True):
        path.write_bytes(content)
    return out


def frechet_of(found: EvaluationFile) -> float:
    value = found.distances["frechet"].value
    assert value is not None
    return value


def dice_of(found: EvaluationFile) -> float:
    assert found.faithfulness is not None
    assert found.faithfulness.dice is not None
    return found.faithfulness.dice
