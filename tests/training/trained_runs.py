"""Runs that are small enough for tests."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from histods.records import silent
from tests.forked import Forked
from tests.watchdog import WATCHED, finish
from training.config.load import read_config, with_classes
from training.data.source import Encoder, Source
from training.distributed import Process
from training.latents.fit import fit_latent_space, resolve_autoencoder
from training.model.unet import UNet
from training.trainer import loop
from training.trainer.loop import Trainer
from training.trainer.setup import RunSetup
from training.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from training.data.dataset import Batch
    from training.data.latent_loader import LatentBatch
    from training.verbs.train import TrainResult

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, **WATCHED, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
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


def start(
    words: list[str],
    *,
    start_new_session: bool = False,
    with_stdout: bool = False,
    halt_after: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Forked:
    """Start a command in a process of its own.

    Args:
        words: the command line.
        start_new_session: whether it leads a group of processes of its own.
        with_stdout: whether what it prints is kept with its errors.
        halt_after: the number of steps after which it trains on only when it is asked to end; so a test that lets
            it end in the middle of its run does, however long the test itself has to wait for a core.
        variables: more of its environment.
    """
    prepare = None if halt_after is None else partial(_halt, halt_after)
    return Forked(
        words,
        env=ENVIRONMENT | dict(variables or {}),
        start_new_session=start_new_session,
        with_stdout=with_stdout,
        prepare=prepare,
    )


def _halt(after: int) -> None:
    """Have trainers of this process wait for a signal after a step."""
    train_step, stop_requests = Trainer.train_step, loop.stop_requests  # type: ignore[attr-defined]
    requests: list[int] = []

    @contextmanager
    def noted() -> Iterator[list[int]]:
        nonlocal requests
        with stop_requests() as requests:
            yield requests

    def halting(trainer: Trainer, batches: Iterator[Batch | LatentBatch]) -> None:
        train_step(trainer, batches)
        while trainer.step == after and not requests:
            time.sleep(0.005)

    loop.stop_requests = noted  # type: ignore[attr-defined]
    Trainer.train_step = halting  # type: ignore[method-assign, assignment]


def start_together(*calls: list[str], with_stdout: bool = False) -> list[Forked]:
    """Start processes with what launchers on several machines, of one process each, hand them."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(len(calls))}
    shared |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    return [
        start(words, with_stdout=with_stdout, variables=shared | {"RANK": str(rank)})
        for rank, words in enumerate(calls)
    ]


def wait_until(there: Callable[[], object], process: Forked) -> None:
    """Wait until something is there that a process makes.

    Raises:
        AssertionError: the process has ended, or takes longer than on any machine.
    """
    until = time.monotonic() + 600
    while not there():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < until, "what was waited for does not come"
        time.sleep(0.005)


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
