"""The samples of a run: latents encoded ahead of training, or images encoded in each step.

All randomness of a sample is a function of (seed, position): its noise level, whether its condition is dropped,
its noise, and the draw from the autoencoder's posterior. So there is no state to save.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from histods.errors import HistodsError
from histods.sampling.draws import Draws
from histods.sampling.philox import philox4x64
from histods.sampling.streams import Stream
from histods.shards.base import read_index
from histods.shards.images.reader import ShardReader
from histods.shards.images.shard_set import ShardSet
from histods.shards.latents.latent_set import LatentSet
from histods.shards.latents.reader import LatentReader
from training.autoencoders.linear import NO_VARIANCE
from training.config.model import LATENT_FACTOR
from training.data.dataset import Batch, DrawsSamples, ShardDataset, balanced
from training.data.holdout import choose_held_out, without
from training.data.image_loader import Loader
from training.data.image_size import check_multiple, one_shape, reduction
from training.data.latent_loader import LatentBatch, LatentLoader
from training.diffusion.level_draws import draw_levels
from training.diffusion.noise import normal_noises

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from histods.io.workspace import Workspace
    from histods.sampling.draws import BalancedDraws
    from training.autoencoders.base import Autoencoder
    from training.config.model import ModelConfig
    from training.config.sections import DataConfig, LevelDraw
    from training.distributed import Process


class Chance(NamedTuple):
    """The random choices for samples, each of shape [B] in CPU memory.

    Attributes:
        times_B: int64, noise levels.
        dropped_B: bool, whether the condition is dropped.
        seeds_B: int64, seeds of the noise to predict and of the draw from the autoencoder's posterior.
    """

    times_B: Tensor
    dropped_B: Tensor
    seeds_B: Tensor


def chance_at(
    seed: int, positions_B: Tensor, timesteps: int, null_probability: float, levels: LevelDraw = "uniform"
) -> Chance:
    """The random choices for the samples at some positions of a run."""
    words = philox4x64(seed, positions_B.numpy(), Stream.NOISE_LEVELS)
    times = draw_levels(words[:, 0], timesteps, levels)
    dropped = (words[:, 1] >> np.uint64(11)) * 2.0**-53 < null_probability
    seeds = (words[:, 2] >> np.uint64(1)).astype(np.int64)
    return Chance(torch.from_numpy(times), torch.from_numpy(dropped), torch.from_numpy(seeds))


class Batches(Protocol):
    """Batches of one rank; see `training.data.image_loader.Loader`."""

    position: int

    def __iter__(self) -> Iterator[Batch | LatentBatch]:
        """Batches from `position` on."""

    def state_dict(self) -> dict[str, int | str]:
        """The position to resume at, and the digest of the index."""

    def load_state_dict(self, state: dict[str, int | str]) -> None:
        """Resume from a state."""


class Source:
    """The samples of shards or latents, and batches of them.

    Attributes:
        folder: the folder of the shards or latents.
        reader: the samples of the training splits.
        classes: names of the classes.
        map: name of the label map.
        map_digest: digest of the label map.
        index_digest: digest of the index.
        encoded: whether the samples are latents.
        latents: the description of the latents; None for images.
        image_size: height of the images after reduction, pixels.
        reduce: factor by which images and masks are reduced.
        splits: the training splits.
        validation_split: the split to validate on, or None.
        held_out: [samples], true for training samples that are held out for validation and never drawn; all false
            if there is a validation split, or nothing to validate on.
    """

    def __init__(self, folder: Path, data: DataConfig, *, validates: bool = False) -> None:
        self.folder = folder
        self.encoded = (folder / LatentSet.FILE).is_file()
        known = _splits(folder, encoded=self.encoded)
        self.splits = data.splits or (("train",) if "train" in known else known)
        self.validation_split = _parse_validation(data, known, self.splits, folder)
        self._data, self.reduce = data, data.reduce
        self.reader = self.read(self.splits)
        shards = self.reader.shards
        self.latents = shards if isinstance(shards, LatentSet) else None
        self.classes = shards.classes
        self.map = shards.map
        self.map_digest = shards.map_digest
        self.index_digest = shards.index_digest
        self.held_out = np.zeros(len(self.reader), dtype=bool)
        if validates and self.validation_split is None:
            self.held_out = self._choose_held_out()
        others = () if self.validation_split is None else (self.validation_split,)
        height, width = _sides(shards, (*self.splits, *others))
        self._check_reduce(data.reduce, height, width)
        self.image_size, self._width = height // data.reduce, width // data.reduce

    @property
    def samples(self) -> NDArray[np.int64]:
        """Indices of the training samples."""
        return np.flatnonzero(~self.held_out)

    def _choose_held_out(self) -> NDArray[np.bool_]:
        index = read_index(self.reader.shards, ["key", "split", "group"])
        index = index.filter(pc.is_in(index["split"], pa.array(self.splits)))
        return choose_held_out(index["key"].to_pylist(), index["group"].to_pylist(), self.reader.lists)

    @property
    def without_samples(self) -> tuple[str, ...]:
        """Names of the classes, except the first, that no training sample has."""
        sizes = without(self.reader.lists, self.held_out).sizes
        known = zip(self.classes[1:], sizes[1:].tolist(), strict=True)
        return tuple(name for name, size in known if not size)

    def reduction(self, model: ModelConfig, side: int) -> int:
        """The factor that reduces images to `side` pixels or less; see `reduction`."""
        return 1 if self.encoded else reduction((self.image_size, self._width), model, side)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What checkpoints keep of the data, by part: nothing."""
        return {}

    def usable(self, reader: ShardReader | LatentReader) -> NDArray[np.int64]:
        """Indices of the samples of a reader that can be trained or validated on: all."""
        return np.arange(len(reader))

    def _check_reduce(self, factor: int, height: int, width: int) -> None:
        if factor > 1 and self.encoded:
            raise HistodsError(
                f"data.reduce={factor} needs images, and {self.folder} has latents: train on shards with --data, "
                "or set data.reduce=1."
            )
        if height % factor or width % factor:
            raise HistodsError(
                f"Images of {width}x{height} px cannot be reduced by data.reduce={factor}: choose a factor of "
                "both sides."
            )

    def check_fits(self, model: ModelConfig) -> None:
        """Reject images whose size or channels the network does not accept.

        Raises:
            HistodsError: latents cannot be halved at each level, or have another number of channels.
        """
        factor = LATENT_FACTOR if self.latents is None else self.latents.autoencoder.factor
        least = factor * model.size_multiple
        check_multiple(self.image_size, self._width, least, model.dim_mults, self.folder)
        if self.latents is not None and self.latents.channels != model.channels:
            raise HistodsError(
                f"model.channels is {model.channels}, but the latents in {self.folder} have "
                f"{self.latents.channels} channels; set model.channels={self.latents.channels}."
            )

    def read(self, splits: tuple[str, ...]) -> ShardReader | LatentReader:
        """The samples of some splits."""
        return LatentReader(self.folder, splits) if self.encoded else ShardReader(self.folder, splits)

    def batches(self, seed: int, batch_size: int, process: Process) -> Batches:
        """Training batches, drawn by class.

        Raises:
            HistodsError: a class has no samples, or the processes cannot share a batch evenly.
        """
        self.draws = draws = self._choose_draws(seed)
        shares: dict[str, Any] = {
            "global_batch": batch_size,
            "rank": process.rank,
            "ranks": process.world_size,
            "workers": self._data.workers,
            "pin_memory": process.device.type == "cuda",
        }
        data = self._data
        if isinstance(self.reader, LatentReader):
            return LatentLoader(self.reader, draws, binarise=data.binarise, augment=data.augment, **shares)
        return Loader(self._dataset(self.reader, draws, augment=data.augment), **shares)

    def _choose_draws(self, seed: int) -> BalancedDraws:
        """The sequence of training samples."""
        return balanced(
            self.reader,
            seed=seed,
            unconditional=self._data.unconditional,
            replacement=self._data.replacement,
            lists=without(self.reader.lists, self.held_out),
            class_weights=self._data.class_weights,
        )

    def _dataset(self, reader: ShardReader, draws: DrawsSamples, *, augment: bool) -> ShardDataset:
        """The samples of shards as tensors."""
        data = self._data
        return ShardDataset(reader, draws, binarise=data.binarise, augment=augment, reduce=data.reduce)

    def keys_at(self, positions: range) -> list[str]:
        """Keys of the samples at some positions, for messages."""
        return [self.reader.key(int(sample)) for sample in self.draws.draw(positions).samples]

    def fixed(self, reader: ShardReader | LatentReader, samples: Sequence[int]) -> Batch | LatentBatch:
        """Some samples as stored, in one batch."""
        draws = _Fixed(np.asarray(samples, dtype=np.int64))
        if isinstance(reader, LatentReader):
            return next(iter(LatentLoader(reader, draws, global_batch=len(samples))))
        return self._dataset(reader, draws, augment=False).batch(range(len(samples)))


