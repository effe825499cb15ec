"""What every engine shares: outcomes, back-pressure, retry and narrowing. Written once, here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Item = TypeVar("Item")
Value = TypeVar("Value")

CHUNKS_AHEAD = 2
"""Chunks waiting for each worker: enough that none idles, few enough that a million pairs need no memory."""


@dataclass(frozen=True, slots=True)
class Done(Generic[Item, Value]):
    """The work on a chunk ended with a value."""

    chunk: Sequence[Item]
    value: Value


@dataclass(frozen=True, slots=True)
class Failed(Generic[Item]):
    """The work on a single item failed, every time it was tried."""

    chunk: Sequence[Item]
    error: str


class WorkerDiedError(Exception):
    """A worker process ended without an answer; every chunk it or its neighbours held is lost."""


class Pool(Protocol):
    """The little that an engine has to do: start, take a call, give back what ended, stop."""

    workers: int

    def submit(self, work: Callable[[Sequence[Any]], Any], chunk: Sequence[Any]) -> object:
        """Queue a call; the handle is what `wait_any` gives back."""

    def wait_any(self, handles: Sequence[object]) -> tuple[object, Any]:
        """Wait until one call ended; its handle and value. Raises its error, or `WorkerDiedError`."""

    def failed_handle(self) -> object:
        """Handle of the call whose error `wait_any` raised."""

    def restart(self) -> None:
        """Replace dead workers; calls under way are forgotten."""

    def close(self) -> None:
        """Stop all workers now."""


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
        """Start the workers and import what `work` needs while the caller does something else."""
        for _ in range(self._pool.workers):
            self._pool.submit(work, [])

    def run(
        self, work: Callable[[Sequence[Item]], Value], chunks: Iterable[Sequence[Item]]
    ) -> Iterator[Done[Item, Value] | Failed[Item]]:
        """Yield one outcome for each chunk, in the order in which they end; failing chunks are narrowed.

        Args:
            work: picklable top-level function of a chunk; it may be called twice for a chunk.
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
        """Run a suspected chunk alone; on failure, its halves."""
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


def engine_for(name: str = "local", workers: int | None = None) -> Engine:
    """Make the engine `name` ("local" or "ray") with `workers` processes (all usable cores by default).

    Raises:
        HistodsError: the name is unknown or the number of workers is not a positive whole number.
        MissingExtraError: the engine's package is not installed.
    """
    if workers is not None and not isinstance(workers, int):
        raise HistodsError(f"--workers {workers!r} is not a whole number; leave --workers out to use all cores.")
    if workers is not None and workers < 1:
        raise HistodsError(f"--workers {workers} is below 1; leave --workers out to use all cores.")
    if name == "local":
        from histods.engines.local import LocalPool

        return Engine(LocalPool(workers))
    if name == "ray":
        from histods.engines.ray import RayPool

        return Engine(RayPool(workers))
    raise HistodsError(
        f"There is no engine {name!r}; give --engine local or ray, or leave --engine out to use this machine."
    )
