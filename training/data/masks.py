"""Masks as training samples: read from shards without decoding images, reduced by majority, as one-hot planes.

Planes are one-hot rather than grey levels: a value between the levels of two classes would be a third class.

Shapes: B samples, K classes, H and W pixels of masks after reduction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from histods.errors import HistodsError
from histods.sampling.draws import BalancedDraws, ClassLists
from histods.sampling.philox import philox4x64
from histods.sampling.streams import Stream
from histods.shards.base import read_index
from training.data.dataset import ShardDataset, balanced
from training.data.holdout import without
from training.data.source import Encoder, Source
from training.model.conditioning import proportions_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from histods.shards.images.reader import ShardReader
    from histods.shards.latents.reader import LatentReader
    from training.config.sections import DataConfig
    from training.data.dataset import Batch, DrawsSamples
    from training.data.latent_loader import LatentBatch

SHARES = "proportions"
"""The part of a checkpoint with the proportions of training masks."""
_MOST_SHARES = 4096


def reduce_by_majority(mask: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The most frequent class in each block of factor x factor pixels: [H, W] -> [H // factor, W // factor].

    Of several that are equally frequent, that of the pixel in the middle, else the first.
    """
    height, width = mask.shape[0] // factor, mask.shape[1] // factor
    blocks = mask[: height * factor, : width * factor].reshape(height, factor, width, factor)
    middle = blocks[:, factor // 2, :, factor // 2]
    present = np.unique(blocks)
    scores = [2 * (blocks == label).sum(axis=(1, 3)) + (middle == label) for label in present]
    return np.asarray(present[np.argmax(scores, axis=0)], dtype=np.uint8)


def one_hot(masks_B1HW: Tensor, num_classes: int) -> Tensor:
    """Planes of 0 and 1, float32 [B, K, H, W]."""
    classes_K11 = torch.arange(num_classes, device=masks_B1HW.device)[:, None, None]
    return (masks_B1HW == classes_K11).float()


class MaskDataset(ShardDataset):
    """Samples whose images are not decoded, and whose masks are reduced by majority; images are zeros."""

    def _load(self, sample: int, _out: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        try:
            content = self.reader.read(sample).mask
            mask = None if content is None else self._decode_mask(content)
        except HistodsError as error:
            raise HistodsError(
                f"The mask of {self.reader.key(sample)} cannot be read: {error}; "
                "run 'histods audit --verify decode' and make the shards again."
            ) from error
        assert mask is not None  # noqa: S101 - only samples with another class than the first are drawn
        reduced = reduce_by_majority(mask, self._reduce)
        return np.zeros((*reduced.shape, 3), np.uint8), reduced


class MaskSource(Source):
    """The masks of shards that hold another class than the first; each is drawn as often as any other.

    Raises:
        HistodsError: there are no such masks, or the folder holds latents.
    """

    def __init__(self, folder: Path, data: DataConfig, *, validates: bool = False) -> None:
        super().__init__(folder, data, validates=validates)
        if self.encoded:
            raise HistodsError(
                f"A run of masks needs shards, and {folder} has latents: give the shards that they were made from "
                "with --data."
            )
        self.held_out &= np.isin(np.arange(len(self.reader)), self.usable(self.reader))
        if not len(self.samples):
            raise HistodsError(
                f"No sample in {folder} has a mask with a class other than {self.classes[0]!r}, so that there is "
                "nothing to learn masks from: 'histods show classes' counts them."
            )

    @property
    def samples(self) -> NDArray[np.int64]:
        """Indices of the training samples."""
        usable = self.usable(self.reader)
        return usable[~self.held_out[usable]]

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The proportions of classes in training masks, float32 [N, K], of at most 4,096 masks, evenly spaced."""
        index = read_index(self.reader.shards, ["split", "classes", "pixels"])
        index = index.filter(pc.is_in(index["split"], pa.array(self.splits)))
        places = (
            np.linspace(0, len(self.samples) - 1, min(len(self.samples), _MOST_SHARES)).round().astype(np.int64)
        )
        chosen = index.take(pa.array(self.samples[places]))
        shares_NK = np.zeros((len(chosen), len(self.classes)), np.float32)
        for row, (labels, pixels) in enumerate(
            zip(chosen["classes"].to_pylist(), chosen["pixels"].to_pylist(), strict=True)
        ):
            shares_NK[row, labels] = np.array(pixels) / sum(pixels)
        return {SHARES: {"shares_NK": torch.from_numpy(shares_NK)}}

    def usable(self, reader: ShardReader | LatentReader) -> NDArray[np.int64]:
        """Indices of the samples with a class other than the first."""
        lists = reader.lists
        return np.unique(lists.samples[lists.bounds[1] :]).astype(np.int64)

    def _choose_draws(self, seed: int) -> BalancedDraws:
        """Every mask with the same probability; by class if classes have weights."""
        data = self._data
        if data.class_weights:
            return balanced(
                self.reader,
                seed=seed,
                unconditional=0.0,
                replacement=data.replacement,
                lists=without(self.reader.lists, self.held_out),
                class_weights=data.class_weights,
            )
        samples = self.samples.astype(np.uint32)
        return BalancedDraws(
            seed=seed,
            lists=ClassLists(samples, np.array([0, len(samples)])),
            cutoffs=np.ones(1),
            replacement=data.replacement,
        )

    def _dataset(self, reader: ShardReader, draws: DrawsSamples, *, augment: bool) -> ShardDataset:
        return MaskDataset(reader, draws, augment=augment, reduce=self._data.reduce)


class MaskEncoder(Encoder):
    """Turns batches of masks into planes, and their condition into proportions of which some are free.

    Args:
        num_classes: K.
        seed: the seed of the run, which decides which proportions are free.
        device: where to compute.
        compiled: draw noise in a kernel made by torch.compile.
    """

    def __init__(self, num_classes: int, seed: int, device: torch.device, *, compiled: bool = False) -> None:
        super().__init__(None, -1.0, device, compiled=compiled)
        self._classes = num_classes
        self._seed = seed

    def draw(self, batch: Batch | LatentBatch, seeds_B: Tensor) -> tuple[Tensor, Tensor]:
        """Planes, and the noise to predict, each [B, K, H, W] in float32."""
        planes_BKHW = self.mean(batch)
        return planes_BKHW, self._noises(seeds_B, planes_BKHW, 1)[0]

    def mean(self, batch: Batch | LatentBatch) -> Tensor:
        """Planes, float32 [B, K, H, W]."""
        return one_hot(batch.masks_BCHW.to(self._device, non_blocking=True), self._classes)

    def condition(self, batch: Batch | LatentBatch) -> Tensor:
        """Proportions, float32 [B, K], with NaN for free classes, which are half of all on average.

        The share of free classes is drawn for each sample, evenly from 0 to 1.
        """
        free_BK = torch.from_numpy(free_classes(self._seed, batch.positions_B.numpy(), self._classes))
        return proportions_of(batch.masks_BCHW, self._classes).masked_fill(free_BK, torch.nan)


def free_classes(seed: int, positions_B: NDArray[np.int64], num_classes: int) -> NDArray[np.bool_]:
    """Which classes of the samples at some positions of a run are free, bool [B, K]."""
    words = [philox4x64(seed, positions_B, Stream.FREE_CLASSES, block) for block in range(num_classes // 4 + 1)]
    drawn = (np.concatenate(words, axis=1)[:, : num_classes + 1] >> np.uint64(11)) * 2.0**-53
    return np.asarray(drawn[:, 1:] >= drawn[:, :1])
