"""How commands report: results on stdout, messages and progress on stderr, in tables that fit 80 columns."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from histods.cli.progress import Watch
from histods.printing import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import IO

__all__ = [
    "Watch",
    "make_console",
    "make_results",
    "print_command",
    "print_grid",
    "print_json",
    "print_line",
    "print_table",
    "run_command",
]

Result = TypeVar("Result")
PLAIN_WIDTH = 80
"""Columns of what is written to a file or a pipe; COLUMNS in the environment sets others."""
_GAP, _LEAST = 2, 8  # blanks between columns; characters that a shortened column keeps
_GRID_GAP = 3


def run_command(
    call: Callable[[Watch], Result],
    show: Callable[[Console, Result], None],
    document: Callable[[Result], dict[str, Any]],
    *,
    quiet: bool,
    json_output: bool,
) -> Result:
    """Call a verb while its progress is shown, then show the result.

    Args:
        call: the verb; it is given what to call with progress.
        show: prints the result on a console, which is stdout, or stderr with `--json`.
        document: the result for `--json`.
        quiet: print errors alone.
        json_output: print the document on stdout.
    """
    with Watch(make_console(quiet=quiet)) as watch:
        result = call(watch)
    show(make_results(quiet=quiet, json_output=json_output), result)
    if json_output:
        print_json(document(result))
    return result


def make_console(*, quiet: bool) -> Console:
    """The console for messages and progress: stderr; silent where `quiet`, and in all processes but the first."""
    return _console(sys.stderr, quiet=quiet or not speaks())


def make_results(*, quiet: bool, json_output: bool) -> Console:
    """The console for results: stdout, or stderr where stdout is for JSON; silent in the same cases."""
    return _console(sys.stderr if json_output else sys.stdout, quiet=quiet or not speaks())


def speaks() -> bool:
    """Whether this process reports; of the processes that `torchrun` started together, only the first does."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def _console(stream: IO[str], *, quiet: bool) -> Console:
    # Rich would take the width of a terminal that another stream leads to.
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdigit() else PLAIN_WIDTH
    return Console(file=stream, quiet=quiet, highlight=False, soft_wrap=False, width=width)


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


def print_grid(console: Console, rows: Sequence[tuple[str, int]], *, most: int = 3, lead: str = "") -> None:
    """Print names with numbers in as many columns as fit, at most `most`, read from top to bottom.

    `lead` stands before the first line, and blanks of its length before the others.
    """
    cells = [(escaped(name), f"{number:,}") for name, number in rows]
    for columns in range(most, 0, -1):
        height = -(-len(cells) // columns)
        blocks = [cells[first : first + height] for first in range(0, len(cells), height)]
        names = [max(cell_len(name) for name, _ in block) for block in blocks]
        numbers = [max(len(number) for _, number in block) for block in blocks]
        width = sum(names) + sum(numbers) + _GAP * len(blocks) + _GRID_GAP * (len(blocks) - 1)
        if len(lead) + width <= console.width or columns == 1:
            break
    for place in range(height):
        line = " " * len(lead) if place else lead
        for block, name_width, number_width in zip(blocks, names, numbers, strict=True):
            if place < len(block):
                name, number = block[place]
                blanks = " " * (name_width - cell_len(name))
                line += f"{name}{blanks}{number:>{_GAP + number_width}}{' ' * _GRID_GAP}"
        console.print(Text(line.rstrip()), soft_wrap=True)


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


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout, for `--json`; beyond ASCII only where the stream can write all of it."""
    if not speaks():
        return
    text = json.dumps(document, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeError:
        text = json.dumps(document, indent=2)
    print(text)
