"""Whatever a pool of workers does, each item has one outcome, and no more is queued than keeps workers busy."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.engines.engine import CHUNKS_AHEAD, Engine
from histods.engines.pool import Done, Failed, WorkerDiedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


NONE: frozenset[int] = frozenset()


class Flaky:
    """A pool in this process: some items kill its worker, which loses all that is queued; others raise."""

    def __init__(self, workers: int = 1, deadly: frozenset[int] = NONE, wrong: frozenset[int] = NONE) -> None:
        self.workers, self.deadly, self.wrong = workers, deadly, wrong
        self.queued: list[partial[Any]] = []
        self.most = self.restarts = 0
        self.closed = False

    def submit(self, work: Callable[[Sequence[Any]], Any], chunk: Sequence[Any]) -> object:
        self.queued.append(partial(work, chunk))
        self.most = max(self.most, len(self.queued))
        return self.queued[-1]

    def wait_any(self, handles: Sequence[Any]) -> tuple[object, Any]:
        assert all(any(handle is one for one in self.queued) for handle in handles), "waits for a lost call"
        self.failed = handles[-1]  # not in the order of submission
        self.queued = [one for one in self.queued if one is not self.failed]
        items = {*self.failed.args[0]}
        if items & self.deadly:
            self.queued.clear()
            raise WorkerDiedError
        if items & self.wrong:
            raise ValueError("wrong\nand more")
        return self.failed, self.failed()

    def failed_handle(self) -> object:
        return self.failed

    def restart(self) -> None:
        self.restarts += 1

    def close(self) -> None:
        self.closed = True


def double(chunk: Sequence[int]) -> list[int]:
    return [2 * item for item in chunk]


def cut(items: int, size: int) -> list[list[int]]:
    return [[*range(items)][start : start + size] for start in range(0, items, size)]


SETS = st.frozensets(st.integers(0, 29), max_size=5)


@settings(deadline=None)
@given(items=st.integers(0, 30), size=st.integers(1, 9), workers=st.integers(1, 4), deadly=SETS, wrong=SETS)
def test_each_item_is_done_once_or_failed_alone_on_its_own(
    items: int, size: int, workers: int, deadly: frozenset[int], wrong: frozenset[int]
) -> None:
    pool = Flaky(workers, deadly, wrong)
    seen: list[int] = []
    failed: dict[int, str] = {}
    with Engine(pool) as engine:
        for outcome in engine.run(double, cut(items, size)):
            seen += outcome.chunk
            match outcome:
                case Done(chunk, value):
                    assert value == double(chunk)
                case Failed((item,), error):
                    failed[item] = error
    assert sorted(seen) == [*range(items)]
    died = "the worker process died while reading it (out of memory?)"
    poison = {item for item in deadly | wrong if item < items}
    assert failed == {item: died if item in deadly else "ValueError: wrong" for item in poison}
    assert pool.most <= workers * (1 + CHUNKS_AHEAD)
    assert pool.closed


def test_chunks_are_made_only_when_they_are_needed() -> None:
    made = []

    def chunks() -> Iterator[list[int]]:
        for chunk in cut(1000, 1):
            made.append(chunk)
            yield chunk

    engine = Engine(Flaky(2))
    outcomes = engine.run(double, chunks())
    for done in range(1, 20):
        next(outcomes)
        assert len(made) < done + 2 * (1 + CHUNKS_AHEAD) + 1
    assert len([*outcomes]) == 1000 - 19


def test_warming_up_gives_every_worker_an_empty_call() -> None:
    pool = Flaky(3)
    Engine(pool).warm_up(double)
    assert [call() for call in pool.queued] == [[], [], []]


def test_a_pool_is_closed_when_the_caller_fails() -> None:
    pool = Flaky(1)
    with pytest.raises(KeyboardInterrupt), Engine(pool) as engine:
        for _ in engine.run(double, cut(9, 1)):
            raise KeyboardInterrupt
    assert pool.closed
