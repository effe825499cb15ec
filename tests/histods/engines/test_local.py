"""Processes on this machine: they end with the pool and with their parent, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from histods.engines.local import _NO_WARNING, WORKER_ENVIRONMENT, LocalPool
from histods.engines.pool import WorkerDiedError
from histods.interrupts import kill_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.own_workers


def look(chunk: Sequence[str]) -> tuple[list[str | None], int]:
    """Variables of the environment, and the process that has them."""
    if "die" in chunk:
        os.kill(os.getpid(), signal.SIGKILL)
    return [os.environ.get(name) for name in chunk], os.getpid()


def test_a_dead_worker_is_replaced_and_the_pool_leaves_no_thread_process_or_variable() -> None:
    threads, warnings = {*threading.enumerate()}, os.environ.get("PYTHONWARNINGS")
    pool = LocalPool(1)
    assert pool._kill in kill_workers
    with pytest.raises(WorkerDiedError):
        pool.wait_any([pool.submit(look, ["die"])])
    pool.restart()
    handle = pool.submit(look, [*WORKER_ENVIRONMENT])
    found, (values, worker) = pool.wait_any([handle])
    assert (found, pool.failed_handle()) == (handle, handle)
    assert values == [*WORKER_ENVIRONMENT.values()]
    assert worker != os.getpid()
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert {*threading.enumerate()} <= threads
    assert os.environ.get("PYTHONWARNINGS") == warnings
    assert _NO_WARNING not in (warnings or "")
    assert pool._kill not in kill_workers


SLEEPER = """
import time
from histods.engines import engine_for

def doze(chunk):
    print("at work", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    with engine_for("local", 2) as engine:
        list(engine.run(doze, [[1], [2]]))
"""


def test_workers_end_with_a_parent_that_was_killed_in_the_middle_of_work(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(
        [sys.executable, tmp_path / "sleeper.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    for _ in range(2):
        assert process.stdout.readline() == b"at work\n"
    process.kill()
    # The pipes end when the last process that holds them has ended, be it a worker or loky's own.
    process.communicate(timeout=300)  # they would doze for 600
    assert process.returncode == -signal.SIGKILL
