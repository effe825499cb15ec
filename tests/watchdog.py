"""Waiting for processes that tests start: one that hangs shows where, and nothing of it outlives the test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.forked import Forked

WATCHED = {"PYTHONFAULTHANDLER": "1"}
"""Environment with which Python shows the stacks of all its threads on SIGABRT."""
_SECONDS_TO_SHOW = 20


def finish(process: subprocess.Popen[str] | Forked, seconds: float = 300) -> str:
    """Wait for the end of a process that was started with `WATCHED`; its errors.

    Raises:
        AssertionError: it hangs; the message has the stacks of all threads of it and of those that it started.
    """
    try:
        return process.communicate(timeout=seconds)[1] or ""
    except subprocess.TimeoutExpired:
        family = [process.pid, *started_by(process.pid)]
        _send(signal.SIGSTOP, *family)  # a parent whose child ends would go on, and not show what it waited for
        until = time.monotonic() + _SECONDS_TO_SHOW
        for each in family:  # in turn, so that their lines do not mix
            _send(signal.SIGABRT, each)
            _send(signal.SIGCONT, each)
            while _lives(each) and time.monotonic() < until:
                time.sleep(0.05)
        _send(signal.SIGKILL, *family)
        errors = process.communicate()[1] or ""
        words = cast("list[str]", process.args)
        raise AssertionError(f"{words} did not end in {seconds} s:\n{errors}") from None


def eventually(there: Callable[[], object], seconds: float = 300) -> None:
    """Wait until something is so, which on a busy machine may take long.

    Raises:
        AssertionError: it takes longer than on any machine.
    """
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until, "what was waited for does not come"
        time.sleep(0.005)


def _send(number: signal.Signals, *processes: int) -> None:
    """Send a signal to the processes that are left."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _lives(process: int) -> bool:
    """Whether a process runs; one that has ended may keep its number until it is asked for its status."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def started_by(process: int) -> list[int]:
    """Ids of the processes that one has started, and those that they have."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(path.parent.name))
    found, left = [], [process]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found
