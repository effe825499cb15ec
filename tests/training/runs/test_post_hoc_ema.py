"""Averages made after training: exact where they were kept, close to those of all steps elsewhere."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from histods.errors import HistodsError
from tests.training.trained_runs import command, run_tiny, start, wait_until, weights
from training.config.sections import EmaConfig
from training.runs.checkpoint import load_model, read_tensors
from training.runs.post_hoc_ema import find_snapshots, fit_average, inner_products, power_exponent
from training.trainer.ema import Ema
from training.verbs.sample import sample

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SNAPSHOTS = ("run.steps=8", "ema.snapshots_every=2")


@given(st.floats(0.03, 0.27), st.floats(0.03, 0.27), st.integers(1, 1000), st.integers(1, 1000))
@settings(max_examples=30, deadline=None)
def test_inner_products_are_integrals_of_the_profiles(one: float, other: float, first: int, second: int) -> None:
    gammas = power_exponent(one), power_exponent(other)
    # Gauss and Legendre integrate the product of powers up to the lower step, as a function of its root
    points, shares = np.polynomial.legendre.leggauss(64)
    places, low = (points + 1) / 2, min(first, second)
    profiles = [
        (gamma + 1) * (low * places) ** gamma / step ** (gamma + 1)
        for gamma, step in zip(gammas, (first, second), strict=True)
    ]
    integral = (shares / 2 * low * profiles[0] * profiles[1]).sum()
    assert inner_products(first, gammas[0], second, gammas[1]) == pytest.approx(integral, rel=1e-3, abs=1e-12)


def trajectory(steps: int) -> NDArray[np.float32]:
    """Weights [steps, 32] that drift and jitter."""
    random = np.random.default_rng(0)
    drift = random.normal(size=32) * np.log1p(np.arange(steps)[:, None] / 20)
    return (drift + random.normal(size=(steps, 32)) * 0.2).astype(np.float32)


def averages(path: NDArray[np.float32], length: float, every: int) -> dict[int, torch.Tensor]:
    """The averages that the trainer keeps, by step."""
    module = nn.Linear(32, 1, bias=False)
    ema = Ema(EmaConfig(sigma_rel=length), module)
    kept = {}
    for step, values in enumerate(path, start=1):
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(values)[None])
        ema.update(module, step)
        if step % every == 0:
            kept[step] = ema.tensors["weight"].clone()
    return kept


@pytest.mark.parametrize(
    ("length", "step", "most"), [(0.03, 600, 0.02), (0.07, 600, 0.002), (0.15, 600, 0.005), (0.07, 450, 0.01)]
)
def test_an_average_of_snapshots_is_close_to_the_one_of_all_steps(length: float, step: int, most: float) -> None:
    path = trajectory(600)
    kept = {
        (at, one): tensor for one in (0.05, 0.10) for at, tensor in averages(path, one, 30).items() if at <= step
    }
    factors, error = fit_average([at for at, _ in kept], [one for _, one in kept], step, length)
    found = sum(factor * tensor.half().double() for factor, tensor in zip(factors, kept.values(), strict=True))
    true = averages(path, length, step)[step].double()
    assert (found - true).norm() / true.norm() < most
    assert error < 0.1
    nearest = min((kept[step, one].double() - true).norm() for one in (0.05, 0.10))
    assert (found - true).norm() < nearest / 3


def test_an_average_that_was_kept_is_found_exactly() -> None:
    steps, lengths = [100, 100, 200, 200, 300, 300], [0.05, 0.10] * 3
    for place, (step, length) in enumerate(zip(steps, lengths, strict=True)):
        factors, error = fit_average(steps, lengths, step, length)
        assert factors == pytest.approx(np.eye(6)[place], abs=1e-8)
        assert error < 1e-6


def test_a_run_keeps_snapshots_and_makes_averages_of_any_length_of_them(folder: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path, folder, *SNAPSHOTS, "run.keep_checkpoints=1", "ema.sigma_rel=0.1").folder
    assert [step for step, _ in find_snapshots(run)] == [2, 4, 6, 8], "whatever checkpoints are kept"
    stored = read_tensors(run / "snapshots" / "step-00000006", "ema-0.10")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    kept = load_model(run, device="cpu").state_dict()  # the run's own average has this length
    for name, tensor in load_model(run, ema_length=0.1, device="cpu").state_dict().items():
        torch.testing.assert_close(tensor, kept[name], rtol=1e-6, atol=1e-8)
    earlier = load_model(run / "snapshots" / "step-00000006", ema_length=0.1, device="cpu").state_dict()
    for name, tensor in stored.items():
        torch.testing.assert_close(earlier[name], tensor.float(), rtol=1e-3, atol=1e-6)
    (run / "snapshots" / "step-00000002" / "ema-0.05.safetensors").write_bytes(b"")
    with pytest.raises(
        HistodsError, match="remove .*step-00000002: averages are then made from the other snapshots"
    ):
        load_model(run, ema_length=0.07, device="cpu")
    shutil.rmtree(run / "snapshots" / "step-00000002")
    with pytest.raises(HistodsError, match="step-00000006 is a snapshot without 'ema'; add --ema-length"):
        load_model(run / "snapshots" / "step-00000006", device="cpu")
    load_model(run, ema_length=0.07, device="cpu")


def test_a_killed_run_ends_with_the_same_checkpoints_and_snapshots(folder: Path, tmp_path: Path) -> None:
    whole = run_tiny(tmp_path / "whole", folder, *SNAPSHOTS).folder
    run = tmp_path / "killed" / "runs" / "default"
    process = start(command(tmp_path / "killed", folder, *SNAPSHOTS), halt_after=7)
    wait_until((run / "snapshots" / "step-00000006" / "state.json").is_file, process)
    process.kill()
    process.wait()
    shutil.rmtree(run / "snapshots" / "step-00000004")  # as if the kill had come between a checkpoint and it
    shutil.copytree(
        run / "snapshots" / "step-00000006", run / "snapshots" / "step-00000010"
    )  # of an abandoned path
    run_tiny(tmp_path / "killed", folder, *SNAPSHOTS)
    assert weights(run, 8) == weights(whole, 8)

    def bytes_of(home: Path) -> dict[str, bytes]:
        return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*.safetensors"))}

    assert bytes_of(run / "snapshots") == bytes_of(whole / "snapshots")
    assert len(bytes_of(run / "snapshots")) == 8


def test_snapshots_begin_with_the_run(folder: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path, folder, "run.steps=2").folder
    with pytest.raises(HistodsError, match="ema.snapshots_every cannot be set in .*, which began without") as no:
        run_tiny(tmp_path, folder, "run.steps=4", "ema.snapshots_every=2", resume=True)
    assert "\n" not in str(no.value)
    with pytest.raises(HistodsError, match="--ema-length needs snapshots, which .* was trained without"):
        load_model(run, ema_length=0.1)


def test_images_of_another_average_are_of_another_recipe(folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    run = run_tiny(tmp_path, folder, *SNAPSHOTS).folder
    Image.new("L", (64, 64), 1).save(tmp_path / "mask.png")
    options: dict[str, Any] = {"run": run, "masks": tmp_path / "mask.png", "workspace": tmp_path, "steps": 1}
    found = sample(ema_length=0.2, **options)
    recipe = json.loads(found.record.read_text())["recipe"]
    plain = json.loads(sample(**options).record.read_text())["recipe"]
    assert recipe["ema_length"] == 0.2
    assert recipe["weights_digest"] != plain["weights_digest"]
    assert plain.keys() == recipe.keys() - {"ema_length"}
    with pytest.raises(HistodsError, match="--weights model asks for none; leave one out"):
        sample(ema_length=0.2, weights="model", **options)
    for length in (0, 0.3):
        with pytest.raises(HistodsError, match=f"--ema-length is {length}; it must be above 0 and at most 0.28"):
            sample(ema_length=length, **options)
