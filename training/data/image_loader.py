"""Batches for one rank, by several processes, in an order that is a pure function of (seed, position).

A batch is decoded straight into memory that the processes share (see `training.data.shared_memory`), so that
nothing is copied on its way to the trainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from histods.errors import HistodsError
from training.data.dataset import Batch
from training.data.resumable import Resumable
from training.data.shared_memory import Arena

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.data.dataset import Parcel, ShardDataset


class _Worker(Dataset[Any]):
    """What a worker process does: it decodes into a slot of the arena and sends word of it."""

    def __init__(self, dataset: ShardDataset, arena: Arena) -> None:
        self._dataset = dataset
        self._arena = arena

    def __getitem__(self, position: int) -> Parcel | str:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> Parcel | str:
        """The samples at some positions; in words what is wrong, since a worker's traceback helps nobody."""
        worker = get_worker_info()
        slot = None if worker is None else self._arena.take(worker.id)
        memory = None if slot is None else self._arena.memory(slot)
        try:
            parcel = self._dataset.decode(positions, memory)
        except HistodsError as error:
            return str(error)
        return parcel if parcel.bytes is not memory or slot is None else parcel._replace(bytes=None, slot=slot)


class _Positions(Sampler[list[int]]):
    """The positions of one rank, batch by batch."""

    def __init__(self, place: Resumable) -> None:
        self._place = place

    def __iter__(self) -> Iterator[list[int]]:
        return self._place.slices()


class Loader(Resumable):
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
        arena = Arena(self._workers, 4 * len(first) * height * width)
        loader = DataLoader(
            _Worker(self._dataset, arena),
            batch_sampler=positions,
            num_workers=self._workers,
            collate_fn=_as_it_is,
            multiprocessing_context="fork" if self._workers else None,  # the arena is inherited
        )
        for parcel in loader:
            if isinstance(parcel, str):
                raise HistodsError(parcel)
            self.position += self.global_batch
            yield self._unpack(parcel, arena)

    def _unpack(self, parcel: Parcel, arena: Arena) -> Batch:
        if parcel.slot is not None:
            parcel = parcel._replace(bytes=arena.borrow(parcel.slot))
        batch = parcel.batch()
        return Batch(*(tensor.pin_memory() for tensor in batch)) if self._pin_memory else batch


def _as_it_is(parcel: Any) -> Any:
    """Batches are made whole by the workers: there is nothing to collate."""
    return parcel
