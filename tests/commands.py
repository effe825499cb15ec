"""Commands as people type them, run in this process: an eighth of the time that a process of its own takes.

What a process of its own does differently has to be tested in one: streams, signals, encodings, what is imported.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from histods.cli import main as cli

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ_FILES = ("audit", "export-data", "import-data", "shard", "tile")


def histods(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command; one that reads files has one worker unless it is told otherwise.

    Args:
        arguments: what follows `histods`.
        cwd: the current folder of the command.
        env: all of its environment; that of this process, with 80 columns, by default.
    """
    words = list(map(str, arguments))
    if words[:1] and words[0] in _READ_FILES and "--workers" not in words:
        words += ["--workers", "1"]
    output, errors = io.StringIO(), io.StringIO()
    status: object = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        for name in os.environ.keys() - ({*os.environ} if env is None else env.keys()):
            patch.delenv(name)
        for name, value in (env or {"COLUMNS": "80"}).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["histods", *words])
        if cwd is not None:
            patch.chdir(cwd)
        # The command's answer to Ctrl-C ends the process later: it must not outlive the command.
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    assert status is None or isinstance(status, int)
    return subprocess.CompletedProcess(words, status or 0, output.getvalue(), errors.getvalue())


def unmeasured() -> dict[str, str]:
    """The environment without `make coverage`, for a process that may write no file as large as what it keeps."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def in_own_process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as `python -m histods`, in a process of its own; options are those of `subprocess.run`."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-m", "histods", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    return done
