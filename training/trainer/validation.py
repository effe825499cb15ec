"""Loss on a fixed set of (latent, noise level, noise), in ten ranges of noise levels.

The training loss looks flat because it differs far more between noise levels than between epochs. Here every
sample keeps its noise level and its noise, so results are comparable, and each range is reported separately.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import mse_loss

from histods.sampling.philox import philox4x64
from histods.sampling.streams import Stream
from training.diffusion.noise import normal_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from histods.shards.images.reader import ShardReader
    from histods.shards.latents.reader import LatentReader
    from training.data.source import Source
    from training.trainer.setup import RunSetup

BUCKETS = 10
HELD_OUT = "held out"
"""Used instead of the name of a split if training samples are held out."""


class Losses(NamedTuple):
    """Unweighted mean squared error of the prediction, over all samples and in each range of noise levels."""

    mean: float
    buckets: list[float]


class Validation:
    """The fixed validation set, which depends only on the data and the seed. Processes divide it among them.

    Attributes:
        split: the split of its samples, or the held-out training samples; None if there are neither, in which case
            it uses samples that are trained on.
        masks_BCHW: masks of its samples.
    """

    def __init__(self, setup: RunSetup) -> None:
        config, source, device = setup.config, setup.source, setup.process.device
        reader, samples, self.split = _choose(source)
        count = max(config.run.validation_samples, BUCKETS)
        places = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(np.int64)
        batch = source.fixed(reader, np.resize(samples[places], count).tolist())
        self.masks_BCHW = batch.masks_BCHW
        words = philox4x64(config.run.seed, np.arange(count), Stream.VALIDATION)
        self._bucket_B = torch.arange(count) % BUCKETS
        timesteps = config.diffusion.timesteps
        fractions = (words[:, 0] >> np.uint64(11)) * 2.0**-53
        levels = (self._bucket_B.numpy() + fractions) / BUCKETS * timesteps
        self._times_B = torch.from_numpy(np.minimum(levels.astype(np.int64), timesteps - 1)).to(device)
        ranks = setup.process.world_size
        self._size = min(config.data.batch_size // config.run.accumulate // ranks, -(-count // ranks))
        slices = _slices(count, self._size)
        self._x0_BCHW = torch.cat(
            [setup.space.normalise(setup.encoder.mean(_rows(batch, rows))) for rows in slices]
        )
        seeds = (words[:, 1] >> np.uint64(1)).astype(np.int64).tolist()
        self._noise_BCHW = normal_noise(seeds, self._x0_BCHW.shape[1:], device)
        self._process = setup.process
        self._schedule, self._prediction = setup.schedule, config.diffusion.prediction
        self._half = setup.half

    @torch.no_grad()
    def __call__(self, module: nn.Module) -> Losses:
        """The losses of a network, in all processes, with dropout disabled."""
        was_training = module.training
        module.eval()
        process, slices = self._process, _slices(len(self._times_B), self._size)
        own = [self._loss(module, rows).cpu() for rows in slices[process.rank :: process.world_size]]
        module.train(was_training)
        losses = torch.empty(len(self._times_B))
        for rank, shares in enumerate(process.gather(own)):
            for rows, share in zip(slices[rank :: process.world_size], shares, strict=True):
                losses[rows] = share
        buckets = [losses[self._bucket_B == bucket].mean().item() for bucket in range(BUCKETS)]
        return Losses(losses.mean().item(), buckets)

    def _loss(self, module: nn.Module, rows: slice) -> Tensor:
        x0, noise, times = self._x0_BCHW[rows], self._noise_BCHW[rows], self._times_B[rows]
        noisy = self._schedule.add_noise(x0, noise, times)
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=self._half):
            output = module(noisy, times, self.masks_BCHW[rows].to(x0.device))
        target = self._schedule.target(self._prediction, x0, noise, times)
        return mse_loss(output.float(), target, reduction="none").mean(dim=(1, 2, 3))


def describe_validation(source: Source) -> str:
    """A sentence on what a run validates on."""
    if source.validation_split is not None:
        return f"Validation: {source.validation_split}."
    if source.held_out.any():
        return (
            f"Validation: {source.held_out.sum():,} of the {len(source.reader):,} samples, held out (groups stay "
            "whole), since there is no split named val."
        )
    return (
        "Validation uses samples that are trained on, since there is no split named val and no group is small "
        "enough to hold out; 'histods split --val 0.1' makes one."
    )


def _choose(source: Source) -> tuple[ShardReader | LatentReader, NDArray[np.int64], str | None]:
    """A reader, the samples in it to validate on, and the name of their split."""
    if source.validation_split is not None:
        reader = source.read((source.validation_split,))
        return reader, source.usable(reader), source.validation_split
    if source.held_out.any():
        return source.reader, np.flatnonzero(source.held_out), HELD_OUT
    return source.reader, source.usable(source.reader), None


def _slices(count: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def _rows(batch: Any, rows: slice) -> Any:
    """Some rows of a batch."""
    return type(batch)(*(column[rows] for column in batch))
