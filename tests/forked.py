"""Processes that need not import PyTorch, which takes each three to six seconds of a core: forks of one that has.

In all that tests look at they are processes of their own: signals, exit status, environment, stderr, session, the
processes that they start. What is tested of the start itself has to be tested with `subprocess`.
"""

from __future__ import annotations

import atexit
import faulthandler
import multiprocessing
import os
import runpy
import subprocess
import sys
import threading
from multiprocessing import forkserver
from typing import TYPE_CHECKING

from tests.watchdog import WATCHED, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.connection import Connection

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "torch._dynamo",  # any optimizer imports it
        "torch.distributed.elastic.multiprocessing",
        "torch.utils.tensorboard",
        "monai.networks.nets.basic_unet",  # which takes as long as PyTorch
        "training.verbs.train",
        "training.verbs.encode",
        "training.verbs.sample",
        "training.verbs.tune",
        "training.data.image_loader",
        "tests.training.saving",
    ]
)


def server() -> int:
    """Start the process from which the others are forked, unless it runs; its id."""
    forkserver.ensure_running()
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    assert isinstance(pid, int)
    return pid


class Forked:
    """`python -m MODULE ...` or `python -c CODE ...`, with the part of `subprocess.Popen` that tests use.

    Args:
        words: the command line, as for `subprocess`; its Python is this one.
        env: all of its environment, but for what Python reads when it starts.
        start_new_session: whether it leads a session, and thereby a group of processes, of its own.
        with_stdout: whether what it prints is kept with its errors.
        prepare: called in it before the program begins.
    """

    def __init__(
        self,
        words: Sequence[object],
        *,
        env: Mapping[str, str] = os.environ,
        start_new_session: bool = False,
        with_stdout: bool = False,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.args = list(map(str, words))
        self._text = b""
        server()
        ours, theirs = CONTEXT.Pipe(duplex=False)
        arguments = (self.args[1:], dict(env), theirs, (2, 1) if with_stdout else (2,), start_new_session, prepare)
        self._process = CONTEXT.Process(target=_run, args=arguments)
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self._reading = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reading.start()

    def _read(self, stream: Connection) -> None:
        """Keep what comes until the last process that holds the other end has ended."""
        with stream:
            while part := os.read(stream.fileno(), 1 << 16):
                self._text += part

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> None:
        self._process.join()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[None, str]:
        """Wait until its output is closed and it has ended; what it wrote there.

        Raises:
            subprocess.TimeoutExpired: it goes on for longer.
        """
        self._reading.join(timeout)
        if self._reading.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self._process.join()
        return None, self._text.decode()


def complete(
    words: Sequence[object],
    *,
    env: Mapping[str, str] = os.environ,
    prepare: Callable[[], object] | None = None,
) -> None:
    """Have a process do all that it has to do."""
    process = Forked(words, env={**env, **WATCHED}, prepare=prepare)
    errors = finish(process)
    assert process.returncode == 0, errors


def _run(
    words: list[str],
    environment: dict[str, str],
    output: Connection,
    streams: tuple[int, ...],
    own_session: bool,
    prepare: Callable[[], object] | None,
) -> None:
    """Be the process of a command."""
    if own_session:
        os.setsid()
    for stream in streams:
        os.dup2(output.fileno(), stream)
    output.close()
    # Those of the process that this is a fork of may be of another kind: files, where pytest captures its output.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    if "PYTHONFAULTHANDLER" in environment:
        faulthandler.enable()
    option, what, *rest = words
    sys.argv = [what if option == "-m" else option, *rest]
    if prepare is not None:
        prepare()
    try:
        if option == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "-c", "exec"), {"__name__": "__main__"})  # noqa: S102 - code of a test
    finally:
        atexit._run_exitfuncs()
