"""Batches for one rank, by several processes, in an order that is a pure function of (seed, position).

A batch is decoded straight into memory that the processes share (see `training.arena`), so that nothing is
copied on its way to the trainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from histods.errors import HistodsError
from histods.sampling import InOrder, rank_positions
from training.arena import Arena
from training.data import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.data import Parcel, ShardDataset


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
            self.position += global_batch
            yield self._unpack(parcel, arena)

    def _unpack(self, parcel: Parcel, arena: Arena) -> Batch:
        if parcel.slot is not None:
            parcel = parcel._replace(bytes=arena.borrow(parcel.slot))
        batch = parcel.batch()
        return Batch(*(tensor.pin_memory() for tensor in batch)) if self._pin_memory else batch

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


def _as_it_is(parcel: Any) -> Any:
    """Batches are made whole by the workers: there is nothing to collate."""
    return parcel
