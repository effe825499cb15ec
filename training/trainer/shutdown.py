"""How training stops before its last step: signals that request it, and errors as one line."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from training.data.dataset import Batch
    from training.data.latent_loader import LatentBatch
    from training.data.source import Batches


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list of the signals received so far. The current step is finished, but a second signal interrupts it.

    Outside the main thread, where handlers cannot be set, signals keep their behaviour.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class SuppressSigchld:
    """Keeps torch from raising an error in the middle of a step when a process that decodes images ends.

    Schedulers send signals to the whole process group, which end those processes too; that must not interrupt a
    step. Their end is noticed when the next batch is requested. Use it in a `with` statement.
    """

    def __enter__(self) -> SuppressSigchld:
        self._main = threading.current_thread() is threading.main_thread()
        self._before: Any = None
        return self

    def __call__(self) -> None:
        """Remove torch's handler, which torch installs when the first batch is requested."""
        if self._main and signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, None):
            self._before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGCHLD, self._before)


def is_short_of_memory(error: Exception) -> bool:
    """Whether an error means that the machine or a GPU ran out of memory."""
    said = ("can't allocate memory" in str(error)) or ("not enough memory" in str(error))
    return said or isinstance(error, MemoryError | torch.OutOfMemoryError)


def as_user_error(error: Exception, folder: Path) -> Exception:
    """An error that states the problem and the solution, if known; else the error itself."""
    text = " ".join(str(error).split())[:200]
    if isinstance(error, OSError):
        return HistodsError(f"{folder} could not be written: {text}; make room and run the same command again.")
    if is_short_of_memory(error):
        return HistodsError(
            f"There is too little memory for a step ({text}); lower data.batch_size, or raise run.accumulate."
        )
    if isinstance(error, RuntimeError) and text.startswith("DataLoader worker"):
        return HistodsError(
            f"A process that decodes images has ended: {text.rstrip('. ')}; run the same "
            "command again, with a smaller data.workers if memory is short."
        )
    return error


@contextmanager
def closing(batches: Batches) -> Iterator[Iterator[Batch | LatentBatch]]:
    """Iterate over batches; worker processes or threads end with the block, even after an error."""
    made = iter(batches)
    try:
        yield made
    finally:
        if isinstance(made, Generator):
            made.close()
