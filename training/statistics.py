"""What is fixed before the first step: the autoencoder, and what the network will see of its latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import distributed

from histods.errors import HistodsError
from training.autoencoder import load_autoencoder
from training.data import Batch
from training.latent_space import LatentSpace
from training.linear_autoencoder import LinearAutoencoder
from training.source import Encoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from histods.records import Progress
    from training.autoencoder import Autoencoder
    from training.config import TrainConfig
    from training.device import Process
    from training.latent_data import LatentBatch
    from training.source import Source

_IMAGES = 512  # so many are enough: their 64x64 latents are two million numbers a channel
_BATCH = 16


def autoencoder_of(
    config: TrainConfig, source: Source, run: Path, process: Process, report: Progress
) -> tuple[dict[str, str], Autoencoder | None]:
    """The autoencoder's name and digest, and itself; None where latents are there and it cannot be loaded here.

    The linear one becomes part of the run: copied from the latents that were made with it, or fitted to the
    images that are trained on.

    Raises:
        HistodsError: images are to be encoded and the autoencoder cannot be loaded.
    """
    latents = source.latents
    if latents is None:
        if config.latents.autoencoder != "linear":
            loaded = load_autoencoder(config.latents.autoencoder, process.device)
            return {"name": config.latents.autoencoder, "digest": loaded.digest}, loaded
        own = run / "autoencoder"
        if process.first and not (own / "autoencoder.json").is_file():
            report("fitting the linear autoencoder", 0, 0)
            LinearAutoencoder.fit(_images(source)).save(own)
    else:
        described = {"name": latents.autoencoder.name, "digest": latents.autoencoder.digest}
        if described["name"] != "linear":
            try:
                return described, load_autoencoder(described["name"], process.device)
            except HistodsError:  # a machine that trains on latents need not have it: no previews then
                return described, None
        own = run / "autoencoder"
        if process.first:
            LinearAutoencoder.load(source.folder / "autoencoder").save(own)
    process.wait()
    linear = load_autoencoder(str(own), process.device)
    return {"name": "autoencoder", "digest": linear.digest}, linear


def space_of(
    config: TrainConfig, source: Source, autoencoder: Autoencoder | None, process: Process, report: Progress
) -> LatentSpace:
    """What the network sees of latents: the preset, whitened by the latents' own mean and deviation."""
    kind = config.latents.space
    plain = LatentSpace.preset(kind, mean=None, std=None) if kind != "default" else None
    if plain is not None:
        if source.encoded and plain.image_low != -1:
            raise HistodsError(
                f"Expected latents of images from {plain.image_low:g} to 1 for latents.space={kind}, found some "
                f"of images from -1 to 1 in {source.folder}; train from shards (--data), or choose another space."
            )
        return plain
    if source.latents is not None:
        return LatentSpace.preset("default", mean=source.latents.mean, std=source.latents.std)
    numbers: list[Any] = [None]
    if process.first:
        report("measuring latents", 0, 0)
        numbers = [_measure(source, Encoder(autoencoder, -1.0, process.device))]
    if process.ranks > 1:
        distributed.broadcast_object_list(numbers, src=0, device=process.device)
    mean, std = numbers[0]
    return LatentSpace.preset("default", mean=mean, std=std)


def _measure(source: Source, encoder: Encoder) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of the latents of some training images."""
    number, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in _batches(source):
        flat = encoder(batch, None).double().transpose(0, 1).flatten(1)
        number += flat.shape[1]
        total, squares = total.to(flat) + flat.sum(1), squares.to(flat) + flat.square().sum(1)
    mean = total / number
    std = (squares / number - mean.square()).clamp_min(1e-12).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())


def _images(source: Source) -> Iterator[torch.Tensor]:
    for batch in _batches(source):
        assert isinstance(batch, Batch)  # noqa: S101 - the source holds images
        yield batch.images_BCHW


def _batches(source: Source) -> Iterator[Batch | LatentBatch]:
    """Training images spread evenly over all, as they are stored."""
    count = min(_IMAGES, len(source.reader))
    samples = np.unique(np.linspace(0, len(source.reader) - 1, count).round().astype(np.int64)).tolist()
    for first in range(0, len(samples), _BATCH):
        yield source.fixed(source.reader, samples[first : first + _BATCH])
