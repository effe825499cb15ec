"""Batches for one rank, decoded by several processes; their order is a pure function of (seed, position).

A batch is decoded directly into shared memory (see `training.data.shared_memory`), so nothing is copied on its way
to the trainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from histods.errors import HistodsError
from training.data.dataset import Batch
from training.data.resumable import ResumableLoader
from training.data.shared_memory import SharedBufferPool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.data.dataset import PackedBatch, ShardDataset


class _Worker(Dataset[Any]):
    """Runs in a worker process: decodes into a slot of the shared buffers and returns the slot's number."""

    def __init__(self, dataset: ShardDataset, buffers: SharedBufferPool) -> None:
        self._dataset = dataset
        self._buffers = buffers

    def __getitem__(self, position: int) -> PackedBatch | str:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> PackedBatch | str:
        """The samples at some positions, or an error message, since a worker's traceback is of no use."""
        worker = get_worker_info()
        slot = None if worker is None else self._buffers.take(worker.id)
        memory = None if slot is None else self._buffers.memory(slot)
        try:
            packed = self._dataset.decode(positions, memory)
        except HistodsError as error:
            return str(error)
        return packed if packed.bytes is not memory or slot is None else packed._replace(bytes=None, slot=slot)


class _Positions(Sampler[list[int]]):
    """The positions of one rank, batch by batch."""

    def __init__(self, place: ResumableLoader) -> None:
        self._place = place

    def __iter__(self) -> Iterator[list[int]]:
        return self._place.slices()


class Loader(ResumableLoader):
    """Batches for one rank, decoded by several processes; `position` is its state and goes into checkpoints.

    Balanced draws never end; `InOrder` yields every sample once. Its last batch may be smaller; a rank whose share
    is empty skips it.

    Attributes:
        position: the next position of the global sequence; it advances when a batch is handed over.

    Args:
        dataset: the source of batches.
        global_batch: samples per step, over all ranks.
        rank: index of this process's slice of each step.
        ranks: number of slices.
        workers: number of processes that decode; 0 decodes in this one.
        pin_memory: put batches in pinned memory, which a GPU can copy while it computes.
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
        super().__init__(dataset.reader.shards, dataset.draws, global_batch=global_batch, rank=rank, ranks=ranks)
        self._dataset = dataset
        self._workers = workers
        self._pin_memory = pin_memory

    def __iter__(self) -> Iterator[Batch]:
        positions = _Positions(self)
        first = next(iter(positions), None)
        if first is None:
            return
        height, width = self._dataset.decode(first[:1]).shape[1:]
        buffers = SharedBufferPool(self._workers, 4 * len(first) * height * width)
        loader = DataLoader(
            _Worker(self._dataset, buffers),
            batch_sampler=positions,
            num_workers=self._workers,
            collate_fn=_as_it_is,
            multiprocessing_context="fork" if self._workers else None,  # the buffers are inherited
        )
        for packed in loader:
            if isinstance(packed, str):
                raise HistodsError(packed)
            self.position += self.global_batch
            yield self._unpack(packed, buffers)

    def _unpack(self, packed: PackedBatch, buffers: SharedBufferPool) -> Batch:
        if packed.slot is not None:
            packed = packed._replace(bytes=buffers.borrow(packed.slot))
        batch = packed.batch()
        return Batch(*(tensor.pin_memory() for tensor in batch)) if self._pin_memory else batch


def _as_it_is(packed: Any) -> Any:
    """Workers return whole batches, so there is nothing to collate."""
    return packed
