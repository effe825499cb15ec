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
from tests.training.evaluation.planted import (
    CLASSES,
    MAP,
    SMALL_NETWORK,
    dice_of,
    frechet_of,
    make_shards,
    plant,
    swap_masks,
)
from training import evaluate, train
from training.evaluation.comparison import choose_real
from training.runs.checkpoint import read_run

pytest.importorskip("monai")

FOLDERS: dict[str, Any] = {"segmenter_steps": 60, "device": "cpu"}
JUDGED: dict[str, Any] = {"steps": 8, **FOLDERS}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten slides of eight patches, and a run with checkpoints early and late."""
    made = make_shards(tmp_path_factory.mktemp("evaluated"), slides=10, patches=8, side=32)
    settings = [*SMALL_NETWORK, "model.spatial=true", "run.steps=200", "run.checkpoint_every=40"]
    train(workspace=made, settings=settings, device="cpu")
    return made


def _evaluate(workspace: Path, step: int, **options: Any) -> EvaluationFile:
    checkpoint = workspace / "runs" / "default" / "checkpoints" / f"step-{step:08d}"
    return evaluate(run=checkpoint, workspace=workspace, count=32, **(JUDGED | options)).document


@pytest.fixture(scope="module")
def late(workspace: Path) -> EvaluationFile:
    return _evaluate(workspace, 200)


@pytest.mark.slow
def test_images_get_better_with_training(workspace: Path, late: EvaluationFile) -> None:
    early = _evaluate(workspace, 40)
    assert frechet_of(late) < frechet_of(early) / 3
    assert dice_of(early) + 0.1 < dice_of(late)
    assert late.faithfulness is not None
    assert late.faithfulness.real_dice is not None
    assert late.faithfulness.real_dice > 0.9
    assert (late.classes, late.faithfulness.ignored) == (CLASSES, "Unknown")
    assert not any(test.suspicious for test in late.copies)


def test_shuffled_masks_are_seen_by_faithfulness_and_not_by_distances(
    workspace: Path, late: EvaluationFile, tmp_path: Path
) -> None:
    """The same images, each beside the mask of another."""
    images, real = Path(late.generated_from), workspace.parent / "data"
    found = evaluate(images=swap_masks(images, tmp_path, by=1), real=real, workspace=workspace, **FOLDERS).document
    assert dice_of(found) < 0.6 * dice_of(late)
    right = evaluate(images=images, real=real, workspace=workspace, **FOLDERS).document
    assert frechet_of(found) == frechet_of(right)


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
        *SMALL_NETWORK,
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
        **{**FOLDERS, "segmenter_steps": 2},
    ).document
    plans = [(score.data, score.percent) for score in found.downstream]
    assert plans == [(data, percent) for percent in (10, 30, 100) for data in ("real", "both")] + [
        ("synthetic", 0)
    ]
    assert any("80 of 80 real images are training images, too" in line for line in found.warnings)
    assert any("10 of the 10 slides of real images are slides of training" in line for line in found.warnings)
    assert [score.synthetic for score in found.downstream] == [0, 32, 0, 32, 0, 32, 32]
    assert [score.real for score in found.downstream if score.data == "real"][-1] == 80
    assert all(score.dice is not None for score in found.downstream)


def test_without_training_images_an_encoder_has_to_be_named(tmp_path: Path) -> None:
    for name in ("made", "real"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(np.full((16, 16, 3), 40 * number, np.uint8)).save(tmp_path / name / f"{number}.png")
    with pytest.raises(HistodsError, match="name their folder with --train, or an encoder with --features"):
        evaluate(images=tmp_path / "made", real=tmp_path / "real", workspace=tmp_path / "out", **FOLDERS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 0}, "--count is 0"),
        ({"split": "train-2"}, "has no split 'train-2'"),
        ({"run": "nothing"}, "There is no run nothing"),
        ({"real": "x"}, "name the generated images with --images"),
        ({"images": "x"}, "name the folder of real images with --real"),
        ({"images": "x", "real": "y"}, "and --count and --steps are for a run"),
        ({"images": "x", "real": "y", "steps": None, "count": None}, "x is not a folder"),
        ({"images": "x", "real": "./x", "steps": None, "count": None}, "--images and --real are both x"),
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
        evaluate(images=tmp_path / "made", real=tmp_path / "real", workspace=tmp_path / "out", **FOLDERS)


def _patches(folder: Path, slides: range, *, masks: bool = True, side: int = 32) -> Path:
    """Patches of two classes, four per slide, unlike those of every other slide."""
    folder.mkdir()
    for slide in slides:
        random = np.random.default_rng(slide)
        for patch in range(4):
            pixels = random.integers(0, 255, (side, side, 3)).astype(np.uint8)
            pixels[side // 2 :] //= 4
            labels = np.repeat(np.array([0, 1], dtype=np.uint8), side // 2)[:, None].repeat(side, axis=1)
            Image.fromarray(pixels).save(folder / f"slide_{slide:02d}_{patch}.png")
            if masks:
                Image.fromarray(labels).save(folder / f"slide_{slide:02d}_{patch}_mask.png")
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Any]:
    """Folders of generated, real and training images, and a workspace without shards."""
    given = {
        name: _patches(tmp_path / name, range(10 * place, 10 * place + 3)) for place, name in enumerate(_NAMES)
    }
    return {**given, "workspace": tmp_path / "out", "segmenter_steps": 1, "device": "cpu"}


_NAMES = ("train", "real", "images")


def _warnings(folders: dict[str, Any], **options: Any) -> str:
    return "\n".join(evaluate(**(folders | options)).document.warnings)


def test_sets_of_different_images_and_slides_have_no_warning_of_that(folders: dict[str, Any]) -> None:
    found = _warnings(folders)
    assert "too, for example" not in found
    assert "slides of training images" not in found
    assert "only 3 slides" in found


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("real", "images", "1 of 13 generated images are real images, too"),
        ("train", "images", "1 of 13 generated images are training images, too"),
        ("train", "real", "1 of 13 real images are training images, too"),
    ],
)
def test_an_image_in_two_folders_is_said_whatever_its_name(
    folders: dict[str, Any], first: str, second: str, said: str
) -> None:
    place = 10 * _NAMES.index(first)
    for end in ("", "_mask"):
        source = folders[first] / f"slide_{place}_0{end}.png" if place else folders[first] / f"slide_00_0{end}.png"
        shutil.copy(source, folders[second] / f"slide_77_0{end}.png")
    assert said in _warnings(folders)


def test_a_folder_of_one_slide_has_no_interval_if_other_names_tell_its_slide(folders: dict[str, Any]) -> None:
    for path in folders["real"].glob("slide_1[12]*"):
        path.unlink()
    document = evaluate(**folders).document
    assert document.slides == 1
    assert document.distances["frechet"].low is None


def test_names_that_tell_no_slide_are_said(folders: dict[str, Any]) -> None:
    for number, path in enumerate(sorted(folders["real"].glob("*[0-9].png"))):
        name = chr(ord("a") + number)
        path.with_name(f"{path.stem}_mask.png").rename(path.with_name(f"{name}_mask.png"))
        path.rename(path.with_name(f"{name}.png"))
    assert "do not tell the slide of an image" in _warnings(folders)


def test_masks_that_are_not_used_since_some_are_missing_are_said(folders: dict[str, Any]) -> None:
    (folders["images"] / "slide_20_0_mask.png").unlink()
    assert "1 of the 12 images in" in _warnings(folders)


@pytest.mark.parametrize(
    ("name", "size", "value", "said"),
    [
        ("images/slide_20_1.png", 16, 0, "slide_20_1.png is 16x16 px, but"),
        ("real/slide_10_1.png", 64, 0, "slide_10_1.png is 64x64 px, but"),
        ("train/slide_00_1.png", 64, 0, "64x64 px"),
        ("images/slide_20_1_mask.png", 16, 0, "slide_20_1_mask.png is 16x16 px, but"),
        ("real/slide_10_1_mask.png", 16, 0, "slide_10_1_mask.png is 16x16 px, but"),
        ("train/slide_00_1_mask.png", 16, 0, "slide_00_1_mask.png is 16x16 px, but"),
        ("images/slide_20_1_mask.png", 32, 255, "training images have classes up to 1"),
        ("real/slide_10_1_mask.png", 32, 255, "training images have classes up to 1"),
    ],
)
def test_a_file_that_does_not_fit_the_others_is_named(
    folders: dict[str, Any], name: str, size: int, value: int, said: str
) -> None:
    path = folders["real"].parent / name
    mode = "L" if "_mask" in name else "RGB"
    Image.new(mode, (size, size), value if mode == "L" else (value,) * 3).save(path)
    with pytest.raises(HistodsError) as caught:
        evaluate(**folders)
    assert said in str(caught.value)
    assert path.name in str(caught.value)


def test_a_folder_of_another_evaluation_is_left_as_it_is(folders: dict[str, Any], tmp_path: Path) -> None:
    place = tmp_path / "here"
    record = evaluate(**folders, out=place).record
    before = record.read_bytes()
    assert evaluate(**folders, out=place).record.read_bytes() == before
    with pytest.raises(HistodsError, match="here holds another evaluation"):
        evaluate(**(folders | {"seed": 1}), out=place)
    assert record.read_bytes() == before
    with pytest.raises(HistodsError, match="lies in .*real, whose images are compared"):
        evaluate(**folders, out=folders["real"] / "found")
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".order.json.0-1.part").write_text("{")
    assert evaluate(**folders, out=tmp_path / "killed").record.read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(HistodsError, match="mine holds files of something else"):
        evaluate(**folders, out=tmp_path / "mine")


def test_segmenters_on_generated_images_need_masks_and_say_so_at_once(folders: dict[str, Any]) -> None:
    (folders["images"] / "slide_20_0_mask.png").unlink()
    with pytest.raises(HistodsError, match="--downstream needs masks of generated"):
        evaluate(**folders, downstream=True)
    assert not (folders["workspace"] / "evaluations" / "segmenters").exists()


def test_one_training_image_makes_no_test_for_copies(folders: dict[str, Any]) -> None:
    for path in folders["train"].glob("*"):
        if not path.name.startswith("slide_00_0"):
            path.unlink()
    assert evaluate(**folders).document.copies == ()


def test_a_run_on_other_shards_is_said_to_have_seen_the_images_perhaps(workspace: Path, tmp_path: Path) -> None:
    audit(workspace.parent / "data", workspace=tmp_path, workers=1, group_regex="^(s[0-9]+)")
    (tmp_path / "four.yml").write_text(MAP)
    split(workspace=tmp_path, test=0.5, seed=9)
    shard(workspace=tmp_path, map=tmp_path / "four.yml", workers=1)
    run = read_run("default", workspace / "runs")
    found = choose_real(run, tmp_path / "shards", None, 4, latents=tmp_path / "latents", option="")
    assert "was not trained on the shards" in found.warnings[0]
    own = choose_real(run, workspace / "shards", None, 4, latents=workspace / "latents", option="")
    assert own.warnings == ()
