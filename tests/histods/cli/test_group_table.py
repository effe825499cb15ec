"""Groups of the first keys, so that a wrong expression is seen before anything is split by it."""

from __future__ import annotations

import io

from rich.console import Console

from histods.cli.group_table import show_groups


def shown(*rows: tuple[str, str | None], ungrouped: int = 0) -> str:
    console = Console(file=io.StringIO(), width=80)
    show_groups(console, rows, ungrouped, 2000)
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


def test_each_key_is_beside_its_group_without_any_markup() -> None:
    text = shown(("[red]ä/x", "ä"), ("b", None))
    assert text == "Groups of the first keys group key ä [red]ä/x (none) b"


def test_keys_without_a_group_are_counted_and_explained() -> None:
    text = shown(("b", None), ungrouped=1234)
    assert text.endswith(
        "warning: 1,234 of 2,000 keys do not match --group-regex; each is taken for a slide of its own."
    )
