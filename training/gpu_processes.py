"""Start one process per GPU of this machine, joined as `torchrun` would join them.

`torchrun` starts a command and buries the failure of a process in its own output. This module starts a Python
function, reports its progress and raises its errors. Several machines need `torchrun`.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.multiprocessing import get_context
from torch.multiprocessing.spawn import ProcessException, start_processes

from histods.errors import HistodsError
from histods.interrupts import end_with_parent, hidden_signals, leave_signals_to_parent
from histods.records import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.queues import SimpleQueue

    from torch.multiprocessing.spawn import ProcessContext

    from histods.records import Progress

Result = TypeVar("Result")
_LOOK_SECONDS = 0.1


def gpus_to_share(device: torch.device | str | None) -> int:
    """How many GPUs of this machine to use: all, but 1 if a device is named or `torchrun` assigns them."""
    if device is not None or "WORLD_SIZE" in os.environ or not torch.cuda.is_available():
        return 1
    return torch.cuda.device_count()


def in_processes(
    work: Callable[..., Result], count: int, arguments: Mapping[str, Any], progress: Progress | None
) -> Result:
    """Call a function in several processes at once.

    Args:
        work: called with the arguments and `progress`; importable by name. It uses `distributed.processes`.
        count: the number of processes.
        arguments: the arguments of each call; they and the result are pickled.
        progress: called with a stage, the work that all processes have done, and the total.

    Returns:
        The result of process 0.

    Raises:
        HistodsError: a process failed or was killed.
    """
    queue: SimpleQueue[tuple[str, int, Any]] = get_context("spawn").SimpleQueue()
    calls = (work, count, os.getpid(), _free_port(), dict(arguments), queue)
    with _no_main_module(), hidden_signals():  # a process that is terminated as it starts would print a traceback
        started: ProcessContext = start_processes(_call, calls, nprocs=count, join=False, start_method="spawn")  # type: ignore[no-untyped-call]
    listening = _Listening(queue, progress or silent)
    try:
        while not started.join(timeout=_LOOK_SECONDS):
            listening.listen()
    except ProcessException as error:
        listening.listen()
        failure = HistodsError(
            f"Process {error.error_index} of {count} has ended ({' '.join(str(error).split())[:200]}), perhaps "
            "for lack of memory; run the same command again."
        )
        raise listening.failure or failure from error
    finally:
        for process in started.processes:
            process.kill()
            process.join()
    listening.listen()
    if listening.failure is not None:
        raise listening.failure
    result: Result = listening.result
    return result


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep new processes from running the caller's script again; they import the function by name."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _Listening:
    """The messages from the processes so far."""

    def __init__(self, queue: SimpleQueue[tuple[str, int, Any]], progress: Progress) -> None:
        self._queue = queue
        self._progress = progress
        self._done: dict[str, dict[int, int]] = {}
        self.failure: Exception | None = None
        self.result: Any = None

    def listen(self) -> None:
        """Process all messages that have arrived."""
        while not self._queue.empty():
            kind, rank, told = self._queue.get()
            if kind == "progress":
                stage, done, total = told
                self._done.setdefault(stage, {})[rank] = done
                self._progress(stage, sum(self._done[stage].values()), total)
            elif kind == "result":
                self.result = told
            elif self.failure is None or _is_cause(told):
                self.failure = told


def _is_cause(error: Exception) -> bool:
    """Whether an error is a process's own, not a report of another's failure or a connection lost with it."""
    return isinstance(error, HistodsError | OSError) and not str(error).startswith("Stopped, since")


def _call(
    rank: int,
    work: Callable[..., Any],
    count: int,
    parent: int,
    port: int,
    arguments: dict[str, Any],
    queue: SimpleQueue[tuple[str, int, Any]],
) -> None:
    """One process."""
    numbers = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    os.environ.update({name: str(value) for name, value in numbers.items()})

    def progress(stage: str, done: int, total: int) -> None:
        queue.put(("progress", rank, (stage, done, total)))

    leave_signals_to_parent()
    end_with_parent(parent)
    try:
        result = work(**arguments, progress=progress)
    except Exception as error:  # raised again by the parent
        queue.put(("failure", rank, _portable(error)))
    else:
        if rank == 0:
            queue.put(("result", rank, result))


def _portable(error: Exception) -> Exception:
    """An error that another process can unpickle; errors of other libraries become their messages."""
    if isinstance(error, HistodsError) or type(error) in (OSError, PermissionError, FileNotFoundError):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port: int = own.getsockname()[1]
        return port
