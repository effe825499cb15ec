"""One process per GPU of this machine, joined as `torchrun` joins those that it starts.

`torchrun` starts a command, and a failure in one process becomes a page of its own words; here a Python function
is started, its progress comes back, and an error is the error of the function. Several machines need `torchrun`.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.multiprocessing import get_context
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from histods.errors import HistodsError
from histods.records import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.queues import SimpleQueue

    from torch.multiprocessing.spawn import ProcessContext

    from histods.records import Progress

Result = TypeVar("Result")
_LOOK_SECONDS = 0.1


def gpus_to_share(device: torch.device | str | None) -> int:
    """How many GPUs of this machine to use: all, but 1 where a device is named or `torchrun` shares them out."""
    if device is not None or "WORLD_SIZE" in os.environ or not torch.cuda.is_available():
        return 1
    return torch.cuda.device_count()


def in_processes(
    work: Callable[..., Result], count: int, arguments: Mapping[str, Any], progress: Progress | None
) -> Result:
    """Call a function in some processes at once.

    Args:
        work: called with the arguments and `progress`; importable by name. It uses `training.device.processes`.
        count: of processes.
        arguments: of each call; they and the result are pickled.
        progress: called with a stage, what all processes have done, and what there is to do.

    Returns:
        What process 0 returns.

    Raises:
        HistodsError: a process failed, or was killed.
    """
    queue: SimpleQueue[tuple[str, int, Any]] = get_context("spawn").SimpleQueue()
    calls = (work, count, _free_port(), dict(arguments), queue)
    with _no_main_module():
        started: ProcessContext = start_processes(_call, calls, nprocs=count, join=False, start_method="spawn")  # type: ignore[no-untyped-call]
    listening = _Listening(queue, progress or silent)
    try:
        while not started.join(timeout=_LOOK_SECONDS):
            listening.listen()
    except ProcessExitedException as error:
        listening.listen()
        failure = HistodsError(f"process {error.error_index} of {count} was ended from outside ({error.msg}).")
        raise listening.failure or failure from error
    finally:
        for process in started.processes:
            process.kill()
    listening.listen()
    if listening.failure is not None:
        raise listening.failure
    result: Result = listening.result
    return result


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep new processes from running the caller's script again: what they call they import by name."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _Listening:
    """What processes have told so far."""

    def __init__(self, queue: SimpleQueue[tuple[str, int, Any]], progress: Progress) -> None:
        self._queue = queue
        self._progress = progress
        self._done: dict[str, dict[int, int]] = {}
        self.failure: HistodsError | None = None
        self.result: Any = None

    def listen(self) -> None:
        """Take in all that is there."""
        while not self._queue.empty():
            kind, rank, told = self._queue.get()
            if kind == "progress":
                stage, done, total = told
                self._done.setdefault(stage, {})[rank] = done
                self._progress(stage, sum(self._done[stage].values()), total)
            elif kind == "result":
                self.result = told
            elif self.failure is None or not str(told).startswith("Stopped, since"):
                self.failure = told


def _call(
    rank: int,
    work: Callable[..., Any],
    count: int,
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

    with suppress(KeyboardInterrupt):  # Ctrl-C reaches all; the first process says it
        try:
            result = work(**arguments, progress=progress)
        except HistodsError as error:
            queue.put(("failure", rank, error))
        else:
            if rank == 0:
                queue.put(("result", rank, result))


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port: int = own.getsockname()[1]
        return port
