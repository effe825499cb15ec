"""Ctrl-C and SIGTERM: a command ends at once, whatever it waits for, and in one line, whatever its workers do."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from histods.errors import TerminatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
GRACE_SECONDS = 1.5
"""How long a command may take to close what is under way before it ends without that; it takes a tenth of that."""

kill_workers: list[Callable[[], None]] = []
"""Called before a process ends without closing what is under way: a worker that is at its start or at a file that
never answers does not notice that its parent has ended."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_WATCH_SECONDS = 0.5
"""How often a worker looks whether the process that started it still lives."""


class Interrupts:
    """Turns the first signal into an exception, and ends this process where that does not.

    A thread may be at a file that never answers, and Python waits for its threads before it ends. What is written
    is renamed into place when it is whole, so that ending in the middle of anything loses nothing else.

    Args:
        say: called once, with the exit status, if this process has to end without closing what is under way.
    """

    def __init__(self, say: Callable[[int], object]) -> None:
        self._say = say
        self._process = os.getpid()
        self._asked = False
        for number in _SIGNALS:
            signal.signal(number, self._answer)

    def _answer(self, number: int, _frame: FrameType | None) -> None:
        status = INTERRUPTED if number == signal.SIGINT else TERMINATED
        if os.getpid() == self._process:  # else a fork of it, such as a process that decodes images for training
            if self._asked:
                self._end(status)
            self._asked = True
            timer = threading.Timer(GRACE_SECONDS, self._end, [status])
            timer.daemon = True
            timer.start()
        raise KeyboardInterrupt if number == signal.SIGINT else TerminatedError

    def _end(self, status: int) -> NoReturn:
        try:
            for kill in kill_workers:
                kill()
            self._say(status)
        finally:
            os._exit(status)


def break_waits() -> None:
    """Have Ctrl-C interrupt whatever the main thread waits for, as Python promises.

    polars, when it is imported, puts a handler of its own before Python's with SA_RESTART set, after which the
    system goes on waiting for a lock or a read as if nothing had happened, and Python's handler never runs.
    """
    signal.siginterrupt(signal.SIGINT, True)


@contextmanager
def hidden_signals() -> Iterator[None]:
    """Block signals for a moment; processes and threads that start in it inherit the block.

    A process that is told to end while it imports its first modules shows a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent() -> None:
    """Ignore Ctrl-C in a worker, which its parent answers for both, and receive SIGTERM again."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def end_with_parent(parent: int) -> None:
    """End this worker when its parent has ended, however it did: a killed parent can tell its workers nothing.

    Linux can send a signal then (PR_SET_PDEATHSIG), but sends it when the *thread* that started the worker ends.

    Args:
        parent: its process id.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        os._exit(1)  # nothing of this worker is needed any more, not even its cleaning up

    threading.Thread(target=watch, daemon=True).start()
