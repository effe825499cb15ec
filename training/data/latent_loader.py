"""Batches of latents for one rank, read by threads; their order is a pure function of (seed, position).

Reading is a copy and a checksum, both of which release the GIL, so threads suffice. A batch is read directly into
its final memory, which is reused once the trainer has released it.

Shapes: B samples, C latent channels, h and w of latents; in names of fields H and W are those of the tensor.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from training.data.resumable import ResumableLoader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from histods.shards.latents.reader import LatentReader
    from training.data.dataset import DrawsSamples

_READ_AHEAD = 2  # batches per thread, ready or in progress


class LatentBatch(NamedTuple):
    """Latents and masks of the samples at some positions.

    Attributes:
        means_BCHW: float16 [B, C, h, w], means of the latents.
        logvars_BCHW: float16 [B, C, h, w], logarithms of their variances.
        masks_BCHW: uint8 [B, 1, H, W], classes, at the size of the images.
        classes_B: int64 [B], the class for which each sample was drawn; -1 for none.
        samples_B: int64 [B], index of each sample in the reader.
        positions_B: int64 [B], position of each sample in the sequence.
    """

    means_BCHW: torch.Tensor
    logvars_BCHW: torch.Tensor
    masks_BCHW: torch.Tensor
    classes_B: torch.Tensor
    samples_B: torch.Tensor
    positions_B: torch.Tensor


class LatentLoader(ResumableLoader):
    """Batches for one rank; `position` is its entire state and goes into checkpoints.

    Balanced draws never end; `InOrder` yields every sample once. Its last batch may be smaller; a rank whose share
    is empty skips it.

    Attributes:
        position: the next position of the global sequence; it advances when a batch is handed over.

    Args:
        reader: the latents.
        draws: chooses the sample for each position.
        global_batch: samples per step, over all ranks.
        rank: index of this process's slice of each step.
        ranks: number of slices.
        workers: number of threads that read; 0 reads when a batch is requested.
        pin_memory: put batches in pinned memory, which a GPU can copy while it computes.
        binarise: keep only the drawn class in a mask and turn all other pixels into 0.
        augment: use the dihedral view that belongs to the position, if the latents have views.
    """

    def __init__(
        self,
        reader: LatentReader,
        draws: DrawsSamples,
        *,
        global_batch: int,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
        binarise: bool = False,
        augment: bool = True,
    ) -> None:
        super().__init__(reader.shards, draws, global_batch=global_batch, rank=rank, ranks=ranks)
        self._reader = reader
        self._draws = draws
        self._workers = workers
        self._binarise = binarise
        self._augment = augment and reader.shards.views == 8
        self._memory = _Memory(pinned=pin_memory)

    def __iter__(self) -> Iterator[LatentBatch]:
        for batch in map(self.batch, self.slices()) if self._workers == 0 else self._read_ahead():
            self.position += self.global_batch
            yield batch

    def batch(self, positions: Sequence[int]) -> LatentBatch:
        """The samples at one or more positions.

        Raises:
            HistodsError: a shard is damaged.
        """
        shards, places = self._reader.shards, np.asarray(positions, dtype=np.int64)
        drawn = self._draws.draw(places)
        latents = (len(places), shards.channels, shards.height, shards.width)
        means, logvars = self._memory.take(latents, np.float16), self._memory.take(latents, np.float16)
        masks = self._memory.take((len(places), 1, shards.image_height, shards.image_width), np.uint8)
        pixels = masks.numpy()[:, 0]
        views = drawn.views if self._augment else np.zeros_like(drawn.views)
        self._reader.read_into(drawn.samples, views, means.numpy(), logvars.numpy(), pixels)
        for row in np.flatnonzero(drawn.classes >= 0) if self._binarise else ():
            pixels[row] *= pixels[row] == drawn.classes[row]
        columns = map(torch.from_numpy, (drawn.classes, drawn.samples, places))
        return LatentBatch(means, logvars, masks, *(self._memory.pin(column) for column in columns))

    def _read_ahead(self) -> Iterator[LatentBatch]:
        """Batches in order, read ahead by threads."""
        with ThreadPoolExecutor(self._workers, thread_name_prefix="latents") as threads:
            waiting: deque[Future[LatentBatch]] = deque()
            try:
                for positions in self.slices():
                    waiting.append(threads.submit(self.batch, positions))
                    if len(waiting) > _READ_AHEAD * self._workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                threads.shutdown(cancel_futures=True)


class _Memory:
    """Batch memory, reused once no tensor of a batch is left: touching new pages costs more than reading.

    Pinned memory comes from torch, which does the same and also waits for pending copies to a GPU.
    """

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._free: defaultdict[int, list[bytearray]] = defaultdict(list)

    def take(self, shape: tuple[int, ...], kind: type[np.float16 | np.uint8]) -> torch.Tensor:
        """An uninitialised tensor."""
        if self._pinned:
            dtype = torch.float16 if kind is np.float16 else torch.uint8
            return torch.empty(shape, dtype=dtype, pin_memory=True)
        size = math.prod(shape) * np.dtype(kind).itemsize
        free = self._free[size]
        try:
            memory = free.pop()
        except IndexError:
            memory = bytearray(size)
        array = np.frombuffer(memory, kind)
        weakref.finalize(array, free.append, memory).atexit = False
        return torch.from_numpy(array.reshape(shape))

    def pin(self, tensor: torch.Tensor) -> torch.Tensor:
        """A small tensor, in pinned memory if requested."""
        return tensor.pin_memory() if self._pinned else tensor
