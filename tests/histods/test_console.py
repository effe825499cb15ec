"""Tables: every number whole at 80 columns, whatever else is in a row."""

from __future__ import annotations

import io

from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from histods.console import print_table


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
