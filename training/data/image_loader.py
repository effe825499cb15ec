"""Batches for one rank, by several processes, in an order that is a pure function of (seed, position).

A batch is decoded straight into memory that the processes share (see `training.data.shared_memory`), so that
nothing is copied on its way to the trainer.
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
    """What a worker process does: it decodes into a slot of the shared buffers and returns its number."""

    def __init__(self, dataset: ShardDataset, buffers: SharedBufferPool) -> None:
        self._dataset = dataset
        self._buffers = buffers

    def __getitem__(self, position: int) -> PackedBatch | str:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> PackedBatch | str:
        """The samples at some positions; in words what is wrong, since a worker's traceback helps nobody."""
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
    """Batches are made whole by the workers: there is nothing to collate."""
    return packed
