"""Batches of images and masks out of shards, whose order is a pure function of (seed, position).

Shapes: B samples, C channels, H and W pixels. A batch is decoded straight into memory that the processes share,
so that nothing is copied on its way to the trainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from histods.errors import HistodsError
from histods.sampling import BalancedDraws, InOrder, class_cutoffs, dihedral, rank_positions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, position: int) -> Batch:
        """The sample at one position, as a batch of one."""
        return self.batch([position])

    def __getitems__(self, positions: Sequence[int]) -> Batch | str:
        """The samples at some positions; in words what is wrong, since a worker's traceback helps nobody."""
        try:
            return self.batch(positions)
        except HistodsError as error:
            return str(error)

    def batch(self, positions: Sequence[int]) -> Batch:
        """The samples at some positions.

        Raises:
            HistodsError: a shard is damaged, an image cannot be decoded, or sizes differ within the batch.
        """
        places = np.asarray(positions, dtype=np.int64)
        drawn = self.draws.draw(places)
        images: NDArray[np.uint8] | None = None
        views = drawn.views if self._augment else np.zeros_like(drawn.views)
        columns = drawn.samples.tolist(), drawn.classes.tolist(), views.tolist()
        for row, (sample, drawn_class, view) in enumerate(zip(*columns, strict=True)):
            pixels, mask = self._read(sample)
            if images is None:
                height, width = pixels.shape[:2]
                if self._augment and height != width:
                    raise HistodsError(
                        f"Expected square images for quarter turns, found {width}x{height} in "
                        f"{self.reader.key(sample)}; crop them, or train without augmentation."
                    )
                images, masks = shared((len(places), height, width, 3)), shared((len(places), height, width))
            if (height, width) != pixels.shape[:2] or (mask is not None and mask.shape != (height, width)):
                raise HistodsError(
                    f"Expected images of one size in a batch, found {width}x{height} and {pixels.shape[1]}x"
                    f"{pixels.shape[0]} ({self.reader.key(sample)}); train on patches of one size."
                )
            turn(pixels, view, out=images[row])
            if mask is None:
                masks[row] = 0
            else:
                turn(mask, view, out=masks[row])
                if self._binarise and drawn_class >= 0:
                    masks[row] *= masks[row] == drawn_class
        if images is None:
            raise HistodsError("Expected positions to read, found none; give at least one.")
        return Batch(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            torch.from_numpy(masks)[:, None],
            *(torch.from_numpy(column) for column in (drawn.classes, drawn.samples, places)),
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


def turn(pixels: NDArray[np.uint8], view: int, *, out: NDArray[np.uint8]) -> None:
    """Write one of the 8 dihedral views of `pixels` into `out`; see `histods.sampling.dihedral`."""
    out[...] = dihedral(pixels, view)


def shared(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Bytes that can go to another process without being copied; ordinary memory in the main process."""
    size = int(np.prod(shape))
    if torch.utils.data.get_worker_info() is None:
        return np.empty(shape, dtype=np.uint8)
    storage = torch.UntypedStorage._new_shared(size)  # noqa: SLF001 - as torch's own collate function does
    array: NDArray[np.uint8] = torch.empty(0, dtype=torch.uint8).set_(storage).numpy().reshape(shape)
    return array


class _Positions(Sampler[list[int]]):
    """The positions of one rank, batch by batch, from a first step on; up to `end`, or for ever."""

    def __init__(self, first_step: int, end: int | None, global_batch: int, rank: int, ranks: int) -> None:
        self._steps = first_step, end, global_batch, rank, ranks

    def __iter__(self) -> Iterator[list[int]]:
        step, end, global_batch, rank, ranks = self._steps
        while end is None or step * global_batch < end:
            places = rank_positions(step, global_batch=global_batch, rank=rank, ranks=ranks)
            if mine := [place for place in places if end is None or place < end]:
                yield mine
            step += 1


class Loader:
    """Batches for one rank, by several processes; `position` is the whole state and goes into checkpoints.

    Draws that balance classes never end; with `InOrder` every sample comes once, in batches of which the last
    may be smaller (or empty, and then left out, for a rank).

    Attributes:
        position: the next position of the global sequence; it moves on when a batch is handed over.

    Args:
        dataset: where batches come from.
        global_batch: samples in a step, over all ranks.
        rank: which slice of each step is ours.
        ranks: how many slices there are.
        workers: processes that decode; 0 decodes in this one.
        pin_memory: put batches where a GPU can fetch them while it computes.
    """

    def __init__(
        self,
        dataset: ShardDataset,
        *,
        global_batch: int,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        rank_positions(0, global_batch=global_batch, rank=rank, ranks=ranks)
        self.position = 0
        self._dataset = dataset
        self._shares = global_batch, rank, ranks
        self._workers = workers
        self._pin_memory = pin_memory

    def __iter__(self) -> Iterator[Batch]:
        global_batch = self._shares[0]
        draws = self._dataset.draws
        positions = _Positions(
            self.position // global_batch, draws.size if isinstance(draws, InOrder) else None, *self._shares
        )
        loader = DataLoader(
            self._dataset,
            batch_sampler=positions,
            num_workers=self._workers,
            collate_fn=_as_it_is,
            pin_memory=self._pin_memory,
        )
        for batch in loader:
            if isinstance(batch, str):
                raise HistodsError(batch)
            self.position += global_batch
            yield batch

    def state_dict(self) -> dict[str, int | str]:
        """Where to go on, and in which index."""
        return {"position": self.position, "index_digest": self._dataset.reader.shards.index_digest}

    def load_state_dict(self, state: dict[str, int | str]) -> None:
        """Go on where a state was taken.

        Raises:
            HistodsError: the shards have another index now, or the batch does not divide the position.
        """
        digest = self._dataset.reader.shards.index_digest
        if state["index_digest"] != digest:
            raise HistodsError(
                f"Expected shards with the index {str(state['index_digest'])[:12]}, with which the run began, "
                f"found {digest[:12]} in {self._dataset.reader.shards.folder}; "
                "give it those shards, or begin a new run."
            )
        position = int(state["position"])
        if position % self._shares[0]:
            raise HistodsError(
                f"Expected a global batch that divides the position {position:,}, found {self._shares[0]}; "
                "go on with the batch with which the run began."
            )
        self.position = position


def _as_it_is(batch: Batch | str) -> Batch | str:
    """Batches are made whole by the dataset: there is nothing to collate."""
    return batch
