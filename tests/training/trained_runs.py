"""Runs that are small enough for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from histods.records import silent
from tests.watchdog import WATCHED
from training.config.load import read_config, with_classes
from training.data.source import Encoder, Source
from training.distributed import Process
from training.latents.fit import fit_latent_space, resolve_autoencoder
from training.model.unet import UNet
from training.trainer.loop import Trainer
from training.trainer.setup import RunSetup
from training.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.verbs.train import TrainResult

ROOT = Path(__file__).parent.parent.parent
TINY = (
    "model.dim=8",
    "model.dim_mults=[1, 2]",
    "data.batch_size=4",
    "data.workers=0",
    "run.checkpoint_every=4",
    "run.validate_every=0",
    "run.preview_every=0",
    "run.log_every=1",
)


def run_tiny(
    workspace: Path,
    data: Path,
    *settings: str,
    name: str = "default",
    resume: bool = False,
    say: Callable[[str], None] | None = None,
) -> TrainResult:
    """Train a tiny network in this process."""
    options = [*TINY, *settings]
    return train(workspace=workspace, data=data, settings=options, name=name, resume=resume, device="cpu", say=say)


def command(workspace: Path, data: Path, *settings: str, processes: int = 1) -> list[str]:
    """The command line of the same, as one process or by torchrun."""
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    )
    options = [word for setting in (*TINY, *settings) for word in ("--set", setting)]
    where = ["-w", str(workspace), "--data", str(data), "--device", "cpu"]
    return [sys.executable, *launcher, "-m", "training", *where, *options]


def start(words: list[str]) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    environment = {**os.environ, **WATCHED, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def weights(run: Path, step: int) -> dict[str, bytes]:
    """The bytes of a checkpoint's tensors, by file."""
    folder = run / "checkpoints" / f"step-{step:08d}"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def make_trainer(run: Path, data: Path, *settings: str) -> Trainer:
    """A trainer of a tiny network at its first step, with which nothing is trained yet."""
    process = Process(device=torch.device("cpu"))
    asked = read_config(None, [*TINY, *settings])
    source = Source(data, asked.data, validates=asked.run.validate_every > 0)
    config = with_classes(asked, source.classes, str(data))
    config = replace(config, model=replace(config.model, image_size=source.image_size))
    described, autoencoder = resolve_autoencoder(config, source, run, process, None, silent)
    space = fit_latent_space(config, source, autoencoder, process, silent)
    torch.manual_seed(config.run.seed)
    setup = RunSetup(
        config=config,
        process=process,
        source=source,
        encoder=Encoder(autoencoder, space.image_low, process.device),
        space=space,
        folder=run,
    )
    return Trainer(setup, model=UNet(config.model), autoencoder=described)
