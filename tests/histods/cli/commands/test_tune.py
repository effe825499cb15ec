"""`histods tune` on a run whose own average of weights is spoilt, while its snapshots hold better ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.commands import histods

pytest.importorskip("monai")

import torch
from safetensors.torch import load_file

from histods.io.workspace import read_json
from tests.training.evaluation.planted import make_shards
from tests.training.tuned_runs import EVERY, STEPS, TUNE, make_spoilt, replace_average
from training.runs.post_hoc_ema import power_exponent

if TYPE_CHECKING:
    import subprocess

    from numpy.typing import NDArray
    from torch import Tensor


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_spoilt(tmp_path_factory.mktemp("spoilt"))


@pytest.fixture(scope="module")
def tuned(workspace: Path) -> subprocess.CompletedProcess[str]:
    """What the command did and printed; the workspace has its files from now on."""
    return _run(workspace, "tune", *TUNE)


def _run(workspace: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return histods(*words, "-w", workspace, env={"COLUMNS": "1000"})


def _setting(workspace: Path) -> dict[str, Any]:
    return read_json(workspace / "runs" / "default" / "sampling.json")


def _sample(workspace: Path, out: Path, *words: object) -> subprocess.CompletedProcess[str]:
    mask = workspace.parent / "data" / "s00-0_mask.png"
    done = _run(workspace, "sample", "--masks", mask, "-o", out, "--device", "cpu", *words)
    assert done.returncode == 0, done.stderr
    return done


def _pixels(folder: Path) -> NDArray[np.int16]:
    return np.asarray(Image.open(folder / "s00-0.png"), np.int16)


def test_it_prints_a_table_and_the_next_command_and_writes_a_setting_and_a_picture(
    workspace: Path, tuned: subprocess.CompletedProcess[str]
) -> None:
    assert tuned.returncode == 0, tuned.stderr
    said = " ".join(tuned.stdout.split())
    assert f"Tuning of default at step {STEPS}: 20 masks of 5 slides of the split test, at most 2 passes" in said
    assert "Search: 20 masks sampler steps guidance noise EMA FD-own Dice dpm 1 3 0:1 own" in said
    assert "Final comparison: 20 masks" in said
    assert f"Written: {workspace / 'runs' / 'default' / 'sampling.json'}; 'histods sample' takes it" in said
    assert said.endswith(f"Next: histods evaluate --run default -w {workspace}")
    (record,) = workspace.glob("tunings/default-*/tuning.json")
    assert f"Written: {record} (look at tuning.png)" in said
    assert read_json(record)["changed"] is True
    with Image.open(record.with_name("tuning.png")) as picture:
        assert picture.width > picture.height


def test_sample_takes_what_was_found_and_says_so(
    workspace: Path, tuned: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    assert tuned.returncode == 0
    found = _setting(workspace)
    said = " ".join(_sample(workspace, tmp_path / "default").stdout.split())
    assert "found by tune sampler, steps, guidance, " in said
    assert "ema length" in said
    recipe = read_json(tmp_path / "default" / "overview" / "samples.json")["recipe"]
    assert {name: recipe[name] for name in ("steps", "guidance", "ema_length")} == {
        name: found[name] for name in ("steps", "guidance", "ema_length")
    }
    options = [
        word
        for name in ("sampler", "steps", "guidance", "levels", "ema_length")
        for word in (f"--{name.replace('_', '-')}", found[name])
    ]
    low, high = found["guidance_interval"]
    spelt = _sample(workspace, tmp_path / "spelt", *options, "--guidance-interval", f"{low}:{high}")
    assert "found by tune" not in spelt.stdout
    for name in ("s00-0.png", "overview/samples.json"):
        assert (tmp_path / "spelt" / name).read_bytes() == (tmp_path / "default" / name).read_bytes()


def _reconstructed(run: Path, length: float) -> dict[str, Tensor]:
    """The average of a length: its profile, on a grid of times, fitted by the profiles of what is stored."""
    times = (np.arange(200_000) + 0.5) * STEPS / 200_000

    def profile(step: int, sigma: float) -> NDArray[np.float64]:
        gamma = power_exponent(sigma)
        return np.where(times < step, (gamma + 1) * (times / step) ** gamma / step, 0)

    stored = [(step, run / "snapshots" / f"step-{step:08d}") for step in range(EVERY, STEPS, EVERY)]
    stored.append((STEPS, run / "checkpoints" / f"step-{STEPS:08d}"))
    files = [
        (step, sigma, folder / f"ema-{sigma:.2f}.safetensors") for step, folder in stored for sigma in (0.05, 0.1)
    ]
    profiles = np.stack([profile(step, sigma) for step, sigma, _ in files], axis=1)
    factors = np.linalg.lstsq(profiles, profile(STEPS, length))[0]
    parts = [load_file(path) for _, _, path in files]
    return {
        name: torch.stack([factor * part[name].double() for factor, part in zip(factors, parts, strict=True)])
        .sum(dim=0)
        .float()
        for name in parts[0]
    }


def test_the_average_that_was_found_is_the_one_that_its_length_means(
    workspace: Path, tuned: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    """A copy of the run whose own average is the reconstructed one makes the same image without that option."""
    assert tuned.returncode == 0
    found = _setting(workspace)
    assert found["ema_length"] in (0.05, 0.1, 0.15), "averages that 50 steps of snapshots can make"
    run = tmp_path / "runs" / "copy"
    shutil.copytree(workspace / "runs" / "default", run)
    replace_average(run, _reconstructed(run, found["ema_length"]))
    (run / "sampling.json").write_text(json.dumps(found | {"ema_length": None}))
    _sample(workspace, tmp_path / "tuned")
    said = _sample(workspace, tmp_path / "copied", "--run", run).stdout
    assert "ema length" not in said
    assert np.abs(_pixels(tmp_path / "tuned") - _pixels(tmp_path / "copied")).max() <= 1
    _sample(workspace, tmp_path / "spoilt", "--ema-length", 0.2, "--steps", found["steps"])
    assert np.abs(_pixels(tmp_path / "tuned") - _pixels(tmp_path / "spoilt")).max() > 1


def test_an_evaluation_leaves_out_the_slides_that_was_tuned_on(
    workspace: Path, tuned: subprocess.CompletedProcess[str]
) -> None:
    assert tuned.returncode == 0
    words = ("--count", 2, "--segmenter-steps", 25, "--device", "cpu")
    done = _run(workspace, "evaluate", *words)
    assert done.returncode == 0, done.stderr
    assert "5 slides, on which the way of sampling was tuned, are left out" in done.stdout


def test_a_winner_of_two_slides_is_shown_but_not_kept_and_an_earlier_setting_goes(
    workspace: Path, tuned: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    """Whether it would be better on other slides is not known, whatever draws of images say."""
    assert tuned.returncode == 0
    run = workspace / "runs" / "copy"
    shutil.copytree(workspace / "runs" / "default", run)
    few = make_shards(tmp_path, slides=5, patches=10)
    words = ("tune", "--run", "copy", *TUNE, "--split", "test", "--data", few / "shards")
    said = _run(workspace, *words).stdout
    assert "of the draws of images, but 2 slides do not show that for others: the run keeps the untuned" in said
    assert "warning: 2 slides cannot tell whether other slides would give the same" in said
    assert f"Removed: {run / 'sampling.json'}, which an earlier tuning had found." in said
    assert not (run / "sampling.json").exists()
    assert "Removed" not in _run(workspace, *words).stdout


@pytest.mark.parametrize(
    ("slides", "patches", "there", "whole"),
    [
        (3, 8, "the split test has 8", ""),
        (6, 4, "half of the split test has 4", ""),
        (6, 12, "half of the split test has 12", ", or tune on all of them with --split test"),
    ],
)
def test_too_few_images_are_refused_in_one_line_with_what_to_type(
    workspace: Path, tmp_path: Path, slides: int, patches: int, there: str, whole: str
) -> None:
    """The whole split is offered only if it is enough."""
    few = make_shards(tmp_path, slides=slides, patches=patches)
    done = _run(workspace, "tune", *TUNE, "--data", few / "shards")
    assert done.returncode == 2
    assert done.stderr == (
        f"histods: Tuning takes at least 20 images, and {there}: "
        f"run 'histods split -w {workspace}' with a larger share for validation{whole}.\n"
    )
