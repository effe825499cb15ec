"""Runs that are called again: a call that fails leaves them as they were, one that goes on keeps its settings."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from histods import shard
from histods.errors import HistodsError
from histods.io.atomic import only_one
from tests.training.trained_runs import run_tiny, weights
from training.autoencoders.linear import LinearAutoencoder
from training.runs.checkpoint import load_model, read_run, write_run
from training.verbs.encode import encode
from training.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Site


def files(run: Path) -> dict[str, bytes]:
    """All that a run is, but for the lock and TensorBoard."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name != ".lock" and "tensorboard" not in path.parts
    }


@pytest.fixture
def other(new_site: Callable[..., Site], tmp_path: Path) -> Path:
    """Shards of other images than `folder`'s."""
    site = new_site(tmp_path / "site", pairs=41, seed=5)
    shard(workspace=site.workspace, out=tmp_path / "other", map=site.map, shard_mb=1, workers=1)
    return tmp_path / "other"


def test_latents_of_another_autoencoder_leave_the_run_as_it_was(folder: Path, other: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path, folder, "run.steps=2").folder
    before = files(run)
    encode(shards=other, out=tmp_path / "latents", workspace=tmp_path)
    with pytest.raises(HistodsError, match=r"began with the autoencoder .*, but this is .*--data"):
        run_tiny(tmp_path, tmp_path / "latents", "run.steps=4", resume=True)
    assert files(run) == before
    read_run(run).load_autoencoder()


def test_settings_of_another_network_leave_the_run_as_it_was(folder: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path, folder, "run.steps=2").folder
    before = files(run)
    for setting, said in (
        ("model.dim=16", "model.dim: 8 before, 16 now"),
        ("model.class_conditioning=max", "model.class_conditioning: histogram before, max now"),
        ("model.null=zero_mask", "model.null: learned before, zero_mask now"),
        ("diffusion.prediction=epsilon", "diffusion.prediction: v before, epsilon now"),
        ("diffusion.schedule=linear", "diffusion.schedule: cosine before, linear now"),
        ("diffusion.timesteps=500", "diffusion.timesteps: 1000 before, 500 now"),
        ("diffusion.zero_terminal_snr=true", "diffusion.zero_terminal_snr: False before, True now"),
        ("data.binarise=true", "data.binarise: False before, True now"),
        ("latents.space=paper", "latents.space: default before, paper now"),
    ):
        for resume in (True, False):
            with pytest.raises(HistodsError, match="give them another meaning: ") as caught:
                run_tiny(tmp_path, folder, "run.steps=4", setting, resume=resume)
            assert said in str(caught.value)
    assert files(run) == before
    load_model(run)


def test_a_call_that_failed_changes_no_meaning_of_the_checkpoint_before(folder: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path, folder, "run.steps=2").folder
    trained = read_run(run).config
    write_run(run, replace(trained, diffusion=replace(trained.diffusion, prediction="x0")))
    assert read_run(run).config == trained
    with pytest.raises(HistodsError, match="diffusion.prediction: v before, x0 now"):
        train(workspace=tmp_path, data=folder, resume=True, device="cpu")


def test_a_learning_rate_that_leaps_is_said(folder: Path, tmp_path: Path) -> None:
    def said(*settings: str, resume: bool = True) -> str:
        lines: list[str] = []
        run_tiny(tmp_path, folder, *settings, resume=resume, say=lines.append)
        return " ".join(lines)

    assert "leaps" not in said("run.steps=4", "optimizer.schedule=onecycle", resume=False)
    assert "The learning rate jumps from 4e-09 to " in said("run.steps=8", "optimizer.schedule=onecycle")
    assert "leaps" not in said("run.steps=9", "optimizer.schedule=onecycle", "data.batch_size=4")


def test_resume_keeps_the_settings_that_are_not_named(folder: Path, tmp_path: Path) -> None:
    run_tiny(tmp_path / "a", folder, "run.steps=2")
    longer = train(workspace=tmp_path / "a", data=folder, settings=["run.steps=4"], resume=True, device="cpu")
    whole = run_tiny(tmp_path / "b", folder, "run.steps=4")
    assert weights(longer.folder, 4) == weights(whole.folder, 4)


def test_a_second_call_beside_the_first_changes_nothing(folder: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path, folder, "run.steps=2").folder
    shutil.rmtree(run / "checkpoints")  # as it is before the first checkpoint
    before = files(run)
    with only_one(run, "trains"), pytest.raises(HistodsError, match="Another process already trains in"):
        run_tiny(tmp_path, folder, "run.steps=2", "model.dim=16")
    assert files(run) == before


def test_an_autoencoder_that_a_killed_call_fitted_to_other_images_is_fitted_again(
    folder: Path, other: Path, tmp_path: Path
) -> None:
    run = run_tiny(tmp_path, other, "run.steps=2").folder
    shutil.rmtree(run / "checkpoints")
    again = run_tiny(tmp_path, folder, "run.steps=2").folder
    fresh = run_tiny(tmp_path / "b", folder, "run.steps=2").folder
    assert (
        LinearAutoencoder.load(again / "autoencoder").digest
        == LinearAutoencoder.load(fresh / "autoencoder").digest
    )
    assert weights(again, 2) == weights(fresh, 2)
