"""All ranks together take every position once, and a loader resumes at its position or refuses."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.sampling.draws import InOrder
from histods.shards.images.shard_set import ShardSet
from training.data.resumable import ResumableLoader

if TYPE_CHECKING:
    from pathlib import Path


class Endless:
    """Draws without an end, as training does; only that it is not `InOrder` matters."""


def loader(folder: Path, draws: object, batch: int, rank: int = 0, ranks: int = 1) -> ResumableLoader:
    shards = ShardSet(
        folder=folder, shards=(), map="", classes=(), labels=(), map_digest="", index_digest="i" * 64,
        manifest_digest="", split_digest=None,
    )  # fmt: skip
    return ResumableLoader(shards, draws, global_batch=batch, rank=rank, ranks=ranks)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


@given(size=st.integers(0, 40), share=st.integers(1, 5), ranks=st.integers(1, 4), step=st.integers(0, 9))
def test_what_ends_is_taken_once_by_all_ranks_together(
    folder: Path, size: int, share: int, ranks: int, step: int
) -> None:
    loaders = [loader(folder, InOrder(size=size), share * ranks, rank, ranks) for rank in range(ranks)]
    for one in loaders:
        one.position = step * share * ranks
    taken = [position for one in loaders for batch in one.slices() for position in batch]
    assert sorted(taken) == [*range(step * share * ranks, size)]
    assert all(batch for one in loaders for batch in one.slices())


@given(share=st.integers(1, 5), ranks=st.integers(1, 4), step=st.integers(0, 10**9))
def test_what_has_no_end_goes_on_in_whole_batches(folder: Path, share: int, ranks: int, step: int) -> None:
    batch = share * ranks
    loaders = [loader(folder, Endless(), batch, rank, ranks) for rank in range(ranks)]
    for one in loaders:
        one.load_state_dict({"position": step * batch, "index_digest": "i" * 64})
    slices = [[*islice(one.slices(), 2)] for one in loaders]
    for turn in range(2):
        together = [position for taken in slices for position in taken[turn]]
        assert together == [*range((step + turn) * batch, (step + turn + 1) * batch)]


def test_a_state_is_resumed_only_with_the_same_index_and_a_batch_that_divides(folder: Path) -> None:
    first = loader(folder, Endless(), 6)
    first.position = 18
    again = loader(folder, Endless(), 9)
    again.load_state_dict(first.state_dict())
    assert again.position == 18
    with pytest.raises(HistodsError, match="^The global batch of 5 does not divide the position 18; resume with"):
        loader(folder, Endless(), 5).load_state_dict(first.state_dict())
    with pytest.raises(HistodsError, match="holds shards with the index iiiiiiiiiiii, but the run began with j"):
        again.load_state_dict({"position": 0, "index_digest": "j" * 64})
    assert again.position == 18


def test_ranks_that_cannot_share_a_batch_are_refused(folder: Path) -> None:
    with pytest.raises(HistodsError, match="cannot share a global batch of 5 evenly"):
        loader(folder, Endless(), 5, ranks=2)
