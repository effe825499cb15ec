"""Masks from nothing: trained, made with the proportions asked for, and taken by the audit with their images."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from histods import audit
from histods.errors import HistodsError
from histods.io.atomic import file_digest
from histods.io.mask_evaluation_file import MaskEvaluationFile
from tests.commands import histods
from tests.forked import Forked
from tests.training.mask_runs import CLASSES, REDUCE, make_masks, planted, train_masks
from tests.training.trained_runs import ENVIRONMENT, run_tiny, wait_until
from training import evaluate_masks, sample
from training.evaluation.masks import measure_masks, strip_share, wasserstein
from training.inference.generated_masks import MaskFolder
from training.runs.metrics import read_metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.verbs.sample import SampleResult

WANTED = {"Ground": 0.3, "Middle": 0.1, "High": 0.5}
COUNT = 16


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of masks that has learnt something, and one of images that has not."""
    folder = make_masks(tmp_path_factory.mktemp("masks"))
    train_masks(folder, "run.steps=200", "run.checkpoint_every=200")
    run_tiny(folder, folder / "shards", "run.steps=1", "model.spatial=true")
    return folder


def make(workspace: Path, **options: Any) -> SampleResult:
    return sample(masks="generated", workspace=workspace, steps=1, device="cpu", **options)


def masks_of(result: SampleResult) -> list[NDArray[np.uint8]]:
    return [np.asarray(Image.open(path)) for path in sorted(result.folder.glob("*_mask.png"))]


@pytest.fixture(scope="module")
def free(workspace: Path) -> list[NDArray[np.uint8]]:
    """Masks without a wish."""
    return masks_of(make(workspace, count=COUNT))


def test_two_commands_make_pairs_that_the_audit_takes(workspace: Path, tmp_path: Path) -> None:
    trained = histods("train", "--what", "masks", "-w", workspace)
    assert trained.returncode == 0, trained.stderr
    assert "Step 200 of 200 is done already" in trained.stdout
    assert "histods sample --masks generated" in trained.stdout
    words = ["sample", "--masks", "generated", "--proportions", "Ground=0.3,high=0.5", "--size", "64x32"]
    made = histods(
        *words, "--count", 3, "--steps", 1, "-w", workspace, "-o", tmp_path / "pairs", "--device", "cpu"
    )
    assert made.returncode == 0, made.stderr
    found = audit(tmp_path / "pairs", workspace=tmp_path / "audit", workers=1)
    assert (found.counts.pairs, found.counts.images, found.counts.masks) == (3, 3, 3)
    assert found.severities.get("error") is None, found.findings
    for number in range(3):
        mask = np.asarray(Image.open(tmp_path / "pairs" / f"generated_{number:05d}_mask.png"))
        assert mask.shape == (32, 64)
        assert set(np.unique(mask).tolist()) <= {0, 1, 2, 3}


def test_proportions_are_those_asked_for(workspace: Path) -> None:
    """Without steering, this network misses them by 14 points; with `tilt` alone, by 7."""
    shares = np.array([np.bincount(m.ravel(), minlength=4) / m.size for m in masks_of(make_wanted(workspace))])
    wanted = [WANTED[name] for name in CLASSES if name in WANTED]
    missed = np.abs(shares[:, [0, 2, 3]] - wanted)
    assert missed.mean() < 0.03
    assert np.abs(shares[:, [0, 2, 3]].mean(axis=0) - wanted).max() < 0.05


def make_wanted(workspace: Path) -> SampleResult:
    return make(workspace, count=COUNT, proportions=WANTED)


def test_a_class_of_share_zero_hardly_occurs(workspace: Path) -> None:
    masks = masks_of(make(workspace, count=4, proportions="Low=0,Middle=0"))
    assert np.mean([np.isin(mask, (1, 2)).mean() for mask in masks]) < 0.005


def test_shares_that_sum_to_one_leave_nothing_to_others(workspace: Path) -> None:
    masks = masks_of(make(workspace, count=4, proportions={"Ground": 0.4, "High": 0.6}))
    assert np.mean([np.isin(mask, (1, 2)).mean() for mask in masks]) < 0.005
    assert abs(np.mean([(mask == 3).mean() for mask in masks]) - 0.6) < 0.05


def test_borders_between_two_classes_have_no_third(free: list[NDArray[np.uint8]]) -> None:
    """Real masks have 0.05 strips per border, where regions meet or end. Without settling there would be 0.1."""
    real = strip_share(measure_masks([planted(number) for number in range(200)], 4, strip=2 * REDUCE))
    made = strip_share(measure_masks(free, 4, strip=2 * REDUCE))
    assert real is not None
    assert made is not None
    assert made < real + 0.015


