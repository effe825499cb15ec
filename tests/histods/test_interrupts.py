"""Ctrl-C and SIGTERM end a command at once, in one line, and leave no process, whatever its workers are at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histods import audit, shard

pytestmark = pytest.mark.own_workers
LONG = 60.0  # seconds: what ends at once ends in this time on any machine; what waits for a file never does

# Python runs this module when it starts, in workers too. A file whose name holds SLOW_NAME never answers; with
# SLOW_START a worker does not get past its start.
SLOWNESS = """
import os, sys

opened, never = os.open, os.environ["NEVER"]

def halt():
    opened(os.environ["REACHED"], os.O_CREAT | os.O_WRONLY)
    opened(never, os.O_RDONLY)  # a named pipe that nobody writes to

def slow(path, flags, *args, **options):
    if os.environ["SLOW_NAME"] in os.path.basename(os.fsdecode(path)) and flags & os.O_ACCMODE == os.O_RDONLY:
        halt()
    return opened(path, flags, *args, **options)

os.open = slow
if os.environ.get("SLOW_START") and "loky.backend.popen_loky_posix" in sys.orig_argv:
    halt()
"""


@dataclass(frozen=True)
class Place:
    """A dataset of which one mask and one image are called `slow`, and its workspace with shards."""

    root: Path
    workspace: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("slow")
    found = Place(folder / "data", folder / "out")
    found.root.mkdir()
    random = np.random.default_rng(0)
    for number in range(80):
        name = f"{'slow' if number == 61 else 'x'}{number}"
        Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(found.root / f"{name}.png")
        mask = np.zeros((16, 16), np.uint8)
        mask[number % 12 :] = 1
        Image.fromarray(mask).save(found.root / f"{name}_mask.png")
    audit(found.root, workspace=found.workspace, workers=1)
    shard(workspace=found.workspace, workers=1)
    return found


def start(folder: Path, arguments: list[object], **environment: str) -> subprocess.Popen[str]:
    """Start a command, and wait until it or a worker of it is at what never answers."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SLOWNESS)
    os.mkfifo(folder / "never")
    reached = folder / "reached"
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(Path.cwd())]),
        "NEVER": str(folder / "never"),
        "REACHED": str(reached),
        "SLOW_NAME": "\n",
        **environment,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "histods", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables,
        text=True,
        start_new_session=True,
    )
    while not reached.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status and output, when the last process that holds the pipes has ended."""
    try:
        out, text = process.communicate(timeout=LONG)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, out, text


def commands(place: Place, folder: Path) -> dict[str, tuple[list[object], str]]:
    """Each command with the name of the file that never answers."""
    out = place.workspace
    return {
        "audit": (["audit", place.root, "-w", folder / "new", "--workers", "2"], "slow61_mask"),
        "audit of images": (["audit", place.root, "-w", folder / "new", "--workers", "1"], "slow61.png"),
        "shard": (["shard", "-w", out, "--out", folder / "shards", "--workers", "1"], "slow61.png"),
        "remap": (["remap", "-w", out, "--write-masks", folder / "masks", "--workers", "2"], "slow61_mask"),
        "encode": (["encode", "-w", out, "--out", folder / "latents", "--device", "cpu"], ".tar"),
    }


CASES = [
    ("audit", signal.SIGINT, 1),
    ("audit", signal.SIGINT, 3),
    ("audit", signal.SIGTERM, 1),
    ("audit", signal.SIGTERM, 2),
    ("audit of images", signal.SIGINT, 1),
    ("shard", signal.SIGINT, 1),
    ("remap", signal.SIGINT, 2),
    ("encode", signal.SIGINT, 1),  # by a thread of the command itself
    ("encode", signal.SIGTERM, 1),
]
LINES = {
    signal.SIGINT: (130, "histods: interrupted; run the same command again to continue\n"),
    signal.SIGTERM: (143, "histods: terminated; run the same command again to continue\n"),
}


@pytest.mark.parametrize(("name", "number", "times"), CASES)
def test_a_file_that_never_answers_does_not_hold_up_the_end(
    tmp_path: Path, place: Place, name: str, number: signal.Signals, times: int
) -> None:
    arguments, slow = commands(place, tmp_path)[name]
    process = start(tmp_path, arguments, SLOW_NAME=slow)
    for _ in range(times):
        os.killpg(process.pid, number)  # as a terminal does: to the command and to its workers
    status, out, text = ended(process)
    assert (status, out, text) == (LINES[number][0], "", LINES[number][1])


@pytest.mark.parametrize(("name", "number"), [("audit", signal.SIGINT), ("shard", signal.SIGTERM)])
def test_workers_that_are_only_starting_show_nothing(
    tmp_path: Path, place: Place, name: str, number: signal.Signals
) -> None:
    process = start(tmp_path, commands(place, tmp_path)[name][0], SLOW_START="1")
    os.killpg(process.pid, number)
    assert ended(process) == (LINES[number][0], "", LINES[number][1])


@pytest.mark.parametrize("name", ["audit", "shard"])
def test_a_killed_command_leaves_neither_processes_nor_words_nor_semaphores(
    tmp_path: Path, place: Place, name: str
) -> None:
    arguments, slow = commands(place, tmp_path)[name]
    process = start(tmp_path, arguments, SLOW_NAME=slow)
    process.kill()  # alone: its workers notice it, and loky's process removes their semaphores
    assert ended(process) == (-signal.SIGKILL, "", "")


def test_what_a_user_set_of_warnings_stays() -> None:
    code = "import os, histods.engines as e; e.engine_for('local', 1); print(os.environ.get('PYTHONWARNINGS'))"
    for value in ("error", None):
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONWARNINGS"}
        environment |= {} if value is None else {"PYTHONWARNINGS": value}
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        assert (result.stdout, result.stderr) == (f"{value}\n", "")
