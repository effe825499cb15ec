"""The interface of a pool of workers, and the outcomes that an engine yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Done(Generic[Item, Value]):
    """The work on a chunk returned a value."""

    chunk: Sequence[Item]
    value: Value


@dataclass(frozen=True, slots=True)
class Failed(Generic[Item]):
    """The work on a single item failed on every attempt."""

    chunk: Sequence[Item]
    error: str


class WorkerDiedError(Exception):
    """A worker process ended without a result; all chunks in progress are lost."""


class Pool(Protocol):
    """The interface: start, submit a call, return finished calls, stop."""

    workers: int

    def submit(self, work: Callable[[Sequence[Any]], Any], chunk: Sequence[Any]) -> object:
        """Queue a call and return its handle, which `wait_any` uses."""

    def wait_any(self, handles: Sequence[object]) -> tuple[object, Any]:
        """Wait for one call; return its handle and value, or raise its error or `WorkerDiedError`."""

    def failed_handle(self) -> object:
        """Handle of the call whose error `wait_any` raised."""

    def restart(self) -> None:
        """Replace dead workers; calls in progress are discarded."""

    def close(self) -> None:
        """Stop all workers immediately."""
