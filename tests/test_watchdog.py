"""The watchdog of tests: what hangs is shown and ended, whatever started it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.watchdog import WATCHED, _lives, finish, started_by

_CHILD = """
import threading
def wait_for_ever():
    print("waits", flush=True)
    threading.Event().wait()
threading.Thread(target=wait_for_ever).start()
"""
_PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True).wait()
"""


def test_a_process_that_hangs_is_shown_with_what_it_started_and_ended() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT, _CHILD],
        env={**os.environ, **WATCHED},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    children = started_by(process.pid)
    assert children
    with pytest.raises(AssertionError, match="did not end in 1 s") as caught:
        finish(process, 1)
    assert "in wait_for_ever" in str(caught.value)
    assert "subprocess.py" in str(caught.value)  # the parent waits for its child
    assert not any(map(_lives, children))


def test_a_process_that_ends_gives_its_errors() -> None:
    words = [sys.executable, "-c", "import sys; print('no', file=sys.stderr)"]
    assert finish(subprocess.Popen(words, stderr=subprocess.PIPE, text=True)) == "no\n"