def test_masks_resemble_those_of_training(free: list[NDArray[np.uint8]]) -> None:
    """Noise of the right proportions would have regions of a few pixels."""
    real, made = measure_masks([planted(number) for number in range(200)], 4), measure_masks(free, 4)
    assert np.abs(real.proportions_NK.mean(axis=0) - made.proportions_NK.mean(axis=0)).sum() / 2 < 0.2
    sizes = [np.log(np.concatenate([one[3] for one in side.sizes])) for side in (real, made)]
    assert wasserstein(*sizes) < 1.5


def digests(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def test_a_mask_depends_on_its_number_and_the_seed_only(workspace: Path) -> None:
    few = masks_of(make(workspace, count=2, proportions={"High": 0.7}))
    more = masks_of(make(workspace, count=3, proportions={"High": 0.7}))
    assert all(np.array_equal(one, other) for one, other in zip(few, more, strict=False))
    assert not np.array_equal(more[0], more[1])
    other = masks_of(make(workspace, count=2, proportions={"High": 0.7}, seed=1))
    assert not np.array_equal(few[0], other[0])


def _halt_after_two_masks() -> None:
    """Have this process wait when it has written two masks, half of the third being on the disk."""
    write = MaskFolder.write

    def halting(store: MaskFolder, number: int, classes: NDArray[np.uint8]) -> None:
        if number == 2:
            (store.folder / f".generated_00002.png.{os.getpid()}.part").write_bytes(b"half")
            while True:
                time.sleep(0.01)
        write(store, number, classes)

    MaskFolder.write = halting  # type: ignore[method-assign, assignment]


def test_after_a_kill_the_same_bytes_are_made(workspace: Path, tmp_path: Path) -> None:
    words = ["python", "-m", "histods", "sample", "--masks", "generated", "--count", 4, "--steps", 1, "--seed", 7]
    process = Forked(
        [*words, "--device", "cpu", "-w", workspace, "-o", tmp_path / "killed"],
        env=ENVIRONMENT,
        prepare=_halt_after_two_masks,
    )
    wait_until(lambda: list(workspace.glob("generated_masks/*/.generated_00002.png.*.part")), process)
    (part,) = workspace.glob("generated_masks/*/.generated_00002.png.*.part")
    home = part.parent
    process.kill()
    process.wait()
    assert sorted(path.name for path in home.glob("generated_*.png")) == [
        "generated_00000.png",
        "generated_00001.png",
    ]
    before = {path: path.stat().st_mtime_ns for path in home.glob("generated_*.png")}
    resumed = make(workspace, count=4, seed=7, out=tmp_path / "killed")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not part.exists()
    first = digests(home)
    for path in home.glob("generated_*.png"):
        path.unlink()
    whole = make(workspace, count=4, seed=7, out=tmp_path / "whole")
    assert digests(home) == first
    assert digests(resumed.folder) == digests(whole.folder)


def test_a_run_of_masks_resumes_bit_exactly(workspace: Path) -> None:
    whole = train_masks(workspace, "run.steps=4", "run.checkpoint_every=2", name="whole")
    half = train_masks(workspace, "run.steps=2", "run.checkpoint_every=2", name="half")
    again = histods("train", "--name", "half", "--resume", "--set", "run.steps=4", "-w", workspace)
    assert again.returncode == 0, again.stderr
    for part in ("model", "ema", "optimizer"):
        name = f"checkpoints/step-00000004/{part}.safetensors"
        assert (whole.folder / name).read_bytes() == (half.folder / name).read_bytes()


def test_a_run_of_masks_validates_and_draws_previews(workspace: Path) -> None:
    settings = ("run.steps=2", "run.validate_every=2", "run.preview_every=2", "run.preview_steps=2")
    result = train_masks(workspace, *settings, name="looked-at")
    assert [step for step, _ in result.losses] == [2]
    picture = np.asarray(Image.open(result.folder / "samples" / "step-00000002.png"))
    assert picture.shape[2] == 3
    assert [line["kind"] for line in read_metrics(result.folder)].count("train") == 2


def test_the_plan_of_a_run_of_masks_counts_their_pixels(workspace: Path) -> None:
    words = ["train", "--name", "plan", "--dry-run", "--json", "--set", "data.reduce=1", "--set", "model.dim=16"]
    plans = [histods(*words, "--what", what, "-w", workspace) for what in ("images", "masks")]
    assert all(plan.returncode == 0 for plan in plans), plans
    flops = [int(re.search(r'"flops_per_image": (\d+)', plan.stdout)[1]) for plan in plans]  # type: ignore[index]
    assert 30 < flops[1] / flops[0] < 90, "64 times as many cells, with other first and last layers"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["sample", "--masks", "generated", "--proportions", "Hihg=0.3"],
            "which does not exist: did you mean 'High'?",
        ),
        (
            ["sample", "--masks", "generated", "--proportions", "Low=0.7,High=0.5"],
            "--proportions sum to 1.2; lower",
        ),
        (
            ["sample", "--masks", "generated", "--size", "100"],
            "--size is 100x100 px, but its sides must be multiples",
        ),
        (["sample", "--masks", "generated", "--run", "masks"], "is a run of masks, not of images"),
        (["sample", "--masks", "generated", "--mask-run", "default"], "is a run of images, not of masks"),
        (
            ["sample", "--masks", "generated", "--mask-run", "nope"],
            "train one with 'histods train --what masks --name",
        ),
        (["sample", "--masks", "generated", "--map", "four.yml"], "which generated masks already hold: omit it"),
        (
            ["sample", "--masks", "x.png", "--size", "64", "--proportions", "Low=1"],
            "--proportions and --size need",
        ),
        (
            ["sample", "--masks", "x.png", "--run", "masks"],
            "is a run of masks, not of images: name a run of images",
        ),
        (["export", "--run", "masks"], "is a run of masks, not of images"),
        (
            ["train", "--what", "masks", "--name", "default"],
            "is a run of images, not of masks: omit --what to resume",
        ),
        (
            ["train", "--what", "images", "--name", "masks"],
            "is a run of masks, not of images: omit --what to resume",
        ),
        (["train", "--what", "masks", "--name", "new", "--init", "default"], "--init is for runs of images"),
        (["train", "--name", "new", "--init", "masks"], "is a run of masks, not of images"),
        (
            ["train", "--what", "masks", "--name", "new", "--set", "model.spatial=true"],
            "model.spatial is True; it must",
        ),
        (
            ["train", "--what", "masks", "--name", "new", "--set", "data.binarise=true"],
            "data.binarise is True; it must",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(workspace: Path, words: list[str], message: str) -> None:
    done = histods(*words, "-w", workspace, env={"COLUMNS": "1000"})
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_runs_of_two_label_maps_are_refused(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yml").write_text("name: two\nclasses: [Rest, High]\nmap: {Rest: ['0-2'], High: [3]}\n")
    assert histods("shard", "-w", workspace, "--map", tmp_path / "two.yml", "-o", tmp_path / "two").returncode == 0
    run_tiny(workspace, tmp_path / "two", "run.steps=1", name="two")
    with pytest.raises(HistodsError, match="give runs of one label map"):
        make(workspace, run="two")


def test_a_folder_called_generated_is_not_taken_for_the_word(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "generated").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HistodsError, match="there is also .*generated: give that path to use it"):
        make(workspace)


def test_masks_are_compared_with_real_ones_beside_what_real_ones_differ_by(
    workspace: Path, free: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    """The command finds by itself that the run makes masks, and takes those that are there."""
    made = histods(
        *("evaluate", "--run", "masks", "--split", "all", "--count", COUNT, "-w", workspace, "-o", tmp_path),
        *("--device", "cpu"),
    )
    assert made.returncode == 0, made.stderr
    assert f"{COUNT} generated and {COUNT} real masks (the split all," in " ".join(made.stdout.split())
    assert "was trained on the split all" in " ".join(made.stdout.split())
    assert "Next: histods report -w" in " ".join(made.stdout.split())
    found = json.loads((tmp_path / "masks.json").read_text())
    assert "was trained on the split all" in MaskEvaluationFile.read(tmp_path / "masks.json").warnings[0]
    assert found["generated"] == len(free)
    assert 0 < found["mean_proportions"]["floor"] < 0.5
    assert found["generated_strips"] == strip_share(measure_masks(free, len(CLASSES), strip=2 * REDUCE))
    with pytest.raises(HistodsError, match="is a run of images, not of masks"):
        evaluate_masks(run="default", workspace=workspace)


def test_images_cannot_be_kept_for_masks_that_do_not_describe_them(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="--keep keeps pixels of images, and --masks generated makes masks"):
        make(workspace, keep=tmp_path, change=tmp_path)


def test_options_of_images_are_refused_for_a_run_of_masks(workspace: Path) -> None:
    given = ("evaluate", "--run", "masks", "--steps", "3", "--downstream", "-w", workspace)
    made = histods(*given)
    assert made.returncode != 0
    assert "masks makes masks, and --downstream and --steps are for images: omit them." in made.stderr


def test_another_comparison_of_masks_has_a_folder_of_its_own(workspace: Path) -> None:
    options: dict[str, Any] = {"workspace": workspace, "split": "all", "count": 2, "device": "cpu"}
    first, again, other = (evaluate_masks(seed=seed, **options).record for seed in (0, 0, 1))
    assert first == again != other
