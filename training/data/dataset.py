"""Samples of shards as tensors: choose the sample for a position, decode it, apply a dihedral view, build a batch.

Shapes: B samples, C channels, H and W pixels.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from histods.errors import HistodsError
from histods.sampling.draws import BalancedDraws, class_cutoffs
from histods.tiles.grid import tile_advice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from histods.sampling.draws import ClassLists, Draws
    from histods.shards.images.reader import ShardReader
    from histods.shards.latents.reader import LatentReader

_FLIPS = {1: 1, 2: -1, 3: 0, 4: 1, 6: 0, 7: -1}
"""How OpenCV mirrors an image for each view, before an odd view also transposes it."""

_ZERO_MASKS = 4096  # maximum number of all-zero files to remember


class Batch(NamedTuple):
    """The samples at some positions.

    Attributes:
        images_BCHW: uint8 [B, 3, H, W], RGB, in channels-last memory.
        masks_BCHW: uint8 [B, 1, H, W], classes.
        classes_B: int64 [B], the class for which each sample was drawn; -1 for none.
        samples_B: int64 [B], index of each sample in the reader.
        positions_B: int64 [B], position of each sample in the sequence.
    """

    images_BCHW: torch.Tensor
    masks_BCHW: torch.Tensor
    classes_B: torch.Tensor
    samples_B: torch.Tensor
    positions_B: torch.Tensor


class DrawsSamples(Protocol):
    """Chooses the samples for positions; see `histods.sampling.draws`."""

    def draw(self, positions: ArrayLike) -> Draws:
        """Choose the samples for positions, an array of shape [n]."""


def balanced(
    reader: ShardReader | LatentReader,
    *,
    seed: int,
    unconditional: float | None = 0.5,
    replacement: bool = True,
    lists: ClassLists | None = None,
    class_weights: Mapping[str, float] | None = None,
) -> BalancedDraws:
    """Draw from the samples of a reader: class 0 with probability `unconditional`, other classes by weight.

    Classes without samples are never drawn, for example those of a label map for a larger dataset, and unused
    numbers between labels that were not mapped.

    Args:
        reader: shards or latents.
        seed: the seed of the draws.
        unconditional: probability of class 0; None means 0.5 if there are unconditional samples, else 0.
        replacement: draw each position independently; else each class goes through all its samples before any
            repeats.
        lists: the samples of each class to draw from; all by default.
        class_weights: relative probability of classes by name; 1 by default.

    Raises:
        HistodsError: no class has samples, or a weight names an unknown class.
    """
    lists = reader.lists if lists is None else lists
    names, sizes = reader.shards.classes, lists.sizes
    if unconditional is None:
        unconditional = 0.5 if sizes[0] else 0.0
    weights = np.where(sizes > 0, 1.0, 0.0)
    for name, weight in (class_weights or {}).items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
            raise HistodsError(
                f"data.class_weights names the class {name!r}, which does not exist: did you mean {near[0]!r}?"
            )
        weights[names.index(name)] *= weight
    return BalancedDraws(
        seed=seed,
        lists=lists,
        cutoffs=class_cutoffs(len(names), unconditional, weights),
        replacement=replacement,
        names=names,
    )


class ShardDataset(Dataset[Batch]):
    """Maps positions to samples.

    Args:
        reader: the shards.
        draws: chooses the sample for each position.
        binarise: keep only the drawn class in a mask and turn all other pixels into 0.
        augment: apply the dihedral view that belongs to the position; else return samples as stored.
        reduce: factor by which height and width are divided; see `reduce_image` and `reduce_mask`.
    """

    def __init__(
        self,
        reader: ShardReader,
        draws: DrawsSamples,
        *,
        binarise: bool = False,
        augment: bool = True,
        reduce: int = 1,
    ) -> None:
        self.reader = reader
        self.draws = draws
        self._binarise = binarise
        self._augment = augment
        self._reduce = reduce
        self._turn = DihedralTransform()
        self._zero_masks: set[bytes] = set()

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

    def decode(self, positions: Sequence[int], memory: NDArray[np.uint8] | None = None) -> PackedBatch:
        """Decode the samples at some positions, into `memory` if it is large enough; see `batch`."""
        places = np.asarray(positions, dtype=np.int64)
        drawn = self.draws.draw(places)
        views = drawn.views if self._augment else np.zeros_like(drawn.views)
        columns = drawn.samples.tolist(), drawn.classes.tolist(), views.tolist()
        parcel: PackedBatch | None = None
        images = np.empty((len(places), 0, 0, 3), dtype=np.uint8)  # until the first sample gives the size
        for row, (sample, drawn_class, view) in enumerate(zip(*columns, strict=True)):
            pixels, mask = self._load(sample, images[row])
            if parcel is None:
                shape = (len(places), *pixels.shape[:2])
                self._check_square(shape, sample)
                parcel = PackedBatch(shape, drawn.classes, drawn.samples, places, _allocate(shape, memory))
                images, masks = parcel.views()
            self._check_size(shape, pixels, mask, sample)
            if not np.may_share_memory(pixels, images[row]):  # the first of a batch, or not a JPEG
                images[row] = pixels
            self._turn(images[row], view)
            if mask is None:
                masks[row] = 0
            else:
                masks[row] = mask
                self._turn(masks[row], view)
                if self._binarise and drawn_class >= 0:
                    masks[row] *= masks[row] == drawn_class
        if parcel is None:
            raise HistodsError("There are no positions to read; give at least one.")
        return parcel

    def _check_square(self, shape: tuple[int, int, int], sample: int) -> None:
        if self._augment and shape[1] != shape[2]:
            raise HistodsError(
                f"{self.reader.key(sample)} is {shape[2]}x{shape[1]}, but quarter turns need square images; "
                f"{tile_advice(shape[1:])}, or train without augmentation."
            )

    def _check_size(
        self, shape: tuple[int, int, int], pixels: NDArray[np.uint8], mask: NDArray[np.uint8] | None, sample: int
    ) -> None:
        if shape[1:] != pixels.shape[:2] or (mask is not None and mask.shape != shape[1:]):
            raise HistodsError(
                f"{self.reader.key(sample)} is {pixels.shape[1]}x{pixels.shape[0]}, but others in its "
                f"batch are {shape[2]}x{shape[1]}; "
                f"{tile_advice(shape[1:], pixels.shape[:2])}."
            )

    def _load(self, sample: int, out: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """The pixels of a sample and its mask, reduced; see `_read`."""
        pixels, mask = self._read(sample, out)
        if self._reduce > 1:
            pixels = reduce_image(pixels, self._reduce)
            mask = None if mask is None else reduce_mask(mask, self._reduce)
        return pixels, mask

    def _read(self, sample: int, out: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Decode the pixels of a sample, into `out` if possible, and its mask; None for an all-zero mask."""
        from histods.images.reader import decode_rgb

        files = self.reader.read(sample)
        try:
            place = out.reshape(-1) if out.size and self._reduce == 1 else None
            pixels = decode_rgb(files.image, place)
            return pixels, None if files.mask is None else self._decode_mask(files.mask)
        except HistodsError as error:
            raise HistodsError(
                f"The image or mask of {self.reader.key(sample)} cannot be read: {error}; "
                "run 'histods audit --verify decode' and make the shards again."
            ) from error

    def _decode_mask(self, content: bytes) -> NDArray[np.uint8] | None:
        """Decode a mask; None for all zeros. Most zero masks are the same file, which is decoded only once."""
        import xxhash

        from histods.images.reader import decode_mask

        digest = xxhash.xxh3_128_digest(content)
        if digest in self._zero_masks:
            return None
        mask = decode_mask(content).labels.astype(np.uint8, copy=False)
        if not mask.any() and len(self._zero_masks) < _ZERO_MASKS:
            self._zero_masks.add(digest)
        return mask


