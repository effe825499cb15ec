"""What a --group-regex makes of the first keys, so that a wrong one is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.cli.console import print_line, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console


def show_groups(console: Console, first: Iterable[tuple[str, str | None]], ungrouped: int, samples: int) -> None:
    """Print the first keys with their groups, and how many keys do not match.

    Args:
        console: where to print.
        first: keys and groups; None where the key does not match.
        ungrouped: samples without a group.
        samples: all samples.
    """
    rows = [["(none)" if group is None else group, key] for key, group in first]
    print_table(console, "Groups of the first keys", ["group", "key"], rows)
    if ungrouped:
        print_line(
            console,
            f"warning: {ungrouped:,} of {samples:,} keys do not match --group-regex; each is taken for a slide of "
            "its own.",
        )
