"""Where a loader stands in the global sequence of samples: one integer, which goes into checkpoints."""

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
    """What loaders have in common: their place in the sequence, and which part of it is theirs.

    Attributes:
        position: the next position of the global sequence; it moves on when a batch is handed over.

    Args:
        shards: shards or latents that the sequence is over.
        draws: what stands at each position; `InOrder` ends, others do not.
        global_batch: samples in a step, over all ranks.
        rank: which slice of each step is ours.
        ranks: how many slices there are.

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
        """Positions of this rank, batch by batch, from `position` on; an empty share is left out."""
        rank, ranks = self._slice
        step = self.position // self.global_batch
        while step * self.global_batch < self._end:
            places = rank_positions(step, global_batch=self.global_batch, rank=rank, ranks=ranks)
            if mine := [place for place in places if place < self._end]:
                yield mine
            step += 1

    def state_dict(self) -> dict[str, int | str]:
        """Where to go on, and in which index."""
        return {"position": self.position, "index_digest": self._shards.index_digest}

    def load_state_dict(self, state: dict[str, int | str]) -> None:
        """Go on where a state was taken.

        Raises:
            HistodsError: there is another index now, or the batch does not divide the position.
        """
        what, before, now = self._shards.WHAT, str(state["index_digest"]), self._shards.index_digest
        if before != now:
            raise HistodsError(
                f"{self._shards.folder} holds {what} with the index {now[:12]}, but the run began with "
                f"{before[:12]}; give it those {what}, or begin a new run."
            )
        position = int(state["position"])
        if position % self.global_batch:
            raise HistodsError(
                f"The global batch of {self.global_batch} does not divide the position {position:,}; "
                "go on with the batch with which the run began."
            )
        self.position = position
