"""What an engine asks of a pool of workers, and the outcomes that it yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Value = TypeVar("Value")


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
