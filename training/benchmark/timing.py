"""One measurement of the training loop: time some steps of one network at one batch size.

Shapes: B samples, C channels, H and W latents or pixels.
"""

from __future__ import annotations

import contextlib
import gc
import math
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from training.config.model import LATENT_FACTOR
from training.data.latent_loader import LatentBatch
from training.data.source import Encoder
from training.distributed import synchronize
from training.model.unet import UNet
from training.trainer.loop import Trainer
from training.trainer.setup import RunSetup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from training.config.model import ModelConfig
    from training.config.sections import TrainConfig
    from training.data.dataset import Batch
    from training.data.source import Source
    from training.distributed import Process
    from training.latents.latent_space import LatentSpace

_WARM, _ROUNDS = 3, 3
_NOWHERE = Path("nowhere")  # nothing is written


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The measurements at one batch size; numbers are None if the trial failed.

    Attributes:
        batch: samples per step.
        images_per_second: the median of three rounds of steps.
        first_step_seconds: time of the first step, including kernels and plans made for these shapes.
        peak_memory_bytes: peak memory in use: of the allocator on a GPU, of the process on a CPU.
        waiting: share of the time that the loop waited for its next batch, 0 to 1.
        error: why there are no numbers.
    """

    batch: int
    images_per_second: float | None = None
    first_step_seconds: float | None = None
    peak_memory_bytes: int | None = None
    waiting: float | None = None
    error: str | None = None


class Synthetic:
    """A stand-in for a source of samples: repeats one batch of random latents and masks."""

    classes: tuple[str, ...]
    map_digest = index_digest = ""

    def __init__(self, model: ModelConfig) -> None:
        self._model = model
        self.classes = tuple(f"class {label}" for label in range(model.num_classes or 0))

    def batches(self, seed: int, batch_size: int, process: Process) -> Iterable[LatentBatch]:
        """Yield a batch of `batch_size` forever."""
        generator = torch.Generator().manual_seed(seed)
        side, size = self._model.image_size // LATENT_FACTOR, self._model.image_size
        means_BCHW = torch.randn(batch_size, self._model.channels, side, side, generator=generator).half()
        coarse = torch.randint(len(self.classes), (batch_size, 1, 4, 4), generator=generator, dtype=torch.uint8)
        numbers = torch.arange(batch_size)
        batch = LatentBatch(
            means_BCHW,
            torch.full_like(means_BCHW, -6),
            coarse.repeat_interleave(size // 4, 2).repeat_interleave(size // 4, 3),
            torch.full_like(numbers, -1),
            numbers,
            numbers,
        )
        pinned = process.device.type == "cuda"
        return repeat(LatentBatch(*(tensor.pin_memory() if pinned else tensor for tensor in batch)))

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Nothing that checkpoints would keep."""
        return {}


class _Waiting:
    """Batches, and the time spent waiting for them."""

    def __init__(self, batches: Iterable[Batch | LatentBatch]) -> None:
        self._batches = iter(batches)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Batch | LatentBatch]:
        return self

    def __next__(self) -> Batch | LatentBatch:
        started = time.perf_counter()
        batch = next(self._batches)
        self.seconds += time.perf_counter() - started
        return batch


def time_training_step(
    config: TrainConfig, process: Process, source: Source | Synthetic, space: LatentSpace, seconds: float
) -> Timing:
    """Time the steps that `histods train` runs; write nothing.

    Args:
        config: the settings.
        process: this process and its device.
        source: the source of latents.
        space: the latent space.
        seconds: how long to measure after the first steps.
    """
    batch = config.data.batch_size
    _clear(process.device)
    try:
        trial = _measure(config, process, source, space, seconds)
    except (RuntimeError, MemoryError) as error:  # no memory, compiler or kernel: a result, too
        trial = Timing(batch=batch, error=_reason(error))
    _clear(process.device)
    return trial


def make_trainer(config: TrainConfig, process: Process, source: Source | Synthetic, space: LatentSpace) -> Trainer:
    """A trainer of a new network, which writes nothing unless told to save."""
    torch.manual_seed(config.run.seed)
    setup = RunSetup(
        config=config,
        process=process,
        source=cast("Source", source),
        encoder=Encoder(None, space.image_low, process.device, compiled=config.run.compile),
        space=space,
        folder=_NOWHERE,
    )
    return Trainer(setup, model=UNet(config.model).to(process.device), autoencoder={"name": "", "digest": ""})


def _measure(
    config: TrainConfig, process: Process, source: Source | Synthetic, space: LatentSpace, seconds: float
) -> Timing:
    device, batch = process.device, config.data.batch_size
    trainer = make_trainer(config, process, source, space)
    batches = _Waiting(source.batches(config.run.seed, batch, process))
    taken = [_steps(trainer, batches, 1) for _ in range(_WARM)]
    steps = max(1, math.ceil(seconds / _ROUNDS / taken[-1]))
    batches.seconds = 0.0
    rounds = [_steps(trainer, batches, steps) for _ in range(_ROUNDS)]
    return Timing(
        batch=batch,
        images_per_second=batch * steps / statistics.median(rounds),
        first_step_seconds=taken[0],
        peak_memory_bytes=_peak_memory(device),
        waiting=batches.seconds / sum(rounds),
    )


def _steps(trainer: Trainer, batches: _Waiting, steps: int) -> float:
    """Seconds that some steps take, measured from an idle device to an idle device."""
    synchronize(trainer.process.device)
    started = time.perf_counter()
    for _ in range(steps):
        trainer.train_step(batches)
    synchronize(trainer.process.device)
    return time.perf_counter() - started


def _clear(device: torch.device) -> None:
    """Free memory and compiled code, and reset the count of peak memory."""
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):  # Linux only; elsewhere the peak is that of the process so far
            Path("/proc/self/clear_refs").write_text("5")


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _reason(error: BaseException) -> str:
    """The first line of the error that is the root cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"{type(error).__name__}: {lines[0]}"[:300]
