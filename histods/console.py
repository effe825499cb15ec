"""What people see on stderr: tables that fit 80 columns, and progress with a rate and the time left."""

from __future__ import annotations

import json
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

QUIET_SECONDS = 2.0
"""Work shorter than this shows no progress."""
_GAP, _LEAST = 2, 8  # blanks between columns; characters that a shortened column keeps
LINE_SECONDS = 30.0
"""Without a terminal, one line of progress is written this often: enough for a log, not a flood."""


class Watch:
    """Progress of one command; call it with a stage, the number done and the total.

    On a terminal it is a bar; elsewhere a plain line now and then. Use it in a `with` statement.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = self._told = time.monotonic()
        self._stage, self._stage_started = "", self._started
        self._bar: Progress | None = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of the progress of a stage; `total` 0 means that it has no number."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._stage_started = stage, now
        rate = done / (now - self._stage_started) if now > self._stage_started else 0.0
        if not self._console.is_terminal:
            if now - self._told >= LINE_SECONDS and total:
                self._told = now
                left = f"{(total - done) / rate:,.0f} s left" if rate else "time left unknown"
                self._console.print(f"{stage}: {done:,} of {total:,}, {rate:,.0f}/s, {left}")
        elif now - self._started >= QUIET_SECONDS:
            self._draw(stage, done, total, rate)

    def _draw(self, stage: str, done: int, total: int, rate: float) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(stage, rate="")
            self._bar.start()
        self._bar.update(
            self._task,
            description=stage,
            completed=done,
            total=total or None,
            rate=f"{rate:,.0f}/s" if rate else "",
        )


def make_console(*, quiet: bool) -> Console:
    """The console for tables and progress: stderr; silent where `quiet`."""
    return Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=False, file=sys.stderr)


def print_table(
    console: Console,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[int] = (),
    shortened: Sequence[int] = (),
) -> None:
    """Print a plain table; the columns at the places in `numbers` are aligned to the right.

    Where a row is too wide, cells are folded, and those in the columns `shortened` cut with an ellipsis.

    No markup in a file's name is ever interpreted, and what could steer the terminal is shown escaped.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    # Rich would take room from numbers too, and show 3,16 for 3,160,000: what is to be shortened is told its room.
    others = sum(width + _GAP for place, width in enumerate(widths) if place not in shortened)
    room = (console.width - others) // max(len(shortened), 1) - _GAP
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=any(columns))
    for place, name in enumerate(columns):
        table.add_column(
            Text(name),
            justify="right" if place in numbers else "left",
            overflow="ellipsis" if place in shortened else "fold",
            no_wrap=place in shortened or place in numbers,
            max_width=max(room, _LEAST) if place in shortened else None,
        )
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(Text(title, style="bold"))  # not as the table's own title, which is folded at the table's width
    console.print(table)
    console.print()


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return escaped(str(value))
    return f"{value:,}"


def print_line(console: Console, text: str, *, indent: int = 0) -> None:
    """Print plain words, folded at the width of the console, without interpreting any markup in them."""
    for line in Text(escaped(text)).wrap(console, max(console.width - indent, 1)) or [Text()]:
        line.rstrip()
        console.print(Text(" " * indent).append_text(line), soft_wrap=True)


def print_command(console: Console, command: str, *, indent: int = 4) -> None:
    """Print a shell command that can be copied: where it is too wide, lines end in a backslash between words."""
    lines, line = [], ""
    for word in map(shlex.quote, shlex.split(command)):
        if line and cell_len(f"{line} {word} \\") + indent > console.width:
            lines.append(f"{line} \\")
            line = f"  {word}"
        else:
            line = f"{line} {word}" if line else word
    for one in (*lines, line):  # a word that is wider than the console is not cut
        console.print(Text(" " * indent + escaped(one)), soft_wrap=True)


def escaped(text: str) -> str:
    r"""Text as it is, but for what steers a terminal or cannot be seen: `\x1b`, `\n`, `\u202e`."""
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout, for `--json`."""
    print(json.dumps(document, indent=2, ensure_ascii=False))
