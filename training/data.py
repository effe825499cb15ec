"""Samples of shards as tensors: which one stands at a position, decoded, turned, and stacked into a batch.

Shapes: B samples, C channels, H and W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from histods.errors import HistodsError
from histods.sampling import BalancedDraws, class_cutoffs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from histods.sampling import Draws
    from histods.storage.shard_reader import ShardReader


class Batch(NamedTuple):
    """Samples that stand at some positions.

    Attributes:
        images_BCHW: uint8 [B, 3, H, W], red, green and blue, in channels-last memory.
        masks_BCHW: uint8 [B, 1, H, W], classes.
        classes_B: int64 [B], the class for which each sample was drawn; -1 where none was.
        samples_B: int64 [B], number of each sample in the reader.
        positions_B: int64 [B].
    """

    images_BCHW: torch.Tensor  # noqa: N815 - shapes are part of the name
    masks_BCHW: torch.Tensor  # noqa: N815
    classes_B: torch.Tensor  # noqa: N815
    samples_B: torch.Tensor  # noqa: N815
    positions_B: torch.Tensor  # noqa: N815


class DrawsSamples(Protocol):
    """Says what stands at positions; see `histods.sampling`."""

    def draw(self, positions: ArrayLike) -> Draws:
        """What stands at the positions, an array of shape [n]."""


def balanced(
    reader: ShardReader, *, seed: int, unconditional: float = 0.5, replacement: bool = True
) -> BalancedDraws:
    """Draws from all samples of a reader: class 0 with probability `unconditional`, the others equally often.

    Raises:
        HistodsError: a class has no samples.
    """
    names = reader.shards.classes
    return BalancedDraws(
        seed=seed,
        lists=reader.lists,
        cutoffs=class_cutoffs(len(names), unconditional),
        replacement=replacement,
        names=names,
    )


class ShardDataset(Dataset[Batch]):
    """A map from positions to samples: an item is the sample that stands at a position.

    Args:
        reader: the shards.
        draws: what stands at each position.
        binarise: keep only the drawn class in a mask and turn all other pixels into 0.
        augment: show the dihedral view that belongs to the position; else every sample as it is stored.
    """

    def __init__(
        self, reader: ShardReader, draws: DrawsSamples, *, binarise: bool = False, augment: bool = True
    ) -> None:
        self.reader = reader
        self.draws = draws
        self._binarise = binarise
        self._augment = augment
        self._scratch = np.empty(0, dtype=np.uint8)
        self._turn = Turner()

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, position: int) -> Batch:
        """The sample at one position, as a batch of one."""
        return self.batch([position])

    def batch(self, positions: Sequence[int]) -> Batch:
        """The samples at some positions.

        Raises:
            HistodsError: a shard is damaged, an image cannot be decoded, or sizes differ within the batch.
        """
        return self.decode(positions).batch()

    def decode(self, positions: Sequence[int], memory: NDArray[np.uint8] | None = None) -> Parcel:
        """The samples at some positions, decoded into `memory` where that is large enough; see `batch`."""
        places = np.asarray(positions, dtype=np.int64)
        drawn = self.draws.draw(places)
        views = drawn.views if self._augment else np.zeros_like(drawn.views)
        columns = drawn.samples.tolist(), drawn.classes.tolist(), views.tolist()
        parcel: Parcel | None = None
        for row, (sample, drawn_class, view) in enumerate(zip(*columns, strict=True)):
            pixels, mask = self._read(sample)
            if parcel is None:
                shape = (len(places), *pixels.shape[:2])
                self._check_square(shape, sample)
                parcel = Parcel(shape, drawn.classes, drawn.samples, places, _allocate(shape, memory))
                images, masks = parcel.views()
            self._check_size(shape, pixels, mask, sample)
            self._turn(pixels, view, out=images[row])
            if mask is None:
                masks[row] = 0
            else:
                self._turn(mask, view, out=masks[row])
                if self._binarise and drawn_class >= 0:
                    masks[row] *= masks[row] == drawn_class
        if parcel is None:
            raise HistodsError("Expected positions to read, found none; give at least one.")
        return parcel

    def _check_square(self, shape: tuple[int, int, int], sample: int) -> None:
        if self._augment and shape[1] != shape[2]:
            raise HistodsError(
                f"Expected square images for quarter turns, found {shape[2]}x{shape[1]} in "
                f"{self.reader.key(sample)}; crop them, or train without augmentation."
            )

    def _check_size(
        self, shape: tuple[int, int, int], pixels: NDArray[np.uint8], mask: NDArray[np.uint8] | None, sample: int
    ) -> None:
        if shape[1:] != pixels.shape[:2] or (mask is not None and mask.shape != shape[1:]):
            raise HistodsError(
                f"Expected images of one size in a batch, found {shape[2]}x{shape[1]} and {pixels.shape[1]}x"
                f"{pixels.shape[0]} ({self.reader.key(sample)}); train on patches of one size."
            )

    def _read(self, sample: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Pixels and mask of a sample; the pixels stand in memory that the next call uses again."""
        from histods.storage.images import decode_mask, decode_rgb

        files = self.reader.read(sample)
        try:
            pixels = decode_rgb(files.image, self._scratch if self._scratch.size else None)
            mask = None if files.mask is None else decode_mask(files.mask).labels.astype(np.uint8, copy=False)
        except HistodsError as error:
            raise HistodsError(
                f"Expected a sound image and mask for {self.reader.key(sample)}, found: {error}; "
                "run 'histods audit --verify decode' and make the shards again."
            ) from error
        if self._scratch.size < pixels.size:
            self._scratch = np.empty(pixels.size, dtype=np.uint8)
        return pixels, mask


