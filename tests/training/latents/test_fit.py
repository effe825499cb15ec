"""What is fixed before the first step: the autoencoder of a run, and the whitening of its latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from histods.errors import HistodsError
from histods.shards.latents.reader import LatentReader
from tests.training.autoencoders.test_base import kl
from tests.training.trained_runs import run_tiny
from training.autoencoders.base import load_autoencoder
from training.autoencoders.linear import LinearAutoencoder
from training.config.sections import DataConfig
from training.data.dataset import Batch
from training.data.source import Source
from training.runs.checkpoint import read_run
from training.runs.metrics import read_metrics
from training.verbs.encode import encode

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.verbs.train import TrainResult


@pytest.fixture(scope="module")
def saved_kl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny AutoencoderKL, whose posterior is far wider than its means are spread."""
    folder = tmp_path_factory.mktemp("statistics") / "kl"
    kl().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def kl_latents(folder: Path, saved_kl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latents that it made."""
    out = tmp_path_factory.mktemp("statistics") / "latents"
    encode(workspace=out.parent, shards=folder, out=out, vae=saved_kl)
    return out


def stored_images(folder: Path) -> torch.Tensor:
    """All images as they are stored: uint8 [N, 3, H, W]."""
    source = Source(folder, DataConfig())
    batch = source.fixed(source.reader, range(len(source.reader)))
    assert isinstance(batch, Batch)
    return batch.images_BCHW


def moments(means: NDArray[np.float64], logvars: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel of draws from posteriors [N, C, h, w], by NumPy."""
    axes = (0, 2, 3)
    variance = means.var(axis=axes) + np.exp(logvars).mean(axis=axes)
    return means.mean(axis=axes).tolist(), np.sqrt(variance).tolist()


def check_whitening(result: TrainResult, mean: list[float], std: list[float]) -> None:
    space = result.latent_space
    assert list(space["std"]) == pytest.approx(std, rel=1e-4)
    assert list(space["mean"]) == pytest.approx(mean, abs=1e-4 * max(std))
    assert (space["scale"], space["shift"], space["clip"], space["image_low"]) == (1, 0, None, -1)


def test_the_linear_autoencoder_is_the_same_for_any_workers_and_kept_in_the_run(
    folder: Path, tmp_path: Path
) -> None:
    runs = [
        run_tiny(tmp_path / str(workers), folder, "run.steps=1", f"data.workers={workers}") for workers in (0, 2)
    ]
    kept = [
        {path.name: path.read_bytes() for path in sorted((run.folder / "autoencoder").iterdir())} for run in runs
    ]
    assert kept[0] == kept[1]
    alone = LinearAutoencoder.fit([stored_images(folder)])
    for run in runs:
        read = read_run(run.folder)
        assert read.state.autoencoder == {"name": "autoencoder", "digest": alone.digest}
        assert read.load_autoencoder().digest == alone.digest
        assert run.latent_space == runs[0].latent_space


def test_images_are_whitened_with_their_own_mean_and_deviation(folder: Path, tmp_path: Path) -> None:
    result = run_tiny(tmp_path, folder, "run.steps=1")
    linear = read_run(result.folder).load_autoencoder()
    means, logvars = linear.encode(stored_images(folder).float() / 127.5 - 1)
    check_whitening(result, *moments(means.double().numpy(), logvars.double().numpy()))


def test_a_run_on_images_through_a_kl_autoencoder_whitens_what_it_draws(
    folder: Path, saved_kl: Path, tmp_path: Path
) -> None:
    result = run_tiny(tmp_path, folder, "run.steps=2", "data.batch_size=16", f"latents.autoencoder={saved_kl}")
    assert (result.step, result.finished) == (2, True)
    loaded = load_autoencoder(str(saved_kl))
    run = read_run(result.folder)
    assert run.state.autoencoder == {"name": str(saved_kl), "digest": loaded.digest}
    assert run.load_autoencoder().digest == loaded.digest
    assert not (result.folder / "autoencoder").exists()
    means, logvars = loaded.encode(stored_images(folder).float() / 127.5 - 1)
    check_whitening(result, *moments(means.double().numpy(), logvars.double().numpy()))
    line = read_metrics(result.folder)[-1]
    assert line["latent_std"] == pytest.approx([1] * 4, rel=0.1)


def test_a_run_on_latents_of_a_kl_autoencoder_whitens_with_what_encode_measured(
    kl_latents: Path, saved_kl: Path, tmp_path: Path
) -> None:
    result = run_tiny(tmp_path, kl_latents, "run.steps=2", "data.batch_size=16", "run.preview_every=2",
                      "run.preview_steps=2")  # fmt: skip
    assert (result.step, result.finished) == (2, True)
    assert read_run(result.folder).state.autoencoder["digest"] == load_autoencoder(str(saved_kl)).digest
    reader = LatentReader(kl_latents)
    views = [reader.read(sample, view) for sample in range(len(reader)) for view in range(8)]
    means, logvars = (
        np.stack([getattr(view, name) for view in views]).astype(np.float64) for name in ("mean", "logvar")
    )
    check_whitening(result, *moments(means, logvars))
    assert read_metrics(result.folder)[-1]["latent_std"] == pytest.approx([1] * 4, rel=0.1)
    assert [path.name for path in (result.folder / "samples").iterdir()] == ["step-00000002.png"]


def test_latents_whose_autoencoder_is_not_here_are_trained_on_without_previews(
    folder: Path, saved_kl: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "gone"
    saved_kl_copy = tmp_path / "kl"
    kl().save_pretrained(saved_kl_copy)
    encode(workspace=tmp_path, shards=folder, out=tmp_path / "latents", vae=saved_kl_copy, views=1)
    saved_kl_copy.rename(moved)
    result = run_tiny(tmp_path, tmp_path / "latents", "run.steps=1", "run.preview_every=1")
    assert result.finished
    assert not (result.folder / "samples").exists()
    assert read_run(result.folder).state.autoencoder["digest"] == load_autoencoder(str(saved_kl)).digest


def test_latents_of_images_from_minus_1_do_not_suit_the_fork_s_space(kl_latents: Path, tmp_path: Path) -> None:
    with pytest.raises(HistodsError) as caught:
        run_tiny(tmp_path, kl_latents, "run.steps=1", "latents.space=fork")
    assert str(caught.value) == (
        f"{kl_latents} holds latents of images from -1 to 1, but latents.space=fork needs those of images from "
        "0 to 1; train from shards (--data), or choose another space."
    )
    assert run_tiny(tmp_path, kl_latents, "run.steps=1", "latents.space=paper").latent_space["scale"] == 1 / 50


def test_another_autoencoder_than_that_of_the_beginning_is_refused(
    folder: Path, saved_kl: Path, tmp_path: Path
) -> None:
    first = run_tiny(tmp_path, folder, "run.steps=1")
    kept = (first.folder / "autoencoder" / "autoencoder.safetensors").read_bytes()
    with pytest.raises(HistodsError, match="began with the autoencoder .*, but this is .*; resume with"):
        run_tiny(tmp_path, folder, "run.steps=2", f"latents.autoencoder={saved_kl}", resume=True)
    assert (first.folder / "autoencoder" / "autoencoder.safetensors").read_bytes() == kept
