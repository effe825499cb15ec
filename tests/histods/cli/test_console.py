"""Tables: every number whole at 80 columns, whatever else is in a row."""

from __future__ import annotations

import io
import shlex
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from histods.cli.console import print_command, print_line, print_table


@example(names=["Dermis"], length=150, number=3_160_000)
@given(
    names=st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=1, max_size=5),
    length=st.integers(1, 200),
    number=st.integers(0, 10**12),
)
def test_numbers_are_whole_however_long_the_names_beside_them(names: list[str], length: int, number: int) -> None:
    console = Console(file=io.StringIO(), width=80)
    rows = [[label, (name * length)[:length], number, "99.99", 246_750] for label, name in enumerate(names)]
    columns = ["label", "name", "pixels", "%", "images"]
    print_table(console, "Labels", columns, rows, numbers=[0, 2, 3, 4], shortened=[1])
    shown = console.file.getvalue().splitlines()[2:]  # type: ignore[attr-defined]
    assert [line.split()[0] for line in shown if line.strip()] == [str(label) for label in range(len(names))]
    for line in shown[: len(names)]:
        assert line.split()[-3:] == [f"{number:,}", "99.99", "246,750"]


@pytest.mark.parametrize(
    "words",
    [
        ["histods", "audit", "/data/patches", "-w", "out"],
        [
            "histods",
            "audit",
            "/data/my patches",
            "--group-regex",
            r"^(slide_\d+)",
            "--mask-pattern",
            "m/{key}.png",
        ],
        ["histods", "audit", f"/data/{'long' * 40}", "--write-labels", "labels.yml"],
        ["histods", "fix", "--undo", "it's here/zero_mask-1.jsonl", "-w", "a\\b", "--to", "x" * 60, "--apply"],
    ],
)
def test_a_command_can_be_copied_at_any_width(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    for width in (40, 80, 300):
        console = Console(file=sys.stdout, width=width)
        print_command(console, shlex.join(words))
        printed = capsys.readouterr().out
        assert shlex.split(printed.replace("\\\n", "")) == words  # as a shell joins lines
        room = max(width, max(map(len, map(shlex.quote, words))) + 8)
        assert all(len(line) <= room for line in printed.splitlines())


def test_folded_lines_have_no_blanks_at_their_ends(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(Console(file=sys.stdout, width=20), "a line that is wider than the console [red]", indent=4)
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(line.strip() for line in lines) == "a line that is wider than the console [red]"
    assert all(line.startswith("    ") and line == line.rstrip() and len(line) <= 20 for line in lines)
