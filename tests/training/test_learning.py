"""The whole way learns: eight patches by heart, and what stands where in a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from PIL import Image

from histods import audit, shard
from training import sample, train
from training.runs.metrics import read_metrics

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 64
COLOURS = np.array([[236, 214, 226], [160, 60, 130], [225, 130, 170], [90, 40, 110]], dtype=np.float64)
MAP = "name: four\nclasses: [None, A, B, C]\nmap: {None: [0], A: [1], B: [2], C: [3]}\n"
SETTINGS = (
    "model.dim=32",
    "model.dim_mults=[1, 2]",
    "model.dropout=0.0",
    "optimizer.lr=2e-3",
    "data.batch_size=8",
    "data.workers=0",
    "data.augment=false",
    "data.unconditional=0.0",
    "run.preview_every=0",
    "run.validate_every=0",
    "optimizer.warmup_steps=20",
)


class Learnt(NamedTuple):
    """A trained run, its patches, and a workspace."""

    workspace: Path
    patches: dict[str, NDArray[np.uint8]]
    losses: list[float]


def paint(mask: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """A patch: each class in its colour, this patch's own hue, and a little grain."""
    pixels = COLOURS[mask] + random.normal(0, 12, 3) + random.normal(0, 4, (*mask.shape, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def blobs(random: np.random.Generator) -> NDArray[np.uint8]:
    """A mask of all four classes in blocks of 16 pixels."""
    cells = random.integers(0, 4, (SIZE // 16, SIZE // 16), dtype=np.uint8)
    cells.flat[:4] = np.arange(4)
    return np.kron(random.permuted(cells), np.ones((16, 16), np.uint8))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    """Eight patches, trained on for 300 steps."""
    folder = tmp_path_factory.mktemp("learning")
    random = np.random.default_rng(0)
    patches = {}
    (folder / "data").mkdir()
    for number in range(8):
        mask = blobs(random)
        patches[f"p{number}"] = pixels = paint(mask, random)
        Image.fromarray(pixels).save(folder / "data" / f"p{number}.png")
        Image.fromarray(mask).save(folder / "data" / f"p{number}_mask.png")
    (folder / "four.yml").write_text(MAP)
    workspace = folder / "out"
    audit(folder / "data", workspace=workspace, workers=1)
    shard(workspace=workspace, map=folder / "four.yml", workers=1)
    settings = [*SETTINGS, "model.spatial=true", "run.steps=300", "run.checkpoint_every=300"]
    result = train(workspace=workspace, settings=settings, device="cpu")
    losses = [line["loss"] for line in read_metrics(result.folder) if line["kind"] == "train"]
    return Learnt(workspace, patches, losses)


def generate(learnt: Learnt, masks: Path, out: Path) -> dict[str, NDArray[np.float64]]:
    """An image for each mask of a folder, without guidance."""
    sample(run=learnt.workspace / "runs" / "default", masks=masks, out=out, guidance=1.0, device="cpu")
    return {
        path.stem: np.asarray(Image.open(path), dtype=np.float64)
        for path in out.glob("*.png")
        if not path.stem.endswith("_mask")
    }


@pytest.mark.slow
def test_eight_patches_are_learnt_by_heart(learnt: Learnt) -> None:
    first, last = np.mean(learnt.losses[:20]), np.mean(learnt.losses[-50:])
    assert last < 0.12
    assert last < first / 4


@pytest.mark.slow
def test_an_image_for_a_mask_is_nearest_to_the_patch_of_that_mask(learnt: Learnt, tmp_path: Path) -> None:
    images = generate(learnt, learnt.workspace.parent / "data", tmp_path / "made")
    assert images.keys() == learnt.patches.keys()
    for name, image in images.items():
        distances = {other: float(np.square(image - patch).mean()) for other, patch in learnt.patches.items()}
        assert min(distances, key=distances.__getitem__) == name, distances


@pytest.mark.slow
def test_images_differ_where_their_masks_differ(learnt: Learnt, tmp_path: Path) -> None:
    """Two classes change places in one half of a mask: the images, from the same noise, differ there."""
    mask = np.asarray(Image.open(learnt.workspace.parent / "data" / "p0_mask.png"))
    changed = mask.copy()
    half = changed[:, SIZE // 2 :]
    half[:] = np.array([0, 3, 2, 1], dtype=np.uint8)[half]
    made = {}
    for name, content in (("before", mask), ("after", changed)):
        folder = tmp_path / name
        folder.mkdir()
        Image.fromarray(content).save(folder / "x_mask.png")
        made[name] = generate(learnt, folder, tmp_path / f"{name}-made")["x"]
    difference = np.abs(made["before"] - made["after"]).mean(axis=2)
    there = mask != changed
    assert there.any()
    assert difference[there].mean() > 3 * difference[~there].mean()
