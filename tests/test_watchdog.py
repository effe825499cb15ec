"""The watchdog of tests: what hangs is shown and ended, whatever started it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.watchdog import WATCHED, _lives, finish, started_by

_HANGS = """
import subprocess, sys, threading
if sys.argv[1] == "parent":
    child = subprocess.Popen([sys.executable, "-c", sys.argv[2], "child", ""], start_new_session=True)
    child.wait()
def wait_for_ever():
    threading.Event().wait()
threading.Thread(target=wait_for_ever).start()
"""


def test_a_process_that_hangs_is_shown_with_what_it_started_and_ended() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _HANGS, "parent", _HANGS],
        env={**os.environ, **WATCHED},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (children := started_by(process.pid)):
        assert process.poll() is None
    with pytest.raises(AssertionError, match="did not end in 1 s") as caught:
        finish(process, 1)
    assert "in wait_for_ever" in str(caught.value)
    assert "subprocess.py" in str(caught.value)  # the parent waits for its child
    assert not any(map(_lives, children))


def test_a_process_that_ends_gives_its_errors() -> None:
    words = [sys.executable, "-c", "import sys; print('no', file=sys.stderr)"]
    assert finish(subprocess.Popen(words, stderr=subprocess.PIPE, text=True)) == "no\n"
