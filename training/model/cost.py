"""Estimate the cost of a run before it starts: parameters, arithmetic, memory and time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch._subclasses import FakeTensorMode

from training.distributed import synchronize
from training.model.flops import count_flops
from training.model.unet import UNet

if TYPE_CHECKING:
    from training.config.sections import RunConfig, TrainConfig
    from training.distributed import Process

_USE = {"cuda": 0.4, "cpu": 0.5}
"""Share of the device's matrix rate that a training step is expected to reach."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCost:
    """The expected cost of a run.

    Attributes:
        parameters: number of parameters of the U-Net without those of the null condition.
        null_parameters: number of parameters of the learned null condition.
        flops_per_image: floating-point operations of a training step per image, counted.
        memory_bytes: memory on each device for weights, gradients, moments, average, and activations of a forward
            pass, counted; on a CPU also for the copies used to write checkpoints. Workspace of kernels is not
            included.
        matrix_rate: operations per second of a large matrix product in the run's precision, measured now.
        seconds: expected time of all steps, validations and previews at 0.4 (GPU) or 0.5 (CPU) of that rate,
            without the time to read the first images.
    """

    parameters: int
    null_parameters: int
    flops_per_image: int
    memory_bytes: int
    matrix_rate: float
    seconds: float


def estimate_cost(config: TrainConfig, process: Process) -> TrainingCost:
    """Count and measure the cost of a run; keep nothing in memory."""
    model = _on_meta(config)
    counts = {name: weight.numel() for name, weight in model.named_parameters()}
    null = counts.pop("null_emb", 0)
    parameters = sum(counts.values())
    share = config.data.batch_size // config.run.accumulate // process.world_size
    flops = count_flops(config.model, train=True, factor=config.latent_factor)
    rate = matrix_rate(process.device, config.run.precision)
    images = config.run.steps * config.data.batch_size / process.world_size
    once = count_flops(config.model, train=False, factor=config.latent_factor)
    tensors = (5 if process.device.type == "cuda" else 9) + (2 if config.ema.snapshots_every else 0)
    return TrainingCost(
        parameters=parameters,
        null_parameters=null,
        flops_per_image=flops,
        memory_bytes=4 * tensors * (parameters + null) + activation_bytes(config, share, process.device),
        matrix_rate=rate,
        seconds=(images * flops + _evaluations(config.run) * once) / (rate * _USE.get(process.device.type, 0.4)),
    )


def _evaluations(run: RunConfig) -> int:
    """Number of forward passes, of one image each, in all validations and previews of a run."""

    def times(every: int) -> int:
        return -(-run.steps // every) if every else 0

    validations = times(run.validate_every) * 2 * run.validation_samples  # raw and averaged weights
    return validations + times(run.preview_every) * 2 * run.preview_samples * run.preview_steps  # guided


def activation_bytes(config: TrainConfig, batch: int, device: torch.device) -> int:
    """Bytes that a forward pass of `batch` samples keeps for the backward pass, counted without computing it.

    The device decides which operations use bfloat16: each type has its own list.
    """
    seen: dict[int, int] = {}
    kept: list[torch.Tensor] = []  # keeps addresses from being reused
    size = config.model.image_size
    side = size // config.latent_factor
    # Tensors without memory which, unlike those on the meta device, autocast converts to bfloat16.
    with FakeTensorMode(), device:
        model = UNet(config.model).train()
        weights = {weight.untyped_storage()._cdata for weight in model.parameters()}  # noqa: SLF001

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            memory = tensor.untyped_storage()
            if memory._cdata not in weights:  # noqa: SLF001 - nor a view of one
                kept.append(tensor)
                seen[memory._cdata] = memory.nbytes()  # noqa: SLF001
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            torch.autocast(device.type, torch.bfloat16, enabled=config.run.precision == "bf16"),
        ):
            model(
                torch.empty(batch, config.model.channels, side, side),
                torch.empty(batch, dtype=torch.int64),
                torch.empty(batch, 1, size, size, dtype=torch.uint8),
                torch.empty(batch, dtype=torch.bool),
            )
    return sum(seen.values())


def matrix_rate(device: torch.device, precision: str, seconds: float = 0.5) -> float:
    """Operations per second of the product of two large square matrices, measured."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    size = 8192 if device.type == "cuda" else 512
    left, right = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    torch.matmul(left, right)
    best = float("inf")
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        synchronize(device)
        started = time.perf_counter()
        torch.matmul(left, right)
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def _on_meta(config: TrainConfig) -> UNet:
    """The network on the meta device, without memory."""
    with torch.device("meta"):
        return UNet(config.model)
