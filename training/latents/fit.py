"""What is fixed before the first step: the autoencoder, and the normalisation of its latents."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import distributed

from histods.errors import HistodsError
from training.autoencoders.base import load_autoencoder
from training.autoencoders.linear import LinearAutoencoder, is_linear
from training.data.dataset import Batch
from training.data.source import Encoder
from training.latents.latent_space import LatentSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from histods.records import Progress
    from training.autoencoders.base import Autoencoder
    from training.config.sections import TrainConfig
    from training.data.latent_loader import LatentBatch
    from training.data.source import Source
    from training.distributed import Process
    from training.runs.checkpoint import State

_IMAGES = 512  # enough: their 64x64 latents are two million numbers per channel
_BATCH = 16


def resolve_autoencoder(
    config: TrainConfig,
    source: Source,
    run: Path,
    process: Process,
    state: State | None,
    report: Progress,
    *,
    given: Autoencoder | None = None,
) -> tuple[dict[str, str], Autoencoder | None]:
    """The autoencoder's name and digest, and the autoencoder; None if there are latents and it cannot be loaded.

    A linear autoencoder becomes part of the run: copied from the latents that it made, or fitted to the training
    images. It is never replaced once a run has begun, since the run's weights depend on it.

    Args:
        config: all settings.
        source: the training data.
        run: the run's folder.
        process: this process; the first one writes.
        state: the state of the run; None for a new one.
        report: called with the current stage.
        given: a linear autoencoder for a new run, instead of one fitted to its images.

    Raises:
        HistodsError: the autoencoder has changed, or it is needed to encode images and cannot be loaded.
    """
    own = run / "autoencoder"
    latents = source.latents
    if latents is None and config.latents.autoencoder != "linear":
        name = config.latents.autoencoder
        name = str(Path(name).resolve()) if Path(name).is_dir() else name
        loaded = load_autoencoder(name, process.device)
        return _same({"name": name, "digest": loaded.digest}, state, run), loaded
    if latents is not None and latents.autoencoder.name != "linear":
        described = _same({"name": latents.autoencoder.name, "digest": latents.autoencoder.digest}, state, run)
        try:
            loaded = load_autoencoder(described["name"], process.device)
        except HistodsError:  # training on latents works without it, but not previews
            return described, None
        return described, loaded if loaded.digest == described["digest"] else None
    if latents is not None:
        _same({"name": "autoencoder", "digest": latents.autoencoder.digest}, state, run)
    with process.together():
        if process.first and not (state is not None and is_linear(own)):
            if latents is not None:
                LinearAutoencoder.load(source.folder / "autoencoder").save(own)
            elif isinstance(given, LinearAutoencoder):
                given.save(own)
            else:
                _fit(source, own, report)
    with process.together():
        linear = load_autoencoder(str(own), process.device)
    return _same({"name": "autoencoder", "digest": linear.digest}, state, run), linear


def _same(described: dict[str, str], state: State | None, run: Path) -> dict[str, str]:
    """Reject an autoencoder other than the one that a run began with."""
    if state is not None and described["digest"] != state.autoencoder["digest"]:
        raise HistodsError(
            f"{run} began with the autoencoder {state.autoencoder['digest'][:12]}, but this is "
            f"{described['digest'][:12]}; resume with its original data (--data), or choose another --name."
        )
    return described


def _fit(source: Source, own: Path, report: Progress) -> None:
    """Fit the linear autoencoder of a new run; keep one that a killed call fitted to the same images."""
    without = f" without {source.held_out.sum()}" if source.held_out.any() else ""
    reduced = f" reduced by {source.reduce}" if source.reduce > 1 else ""
    images = f"{source.index_digest} {'/'.join(source.splits)}{without}{reduced}"
    if is_linear(own):
        with suppress(HistodsError):  # a damaged one is fitted again
            if LinearAutoencoder.load(own).source == images:
                return
    report("fitting the linear autoencoder", 0, 0)
    LinearAutoencoder.fit(_images(source), images).save(own)


def fit_latent_space(
    config: TrainConfig,
    source: Source,
    autoencoder: Autoencoder | None,
    process: Process,
    report: Progress,
    *,
    given: LatentSpace | None = None,
) -> LatentSpace:
    """The latent space: the given one, or the preset; `default` is whitened by the latents' mean and deviation."""
    kind = config.latents.space
    plain = given or (LatentSpace.preset(kind, mean=None, std=None) if kind != "default" else None)
    if plain is not None:
        if source.encoded and plain.image_low != -1:
            raise HistodsError(
                f"{source.folder} holds latents of images from -1 to 1, but latents.space={kind} needs those of "
                f"images from {plain.image_low:g} to 1; train from shards (--data), or choose another space."
            )
        return plain
    if source.latents is not None:
        return LatentSpace.preset("default", mean=source.latents.mean, std=source.latents.std)
    numbers: list[Any] = [None]
    with process.together():
        if process.first:
            report("measuring latents", 0, 0)
            numbers = [_measure(source, Encoder(autoencoder, -1.0, process.device))]
    if process.world_size > 1:
        distributed.broadcast_object_list(numbers, src=0, device=process.device)
    mean, std = numbers[0]
    return LatentSpace.preset("default", mean=mean, std=std)


def _measure(source: Source, encoder: Encoder) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of the latents of some training images.

    Deviations include the posterior variance, like those that `histods encode` writes.
    """
    number, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in _batches(source):
        flat, logvars = (part.double().transpose(0, 1).flatten(1) for part in encoder.posterior(batch))
        number += flat.shape[1]
        total = total.to(flat) + flat.sum(1)
        squares = squares.to(flat) + flat.square().sum(1) + logvars.exp().sum(1)
    mean = total / number
    std = (squares / number - mean.square()).clamp_min(1e-12).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())


def _images(source: Source) -> Iterator[torch.Tensor]:
    for batch in _batches(source):
        assert isinstance(batch, Batch)  # noqa: S101 - the source holds images
        yield batch.images_BCHW


def _batches(source: Source) -> Iterator[Batch | LatentBatch]:
    """Training images spread evenly over all, as stored."""
    trained = source.samples
    places = np.linspace(0, len(trained) - 1, min(_IMAGES, len(trained))).round().astype(np.int64)
    samples = trained[np.unique(places)].tolist()
    for first in range(0, len(samples), _BATCH):
        yield source.fixed(source.reader, samples[first : first + _BATCH])
