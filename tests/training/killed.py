"""Commands that are killed at a known moment: when a file of theirs is written, but does not have its name yet."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from tests.forked import Forked
from tests.training.trained_runs import ENVIRONMENT, wait_until


def kill_before(name: str, words: list[object], mark: Path) -> None:
    """Run a command of histods in a process of its own, and kill it when it is about to name a file.

    Args:
        name: the end of the path of that file, as for `Path.match`.
        words: what follows `histods`.
        mark: a path that the process writes when it has come so far; it must not exist.

    Raises:
        AssertionError: the command ended before.
    """
    process = Forked(
        [sys.executable, "-m", "histods", *words],
        env=ENVIRONMENT,
        prepare=partial(_halt_before, name, mark),
        with_stdout=True,
    )
    wait_until(mark.exists, process)
    process.kill()
    process.wait()
    mark.unlink()


def _halt_before(name: str, mark: Path) -> None:
    """Have this process wait without end where it would rename a file to this name."""
    replace = Path.replace

    def halting(path: Path, target: Path) -> Path:
        if Path(target).match(name):
            mark.touch()
            while True:
                time.sleep(0.01)
        return replace(path, target)

    Path.replace = halting  # type: ignore[method-assign, assignment]


def written(folders: list[Path]) -> dict[str, bytes]:
    """The bytes of all files in some folders, but for locks."""
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
