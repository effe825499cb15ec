"""Progress of a command: on a terminal a line that moves, elsewhere a plain line now and then.

Stages whose items take long are told in seconds per item, not as a rate that rounds to zero.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task

QUIET_SECONDS = 1.0
"""Work shorter than this shows no progress."""
LINE_SECONDS = 30.0
"""Without a terminal, one line of progress is written this often: enough for a log, not a flood."""
_REFRESHES = 4
_STEPS = ("training", "sampling")
"""First words of the stages whose items are steps."""


def say_duration(seconds: float) -> str:
    """A time span in words: `45 s`, `12 min`, `3.4 h`, `2.1 days`."""
    if seconds < 120:
        return f"{seconds:,.0f} s" if seconds >= 1 or seconds == 0 else f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.1f} h" if seconds < 172_800 else f"{seconds / 86_400:,.1f} days"


def say_rate(rate: float, stage: str) -> str:
    """A rate in words: `16,269/s`, `3.2/s`, and below one per second `11 s per step`; empty where it is 0."""
    if rate <= 0:
        return ""
    if rate >= 1:
        return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
    seconds = 1 / rate
    span = f"{seconds:.1f} s" if seconds < 10 else say_duration(seconds)
    return f"{span} per step" if stage.startswith(_STEPS) else f"{span} each"


class Stage:
    """One stage of a command: how much is done, since when, and how fast; it began with `done` done already."""

    def __init__(self, name: str, done: int, total: int) -> None:
        self.name, self.done, self.total = name, done, total
        self.first, self.started = done, time.monotonic()

    def detail(self) -> str:
        """What there is to say beside the name: numbers, rate and time left; without a total, the time so far."""
        seconds = time.monotonic() - self.started
        if not self.total:
            so_far = f"{self.done:,} so far, " if self.done else ""
            return f"{so_far}{say_duration(int(seconds))}"
        rate = (self.done - self.first) / seconds if seconds > 0 else 0.0
        parts = [f"{self.done:,} of {self.total:,}", say_rate(rate, self.name)]
        if rate > 0:
            parts.append(f"{say_duration((self.total - self.done) / rate)} left")
        return ", ".join(filter(None, parts))


class _Detail(ProgressColumn):
    """The words of the stage that a watch is in."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def render(self, task: Task) -> Text:  # noqa: ARG002 - the watch knows more than the task
        stage = self._watch.stage
        return Text("" if stage is None else stage.detail())


class Watch:
    """Progress of one command; call it with a stage, the number done and the total.

    On a terminal the line appears after a second and moves by itself, so that a stage without numbers is seen to
    be at work. Use it in a `with` statement.

    Attributes:
        console: where it is shown; messages go to this one, too, so that the line stays below them.
        stage: the stage that the command is in.
    """

    def __init__(self, console: Console) -> None:
        self.stage: Stage | None = None
        self.console = console
        self._moves = console.is_terminal and not console.is_dumb_terminal and not console.quiet
        self._told = time.monotonic()
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        self._timer: threading.Timer | None = None
        self._over = False

    def __enter__(self) -> Watch:
        if self._moves:
            self._timer = threading.Timer(QUIET_SECONDS, self._show)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._over = True
            if self._bar is not None:
                self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of the progress of a stage; `total` 0 means that it has no number.

        What follows a comma in its name may change, as in `training, loss 0.123`: the stage is the same.
        """
        if self.stage is None or stage.partition(",")[0] != self.stage.name.partition(",")[0]:
            self.stage = Stage(stage, done, total)
        self.stage.name, self.stage.done, self.stage.total = stage, done, total
        if self._moves:
            with self._lock:
                self._update()
        elif total and time.monotonic() - self._told >= LINE_SECONDS:
            self._told = time.monotonic()
            self.console.print(f"{stage}: {self.stage.detail()}")

    def _show(self) -> None:
        """Begin to draw, from the timer's thread."""
        with self._lock:
            if self._over:
                return
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                _Detail(self),
                console=self.console,
                transient=True,
                refresh_per_second=_REFRESHES,
            )
            self._task = self._bar.add_task("starting", total=None)
            self._update()
            self._bar.start()

    def _update(self) -> None:
        """Take over the stage into the line that is drawn."""
        if self._bar is not None and self.stage is not None:
            stage = self.stage
            self._bar.update(self._task, description=stage.name, completed=stage.done, total=stage.total or None)
