"""The position of a loader in the global sequence of samples: one integer, which goes into checkpoints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from histods.errors import HistodsError
from histods.sampling.draws import InOrder, rank_positions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from histods.shards.images.shard_set import ShardSet
    from histods.shards.latents.latent_set import LatentSet
    from training.data.dataset import DrawsSamples


class ResumableLoader:
    """What loaders share: their position in the sequence, and their part of it.

    Attributes:
        position: the next position of the global sequence; it advances when a batch is handed over.

    Args:
        shards: the shards or latents to draw from.
        draws: chooses the sample for each position; `InOrder` ends, others do not.
        global_batch: samples per step, over all ranks.
        rank: index of this process's slice of each step.
        ranks: number of slices.

    Raises:
        HistodsError: the ranks cannot share a batch evenly.
    """

    def __init__(
        self, shards: ShardSet | LatentSet, draws: DrawsSamples, *, global_batch: int, rank: int, ranks: int
    ) -> None:
        rank_positions(0, global_batch=global_batch, rank=rank, ranks=ranks)
        self.position = 0
        self.global_batch = global_batch
        self._shards = shards
        self._slice = rank, ranks
        self._end = draws.size if isinstance(draws, InOrder) else math.inf

    def slices(self) -> Iterator[list[int]]:
        """Positions of this rank, batch by batch, from `position` on; an empty share is skipped."""
        rank, ranks = self._slice
        step = self.position // self.global_batch
        while step * self.global_batch < self._end:
            places = rank_positions(step, global_batch=self.global_batch, rank=rank, ranks=ranks)
            if mine := [place for place in places if place < self._end]:
                yield mine
            step += 1

    def state_dict(self) -> dict[str, int | str]:
        """The position to resume at, and the digest of the index."""
        return {"position": self.position, "index_digest": self._shards.index_digest}

    def load_state_dict(self, state: dict[str, int | str]) -> None:
        """Resume from a state.

        Raises:
            HistodsError: the index has changed, or the batch does not divide the position.
        """
        what, before, now = self._shards.WHAT, str(state["index_digest"]), self._shards.index_digest
        if before != now:
            raise HistodsError(
                f"{self._shards.folder} holds {what} with the index {now[:12]}, but the run began with "
                f"{before[:12]}; use those {what}, or start a new run."
            )
        position = int(state["position"])
        if position % self.global_batch:
            raise HistodsError(
                f"The global batch of {self.global_batch} does not divide the position {position:,}; "
                "resume with the batch size with which the run began."
            )
        self.position = position