class Turner:
    """Writes one of the 8 dihedral views of pixels into cold memory; see `histods.sampling.dihedral`, its oracle.

    It turns between two small buffers that stay in the cache and then copies whole rows, because transposing or
    mirroring 512x512 RGB pixels straight into a batch takes 190 to 415 us, this 45 to 200, and NumPy 1,250 (one
    core, one run). Reversing the order of rows is free in the copy, so that a quarter turn needs no mirroring.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, ...], tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}

    def __call__(self, pixels: NDArray[np.uint8], view: int, *, out: NDArray[np.uint8]) -> None:
        """Turn `pixels` [H, W] or [H, W, 3] into `out`; quarter turns are of squares."""
        import cv2

        if pixels.shape not in self._buffers:
            self._buffers = {**self._buffers, pixels.shape: (np.empty_like(pixels), np.empty_like(pixels))}
        reversed_rows, turned = self._buffers[pixels.shape]
        if view in (3, 7):
            np.copyto(reversed_rows, pixels[::-1])
            pixels = reversed_rows
        if view % 2:
            cv2.transpose(pixels, turned)
            pixels = turned
        elif view in (2, 4):
            cv2.flip(pixels, 1, turned)
            pixels = turned
        np.copyto(out, pixels[::-1] if view in (1, 2, 6, 7) else pixels)


class Parcel(NamedTuple):
    """A batch on its way between processes: `bytes` hold images, then masks; or `slot` says where they are."""

    shape: tuple[int, int, int]
    classes: NDArray[np.int64]
    samples: NDArray[np.int64]
    positions: NDArray[np.int64]
    bytes: NDArray[np.uint8] | None
    slot: int | None = None

    def views(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Images [B, H, W, 3] and masks [B, H, W]."""
        assert self.bytes is not None  # noqa: S101 - whoever receives a parcel puts them in
        pixels = int(np.prod(self.shape))
        return self.bytes[: 3 * pixels].reshape(*self.shape, 3), self.bytes[3 * pixels : 4 * pixels].reshape(
            self.shape
        )

    def batch(self) -> Batch:
        """The same as tensors; nothing is copied."""
        images, masks = self.views()
        return Batch(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            torch.from_numpy(masks)[:, None],
            *(torch.from_numpy(column) for column in (self.classes, self.samples, self.positions)),
        )


def _allocate(shape: tuple[int, int, int], memory: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    size = 4 * int(np.prod(shape))
    return memory if memory is not None and memory.size >= size else np.empty(size, dtype=np.uint8)
