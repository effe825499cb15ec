"""`evaluate` on real tissue: 64 px tiles of 12 annotated lung patches, of which some are held out.

The patches are of ten slides, too few to learn a class from some of them and to find it in others. So blocks of
patches are held out, not slides: this asks whether the numbers follow what is wrong with images, not whether a
network would do well on other slides.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histods import audit, shard, split
from histods.images.reader import read_mask
from histods.io.evaluation_file import EvaluationFile
from tests.training.evaluation.planted import SMALL_NETWORK, dice_of, frechet_of, swap_masks
from training import evaluate, train

pytest.importorskip("monai")
REAL = os.environ.get("HISTODS_REAL_DATA", "")
pytestmark = [
    pytest.mark.skipif(not REAL, reason="HISTODS_REAL_DATA names no folder of real data"),
    pytest.mark.slow,
]

SIDE, BLOCK = 64, 128
ANNOTATED = 0.25  # of a tile, at least
MAP = """name: lung
classes: [Unknown, Carcinoma, Necrosis, Stroma, Other]
map: {Unknown: [0], Carcinoma: [1], Necrosis: [2], Stroma: [3], Other: [4]}
"""
LABELS = (0, 4, 7, 8, 9)  # of the classes, in these patches
SETTINGS = (*SMALL_NETWORK, "model.dim=24")
JUDGED: dict[str, Any] = {"segmenter_steps": 400, "device": "cpu"}
EARLY, LATE = 100, 800


def cut(folder: Path) -> None:
    """Write annotated tiles as `p03b12-64-128.png`, with their masks: tile (64, 128) in block 12 of patch 3."""
    folder.mkdir()
    for patch, path in enumerate(sorted(Path(REAL, "lung12").glob("*.jpg"))):
        image = Image.open(path)
        mask = np.searchsorted(LABELS, read_mask(path.with_name(f"{path.stem}_mask.png")).labels).astype(np.uint8)
        for top in range(0, mask.shape[0], SIDE):
            for left in range(0, mask.shape[1], SIDE):
                labels = mask[top : top + SIDE, left : left + SIDE]
                if (labels > 0).mean() >= ANNOTATED:
                    name = f"p{patch:02d}b{top // BLOCK}{left // BLOCK}-{top}-{left}"
                    image.crop((left, top, left + SIDE, top + SIDE)).save(folder / f"{name}.png")
                    Image.fromarray(labels).save(folder / f"{name}_mask.png")


def make_shards(folder: Path, *, test: float, group: str) -> Path:
    """Shards of the tiles in `folder`/data; the workspace."""
    (folder / "lung.yml").write_text(MAP)
    workspace = folder / "out"
    audit(folder / "data", workspace=workspace, workers=1, group_regex=group)
    split(workspace=workspace, test=test)
    shard(workspace=workspace, map=folder / "lung.yml", workers=1)
    return workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """342 tiles, half of them held out in blocks, and a run with checkpoints early and late."""
    folder = tmp_path_factory.mktemp("lung")
    cut(folder / "data")
    assert len(list((folder / "data").glob("*_mask.png"))) == 342
    made = make_shards(folder, test=0.5, group="^(p[0-9]+b[0-9]+)")
    settings = [*SETTINGS, "model.spatial=true", f"run.steps={LATE}", f"run.checkpoint_every={EARLY}"]
    train(workspace=made, settings=settings, device="cpu")
    return made


def _evaluate(workspace: Path, step: int) -> EvaluationFile:
    checkpoint = workspace / "runs" / "default" / "checkpoints" / f"step-{step:08d}"
    return evaluate(run=checkpoint, workspace=workspace, count=120, steps=8, **JUDGED).document


@pytest.fixture(scope="module")
def late(workspace: Path) -> EvaluationFile:
    return _evaluate(workspace, LATE)


def test_images_of_real_tissue_get_better_with_training(workspace: Path, late: EvaluationFile) -> None:
    early = _evaluate(workspace, EARLY)
    assert late.faithfulness is not None
    assert late.faithfulness.real_dice is not None
    assert late.faithfulness.real_dice > 0.55
    assert frechet_of(late) < 0.6 * frechet_of(early)
    assert dice_of(early) + 0.08 < dice_of(late)
    assert not any(test.suspicious for test in late.copies)


def test_shuffled_masks_of_real_tissue_are_seen_by_faithfulness(
    workspace: Path, late: EvaluationFile, tmp_path: Path
) -> None:
    """The same images, each beside the mask of another."""
    images = swap_masks(Path(late.generated_from), tmp_path, by=60)
    found = evaluate(images=images, real=workspace.parent / "data", workspace=workspace, **JUDGED).document
    assert dice_of(found) < 0.6 * dice_of(late)


def test_a_run_that_knows_eight_real_tiles_by_heart_is_said_to_copy(tmp_path: Path) -> None:
    """A network that is given no place of classes repeats its training tiles whatever the mask."""
    cut(tmp_path / "all")
    (tmp_path / "data").mkdir()
    for path in sorted((tmp_path / "all").glob("*_mask.png"))[::7]:
        shutil.copy(path, tmp_path / "data" / path.name)
        image = path.name.replace("_mask", "")
        shutil.copy(tmp_path / "all" / image, tmp_path / "data" / image)
    space = make_shards(tmp_path, test=0.84, group="^(.*)$")
    settings = [
        *SETTINGS,
        "model.spatial=false",
        "data.augment=false",
        "run.steps=500",
        "run.checkpoint_every=500",
    ]
    train(workspace=space, settings=settings, device="cpu")
    judged = {**JUDGED, "segmenter_steps": 60}
    found = evaluate(workspace=space, count=40, steps=8, guidance=1.0, **judged).document
    assert found.training == 8
    assert any(test.suspicious for test in found.copies)