class Encoder:
    """Turns batches into latents on the device; `LatentSpace.normalise` is applied afterwards.

    Args:
        autoencoder: encodes batches of images; may be None if all batches are of latents.
        image_low: value of black in the autoencoder's input images, -1 or 0; white is 1.
        device: where to compute.
        compiled: draw noise in a kernel made by torch.compile.
    """

    def __init__(
        self, autoencoder: Autoencoder | None, image_low: float, device: torch.device, *, compiled: bool = False
    ) -> None:
        self.autoencoder = autoencoder
        self._low = image_low
        self._device = device
        self._compiled = compiled

    def draw(self, batch: Batch | LatentBatch, seeds_B: Tensor) -> tuple[Tensor, Tensor]:
        """Latents drawn from the posterior, and the noise to predict, each z_BCHW in float32.

        A sample's seed has two streams: 0 for the noise, 1 for the draw from the posterior.
        """
        if isinstance(batch, LatentBatch) and not _varies(batch):
            mean = self.mean(batch)
            return mean, self._noises(seeds_B, mean, 1)[0]
        mean, logvar = self.posterior(batch)
        noise, place = self._noises(seeds_B, mean, 2)
        return mean + torch.exp(0.5 * logvar) * place, noise

    def condition(self, batch: Batch | LatentBatch) -> Tensor:
        """The condition of training samples: their masks."""
        return batch.masks_BCHW

    def mean(self, batch: Batch | LatentBatch) -> Tensor:
        """Means of the latents, z_BCHW in float32."""
        if isinstance(batch, LatentBatch):
            return batch.means_BCHW.to(self._device, torch.float32, non_blocking=True)
        return self.posterior(batch)[0]

    def _noises(self, seeds_B: Tensor, like: Tensor, streams: int) -> Tensor:
        shape = like.shape[1:]
        return normal_noises(seeds_B, shape, self._device, streams=streams, compiled=self._compiled)

    def posterior(self, batch: Batch | LatentBatch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents, each z_BCHW in float32."""
        if isinstance(batch, LatentBatch):
            logvar = batch.logvars_BCHW.to(self._device, torch.float32, non_blocking=True)
            return self.mean(batch), logvar
        assert self.autoencoder is not None  # noqa: S101 - whoever opens images opens an autoencoder
        images = batch.images_BCHW.to(self._device, non_blocking=True).float()
        return self.autoencoder.encode(images * ((1 - self._low) / 255) + self._low)


def _varies(batch: LatentBatch) -> bool:
    """Whether any latent has a variance; latents of some autoencoders have none."""
    return bool(batch.logvars_BCHW.max() > NO_VARIANCE)


class _Fixed:
    """Draws from a fixed list, without augmentation."""

    def __init__(self, samples: NDArray[np.int64]) -> None:
        self._samples = samples

    def draw(self, positions: ArrayLike) -> Draws:
        """The samples at the positions."""
        places = np.asarray(positions, dtype=np.int64)
        return Draws(self._samples[places], np.full_like(places, -1), np.zeros_like(places))


def holds_data(workspace: Workspace) -> bool:
    """Whether a workspace has latents or shards, whether intact or damaged."""
    return (workspace.latents / LatentSet.FILE).exists() or (workspace.shards / ShardSet.FILE).exists()


def find_data(workspace: Workspace, data: str | Path | None) -> Path:
    """The folder to train from: `data` if given, else the workspace's latents, else its shards.

    Raises:
        HistodsError: there is none.
        StaleFileError: the latents were encoded from other shards than the workspace's.
    """
    folders = [workspace.latents, workspace.shards] if data is None else [Path(data)]
    for folder in folders:
        if (folder / LatentSet.FILE).is_file():
            if data is None and (workspace.shards / ShardSet.FILE).is_file():
                LatentSet.read(folder).check_source(ShardSet.read(workspace.shards))
            return folder
        if (folder / ShardSet.FILE).is_file():
            return folder
    if data is not None:
        raise HistodsError(f"There are no shards and no latents in {data}; give a folder made by 'histods shard'.")
    raise HistodsError(
        f"There is no audit in {workspace.folder} yet, and there are no shards; run 'histods audit "
        f"DATASET{workspace.option}' first."
    )


def _splits(folder: Path, *, encoded: bool) -> tuple[str, ...]:
    """The names of the splits in a folder."""
    shards = LatentSet.read(folder).shards if encoded else ShardSet.read(folder).shards
    return tuple(sorted({shard.split for shard in shards}))


def _parse_validation(data: DataConfig, known: Sequence[str], trained: Sequence[str], folder: Path) -> str | None:
    """The split to validate on: the configured one, else `val` unless it is a training split.

    Raises:
        HistodsError: the configured split does not exist, or is a training split.
    """
    named = data.validation_split
    if named is None:
        return "val" if "val" in known and "val" not in trained else None
    if named not in known or named in trained:
        others = ", ".join(name for name in known if name not in trained) or "none"
        raise HistodsError(
            f"data.validation_split is {named!r}; it must name a split that is not used for training: "
            f"{folder} has {others}."
        )
    return named


def _sides(described: ShardSet | LatentSet, splits: Sequence[str]) -> tuple[int, int]:
    """The height and width of the images in pixels.

    Raises:
        HistodsError: images differ in size and so cannot share a batch.
    """
    if isinstance(described, LatentSet):
        return described.image_height, described.image_width
    index = read_index(described, ["key", "split", "height", "width"])
    index = index.filter(pc.is_in(index["split"], pa.array(splits)))
    return one_shape(index, "train on them")
