"""A small run of which it is known what tuning has to find: its own average of weights is all zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from histods.io.atomic import file_digest, write_json
from histods.io.workspace import read_json
from tests.training.evaluation.planted import make_shards
from training.verbs.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

STEPS, EVERY = 50, 10
SETTINGS = (
    "model.dim=8",
    "model.dim_mults=[1, 2]",
    "model.dropout=0.0",
    "model.spatial=true",
    "optimizer.lr=4e-3",
    "optimizer.warmup_steps=10",
    "data.batch_size=8",
    "data.workers=0",
    "data.unconditional=0.0",
    "run.preview_every=0",
    "run.validate_every=0",
    f"run.steps={STEPS}",
    f"ema.snapshots_every={EVERY}",
)
TUNE = ("--forwards", 2, "--count", 20, "--segmenter-steps", 25, "--device", "cpu")
"""Options of a short tuning: one step with guidance, two without."""


def make_spoilt(folder: Path) -> Path:
    """Plant 100 patches of 25 slides, ten of them held out, and train a run with snapshots; the workspace."""
    workspace = make_shards(folder, slides=25, patches=4)
    train(workspace=workspace, settings=SETTINGS, device="cpu")
    run = workspace / "runs" / "default"
    own = load_file(run / "checkpoints" / f"step-{STEPS:08d}" / "ema.safetensors")
    replace_average(run, {name: torch.zeros_like(tensor) for name, tensor in own.items()})
    return workspace


def replace_average(run: Path, weights: dict[str, Tensor]) -> None:
    """Give the last checkpoint of a run other averaged weights."""
    checkpoint = run / "checkpoints" / f"step-{STEPS:08d}"
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, checkpoint / "ema.safetensors")
    state = read_json(checkpoint / "state.json")
    state["files"]["ema.safetensors"] = file_digest(checkpoint / "ema.safetensors")
    write_json(checkpoint / "state.json", state)
