"""sample --reference: small images as ever, large ones of random patches, which repeat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.verbs.test_sample import halves, made, make_run, pixels, write_mask
from training.verbs.sample import SampleResult, sample


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a mask of the training size, 32 x 32, and a larger one."""
    folder = tmp_path_factory.mktemp("reference")
    make_run(folder / "runs" / "default")
    write_mask(folder / "small" / "small.png", halves(1, 2, 32))
    for name, size in (("small", 32), ("large", 88)):
        write_mask(folder / "both" / f"{name}.png", halves(1, 2, size))
    return folder


def paint(workspace: Path, masks: str, out: Path, **options: Any) -> SampleResult:
    options = {"reference": True, "steps": 3, **options}
    return sample(masks=workspace / masks, workspace=workspace, out=out, **options)


def recipe(result: SampleResult) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.record.read_text())["recipe"]
    return found


def test_an_image_of_the_training_size_is_the_one_of_plain_reference_sampling(
    workspace: Path, tmp_path: Path
) -> None:
    """Folders of earlier versions hold such images; their recipe has no entry for windows."""
    plain = paint(workspace, "small", tmp_path / "plain")
    both = paint(workspace, "both", tmp_path / "both")
    assert np.array_equal(pixels(plain.folder / "small.png"), pixels(both.folder / "small.png"))
    assert recipe(both) == recipe(plain) | {"windows": "random"}
    assert "windows" not in recipe(plain)
    assert "windows" not in recipe(paint(workspace, "both", tmp_path / "grid", reference=False))


def test_a_large_image_repeats_by_its_seed_for_any_batch_and_after_a_loss(workspace: Path, tmp_path: Path) -> None:
    first, second = (paint(workspace, "both", tmp_path / name) for name in ("a", "b"))
    assert made(first) == made(second)
    (first.folder / "large.png").unlink()
    assert paint(workspace, "both", tmp_path / "a").written == 1
    assert made(first) == made(second)
    found = pixels(first.folder / "large.png")
    batched = pixels(paint(workspace, "both", tmp_path / "batched", batch=1).folder / "large.png")
    assert np.abs(found - batched).max() <= 1
    other = pixels(paint(workspace, "both", tmp_path / "other", seed=1).folder / "large.png")
    assert (found != other).mean() > 0.5
