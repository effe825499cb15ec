"""Worker processes on this machine, by loky, which starts them cleanly and notices when one is killed."""

from __future__ import annotations

import os
import signal
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from loky import ProcessPoolExecutor, cpu_count, process_executor
from loky.backend import resource_tracker as loky_tracker
from loky.process_executor import BrokenProcessPool

from histods.engines.pool import WorkerDiedError
from histods.interrupts import break_waits, end_with_parent, hidden_signals, kill_workers, leave_signals_to_parent
from histods.startup import tune_gc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_TOP_PAD_": str(32 << 20),
}
"""Keeps glibc from returning each mask's 256 KB to the kernel and allocating it again: a 512x512 zero mask
decodes in 39 us instead of 419, a real one is measured in 325 us instead of 564 (one run, on a busy machine)."""

_NO_WARNING = "ignore:resource_tracker:UserWarning"

_FEEDER_SECONDS = 5.0
"""How long to wait for the thread that distributes tasks to end, which usually takes milliseconds."""


class LocalPool:
    """A pool of processes; `workers` defaults to the cores that this process may use."""

    def __init__(self, workers: int | None) -> None:
        self.workers: int = workers or cpu_count()
        break_waits()  # for the caller's work while the workers start
        _start_trackers()
        self._executor = self._start()  # processes start with the first call
        self._failed: object = None
        kill_workers.append(self._kill)

    def _kill(self) -> None:
        """Kill the workers without waiting."""
        for worker in list((self._executor._processes or {}).values()):  # noqa: SLF001 - loky has no other way
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)

    def _start(self) -> Any:
        return ProcessPoolExecutor(
            max_workers=self.workers, initializer=_prepare, initargs=(os.getpid(),), env=WORKER_ENVIRONMENT
        )

    def submit(self, work: Callable[[Sequence[Any]], Any], chunk: Sequence[Any]) -> object:
        """Queue a call."""
        with hidden_signals():  # the first call starts the processes
            try:
                return self._executor.submit(work, chunk)
            except BrokenProcessPool:  # a worker died between two calls, so this chunk was not lost
                self.restart()
                return self._executor.submit(work, chunk)

    def wait_any(self, handles: Sequence[Any]) -> tuple[object, Any]:
        """Wait for one call; see `Pool.wait_any`."""
        break_waits()
        done, _ = wait(handles, return_when=FIRST_COMPLETED)
        future: Future[Any] = next(iter(done))
        self._failed = future
        try:
            return future, future.result()
        except BrokenProcessPool as error:
            raise WorkerDiedError from error

    def failed_handle(self) -> object:
        """Handle of the last call that raised."""
        return self._failed

    def restart(self) -> None:
        """Replace the broken pool."""
        self.close()
        self._executor = self._start()
        kill_workers.append(self._kill)

    def close(self) -> None:
        """Stop the workers immediately; their results are no longer needed.

        Also wait for the thread that distributes tasks, which loky 3.7 does not join. If the interpreter ended
        while that thread cleaned up, it printed two lines about a leaked semaphore (in 1 of 20 runs).
        """
        feeder = getattr(getattr(self._executor, "_call_queue", None), "_thread", None)
        self._executor.shutdown(wait=True, kill_workers=True)
        if feeder is not None:
            feeder.join(_FEEDER_SECONDS)
        with suppress(ValueError):
            kill_workers.remove(self._kill)


def _start_trackers() -> None:
    """Start the processes that remove semaphores, and silence their warnings about a killed command.

    They would also print a warning after the command has ended. Their interpreters read warning filters only from
    the environment. They must start now also because Python's own tracker starts with the first worker, and then
    unblocks signals that were held back.
    """
    name, before = "PYTHONWARNINGS", os.environ.get("PYTHONWARNINGS")
    os.environ[name] = f"{before},{_NO_WARNING}" if before else _NO_WARNING
    try:
        loky_tracker.ensure_running()
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _kill(process: Any) -> None:
    """Kill a worker and wait for it, without searching for children, for which loky runs `pgrep` (10 ms each)."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.join()


process_executor.kill_process_tree = _kill


def _prepare(parent: int) -> None:
    """Let only the parent handle Ctrl-C (one line instead of a traceback per worker), and end with the parent."""
    leave_signals_to_parent()
    tune_gc()
    end_with_parent(parent)