def reduce_image(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Means over blocks of factor x factor pixels: [H, W, 3] -> [H // factor, W // factor, 3]."""
    import cv2

    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    whole = pixels[: height * factor, : width * factor]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def reduce_mask(mask: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The class in the middle of each block of factor x factor pixels: [H, W] -> [H // factor, W // factor]."""
    height, width = mask.shape[0] // factor, mask.shape[1] // factor
    middle = factor // 2
    return np.ascontiguousarray(mask[middle : height * factor : factor, middle : width * factor : factor])


class DihedralTransform:
    """Applies one of the 8 dihedral views in place; `histods.sampling.draws.dihedral` is its test oracle.

    It works in place so that an image can be decoded directly into its batch: cache misses cost nothing while a
    decoder computes, but 20 to 140 us when a finished 512x512 image is copied. OpenCV mirrors in place;
    transposing into a second buffer and back is faster than in place (90 us instead of 200).
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, ...], NDArray[np.uint8]] = {}

    def __call__(self, pixels: NDArray[np.uint8], view: int) -> None:
        """Transform contiguous `pixels` [H, W] or [H, W, 3]; quarter turns need squares."""
        import cv2

        if view in _FLIPS:
            cv2.flip(pixels, _FLIPS[view], pixels)
        if view % 2:
            if pixels.shape not in self._buffers:
                self._buffers[pixels.shape] = np.empty_like(pixels)
            np.copyto(pixels, cv2.transpose(pixels, self._buffers[pixels.shape]))


class PackedBatch(NamedTuple):
    """A batch passed between processes: `bytes` holds images, then masks; or `slot` tells where they are."""

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
        """The batch as tensors, without copying."""
        images, masks = self.views()
        return Batch(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            torch.from_numpy(masks)[:, None],
            *(torch.from_numpy(column) for column in (self.classes, self.samples, self.positions)),
        )


def _allocate(shape: tuple[int, int, int], memory: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    size = 4 * int(np.prod(shape))
    return memory if memory is not None and memory.size >= size else np.empty(size, dtype=np.uint8)
