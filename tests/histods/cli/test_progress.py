"""Progress: a line that moves on a terminal in every phase, and rates that never round to nothing."""

from __future__ import annotations

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from histods.cli import progress
from histods.cli.progress import Stage, Watch, say_duration, say_rate
from tests.watchdog import eventually


@pytest.mark.parametrize(
    ("rate", "stage", "words"),
    [
        (16_269.4, "reading", "16,269/s"),
        (3.21, "training", "3.2/s"),
        (1.0, "encoding", "1.0/s"),
        (0.4, "training", "2.5 s per step"),
        (1 / 11, "training", "11 s per step"),
        (1 / 40, "sampling, in steps", "40 s per step"),
        (1 / 600, "encoding", "10 min each"),
        (1 / 9000, "verifying shards", "2.5 h each"),
        (0.0, "reading", ""),
    ],
)
def test_rates_read_well_at_any_speed(rate: float, stage: str, words: str) -> None:
    assert say_rate(rate, stage) == words


@given(rate=st.floats(1e-9, 1e9))
def test_no_rate_reads_as_zero(rate: float) -> None:
    assert not say_rate(rate, "training").startswith("0")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.4, "0.4 s"), (45, "45 s"), (720, "12 min"), (12_240, "3.4 h"), (400_000, "4.6 days")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert say_duration(seconds) == words


def test_work_that_was_there_before_counts_for_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on at step 900 is not taken for one that made 900 steps in a moment."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stage = Stage("training", 900, 1000)
    now[0], stage.done = 110.0, 905
    assert stage.detail() == "905 of 1,000, 2.0 s per step, 190 s left".replace("190 s", "3 min")


def test_a_phase_without_numbers_shows_and_moves_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call, and then nothing for long, as while files are listed: the line appears and moves by itself."""
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.05)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, _environ={"TERM": "xterm"})
    with Watch(console) as watch:
        watch("listing files", 0, 0)
        eventually(lambda: "listing files" in stream.getvalue())
        first = len(stream.getvalue())
        eventually(lambda: len(stream.getvalue()) > first)


@pytest.mark.parametrize("kind", ["pipe", "dumb", "quiet"])
def test_what_is_no_terminal_gets_no_moving_line(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    terminal = None if kind == "pipe" else True
    environment = {"TERM": "dumb" if kind == "dumb" else "xterm"}
    console = Console(file=stream, force_terminal=terminal, width=80, quiet=kind == "quiet", _environ=environment)
    with Watch(console) as watch:
        watch("training", 1, 10)
        time.sleep(0.05)
        watch("training", 2, 10)
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert ("training: 2 of 10" in stream.getvalue()) == (kind != "quiet")


def test_a_new_loss_begins_no_new_stage() -> None:
    watch = Watch(Console(file=io.StringIO()))
    watch("training", 0, 10)
    begun = watch.stage
    watch("training, loss 0.123", 5, 10)
    assert watch.stage is begun
    assert begun is not None
    assert begun.name == "training, loss 0.123"
    watch("validating", 0, 0)
    assert watch.stage is not begun
