"""The engine: back-pressure, retries and narrowing, on any pool of workers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

from histods.engines.pool import Done, Failed, WorkerDiedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from histods.engines.pool import Pool

Item = TypeVar("Item")
Value = TypeVar("Value")

CHUNKS_AHEAD = 2
"""Queued chunks per worker: enough to keep it busy, few enough to need no memory for a million pairs."""


class Engine:
    """Run work over chunks with a pool; use it in a `with` statement."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    @property
    def workers(self) -> int:
        """Number of worker processes."""
        return self._pool.workers

    def warm_up(self, work: Callable[[Sequence[Item]], Value]) -> None:
        """Start the workers and import what `work` needs in the background."""
        for _ in range(self._pool.workers):
            self._pool.submit(work, [])

    def run(
        self, work: Callable[[Sequence[Item]], Value], chunks: Iterable[Sequence[Item]]
    ) -> Iterator[Done[Item, Value] | Failed[Item]]:
        """Yield one outcome per chunk, in order of completion; failing chunks are narrowed.

        Args:
            work: picklable top-level function of a chunk; it may be called twice per chunk.
            chunks: sequences of picklable items.
        """
        waiting = iter(chunks)
        under_way: dict[object, Sequence[Item]] = {}
        suspects: deque[Sequence[Item]] = deque()
        while True:
            while len(under_way) < self._pool.workers * (1 + CHUNKS_AHEAD):
                chunk = next(waiting, None)
                if chunk is None:
                    break
                under_way[self._pool.submit(work, chunk)] = chunk
            if not under_way:
                break
            try:
                handle, value = self._pool.wait_any(list(under_way))
            except WorkerDiedError:
                suspects.extend(under_way.values())
                under_way.clear()
                self._pool.restart()
            except Exception:
                suspects.append(under_way.pop(self._pool.failed_handle()))
            else:
                yield Done(under_way.pop(handle), value)
            while suspects:
                yield from self._narrow(work, suspects.popleft())

    def _narrow(
        self, work: Callable[[Sequence[Item]], Value], chunk: Sequence[Item]
    ) -> Iterator[Done[Item, Value] | Failed[Item]]:
        """Run a suspect chunk on its own; on failure, run its halves."""
        try:
            _, value = self._pool.wait_any([self._pool.submit(work, chunk)])
        except WorkerDiedError:
            self._pool.restart()
            error = "the worker process died while reading it (out of memory?)"
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}".splitlines()[0]
        else:
            yield Done(chunk, value)
            return
        if len(chunk) == 1:
            yield Failed(chunk, error)
            return
        middle = len(chunk) // 2
        yield from self._narrow(work, chunk[:middle])
        yield from self._narrow(work, chunk[middle:])
