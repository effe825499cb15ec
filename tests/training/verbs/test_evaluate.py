"""`evaluate`: numbers that follow what is wrong with images, resumed after a kill, and errors in one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histods import audit, shard, split
from histods.errors import HistodsError
from histods.io.evaluation_file import EvaluationFile
from tests.training.evaluation.planted import CLASSES, MAP, make_shards, plant
from training import evaluate, train

pytest.importorskip("monai")

SETTINGS = (
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
    "run.keep_checkpoints=9",
)
JUDGED: dict[str, Any] = {"steps": 8, "segmenter_steps": 60, "device": "cpu"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten slides of eight patches, and a run with checkpoints early and late."""
    made = make_shards(tmp_path_factory.mktemp("evaluated"), slides=10, patches=8, side=32)
    settings = [*SETTINGS, "model.spatial=true", "run.steps=200", "run.checkpoint_every=40"]
    train(workspace=made, settings=settings, device="cpu")
    return made


def _evaluate(workspace: Path, step: int, **options: Any) -> EvaluationFile:
    checkpoint = workspace / "runs" / "default" / "checkpoints" / f"step-{step:08d}"
    return evaluate(run=checkpoint, workspace=workspace, count=32, **(JUDGED | options)).document


@pytest.fixture(scope="module")
def late(workspace: Path) -> EvaluationFile:
    return _evaluate(workspace, 200)


def _frechet(found: EvaluationFile) -> float:
    value = found.distances["frechet"].value
    assert value is not None
    return value


def _dice(found: EvaluationFile) -> float:
    assert found.faithfulness is not None
    assert found.faithfulness.dice is not None
    return found.faithfulness.dice


@pytest.mark.slow
def test_images_get_better_with_training(workspace: Path, late: EvaluationFile) -> None:
    early = _evaluate(workspace, 40)
    assert _frechet(late) < _frechet(early) / 3
    assert _dice(early) + 0.1 < _dice(late)
    assert late.faithfulness is not None
    assert late.faithfulness.real_dice is not None
    assert late.faithfulness.real_dice > 0.9
    assert (late.classes, late.faithfulness.ignored) == (CLASSES, "Unknown")
    assert not any(test.suspicious for test in late.copies)


def test_shuffled_masks_are_seen_by_faithfulness_and_not_by_distances(
    workspace: Path, late: EvaluationFile, tmp_path: Path
) -> None:
    """The same images, each beside the mask of another."""
    images = Path(late.generated_from)
    for path in images.glob("*.png"):
        shutil.copy(path, tmp_path / path.name)
    masks = sorted(tmp_path.glob("*_mask.png"))
    contents = [path.read_bytes() for path in masks]
    for path, content in zip(masks, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    real = workspace.parent / "data"
    found = evaluate(images=tmp_path, real=real, workspace=workspace, **JUDGED).document
    assert _dice(found) < 0.6 * _dice(late)
    right = evaluate(images=images, real=real, workspace=workspace, **JUDGED).document
    assert found.distances["frechet"].value == right.distances["frechet"].value


@pytest.mark.slow
def test_a_run_that_knows_eight_patches_by_heart_is_said_to_copy(tmp_path: Path) -> None:
    """A network that is given no place of classes repeats its training patches whatever the mask."""
    plant(tmp_path / "data", slides=12, patches=4, side=32)
    (tmp_path / "four.yml").write_text(MAP)
    space = tmp_path / "out"
    audit(tmp_path / "data", workspace=space, workers=1, group_regex="^(s[0-9]+)")
    split(workspace=space, test=0.83)
    shard(workspace=space, map=tmp_path / "four.yml", workers=1)
    settings = [
        *SETTINGS,
        "model.spatial=false",
        "data.augment=false",
        "run.steps=500",
        "run.checkpoint_every=500",
    ]
    train(workspace=space, settings=settings, device="cpu")
    result = evaluate(workspace=space, count=40, guidance=1.0, **JUDGED)
    assert result.document.training == 8
    by_pixels = result.document.copies[1]
    assert by_pixels.suspicious
    assert by_pixels.authentic < by_pixels.real_authentic - 20
    assert result.pairs is not None
    with Image.open(result.pairs) as picture:
        assert picture.width > 600


def test_a_killed_evaluation_goes_on_and_ends_with_the_same_bytes(
    workspace: Path, late: EvaluationFile, tmp_path: Path
) -> None:
    """It is ended in each of its stages in turn, by what reports the progress of that stage."""
    checkpoint = workspace / "runs" / "default" / "checkpoints" / "step-00000200"
    seen: set[str] = set()

    def end(stage: str, done: int, total: int) -> None:  # noqa: ARG001
        if stage not in seen:
            seen.add(stage)
            raise KeyboardInterrupt

    options: dict[str, Any] = {**JUDGED, "count": 32, "out": tmp_path / "again"}
    for _ in range(20):
        try:
            result = evaluate(run=checkpoint, workspace=workspace, progress=end, **options)
            break
        except KeyboardInterrupt:
            continue
    assert len(seen) >= 5
    assert EvaluationFile.read(result.record) == result.document
    assert result.document.distances == late.distances
    assert result.document.faithfulness == late.faithfulness
    assert result.document.copies == late.copies


def test_downstream_scores_are_of_all_seven_segmenters(
    workspace: Path, late: EvaluationFile, tmp_path: Path
) -> None:
    data = workspace.parent / "data"
    found = evaluate(
        images=Path(late.generated_from),
        real=data,
        train=data,
        workspace=tmp_path,
        downstream=True,
        **{**JUDGED, "segmenter_steps": 2},
    ).document
    plans = [(score.data, score.percent) for score in found.downstream]
    assert plans == [(data, percent) for percent in (10, 30, 100) for data in ("real", "both")] + [
        ("synthetic", 0)
    ]
    assert [score.synthetic for score in found.downstream] == [0, 32, 0, 32, 0, 32, 32]
    assert [score.real for score in found.downstream if score.data == "real"][-1] == 80
    assert all(score.dice is not None for score in found.downstream)


def test_without_training_images_an_encoder_has_to_be_named(tmp_path: Path) -> None:
    for name in ("made", "real"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(np.full((16, 16, 3), 40 * number, np.uint8)).save(tmp_path / name / f"{number}.png")
    with pytest.raises(HistodsError, match="name their folder with --train, or an encoder with --features"):
        evaluate(images=tmp_path / "made", real=tmp_path / "real", workspace=tmp_path / "out", **JUDGED)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 0}, "--count is 0"),
        ({"split": "train-2"}, "has no split 'train-2'"),
        ({"run": "nothing"}, "There is no run nothing"),
        ({"real": "x"}, "name the generated images with --images"),
        ({"images": "x"}, "name the folder of real images with --real"),
        ({"data": "x"}, "There are no shards in x"),
        ({"features": "no/such/folder/here"}, "no/such/folder/here"),
    ],
    ids=str,
)
def test_what_cannot_be_evaluated_is_said_in_one_line(workspace: Path, options: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"workspace": workspace, "count": 4, **JUDGED, "steps": 1, "segmenter_steps": 1}
    with pytest.raises(HistodsError) as caught:
        evaluate(**(given | options))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_of_other_sizes_are_refused_with_both_sizes(tmp_path: Path) -> None:
    for name, size in (("made", 48), ("real", 32)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (size, size)).save(tmp_path / name / "x.png")
    with pytest.raises(HistodsError, match=r"are 32x32 px and those in .* 48x48 px"):
        evaluate(images=tmp_path / "made", real=tmp_path / "real", workspace=tmp_path / "out", **JUDGED)
