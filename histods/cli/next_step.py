"""The command to type next, which every command ends with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from histods.cli.console import print_command, print_line
from histods.io.workspace import Workspace
from histods.labels.label_map_file import propose_label_map

if TYPE_CHECKING:
    from rich.console import Console

    from histods.measurement.audit_result import AuditResult
    from histods.splits.groups import Proposal

_AFTER = {
    "remap": "histods plot",
    "plot": "histods train",
    "split": "histods train",
    "shard": "histods train",
    "encode": "histods train",
}
"""The next command after each that needs to know no more than that."""
_MULTIPLE = 32


def print_next(console: Console, command: str) -> None:
    """Print the next command, so that it can be copied: on the line of the word where it fits, else below it."""
    line = f"Next: {command}"
    if cell_len(line) <= console.width:
        print_line(console, line)
    else:
        print_line(console, "Next:")
        print_command(console, command)


def print_next_after(console: Console, verb: str, workspace: Path) -> None:
    """Print the command that comes after a verb in this workspace."""
    print_next(console, in_workspace(_AFTER[verb], workspace))


def offer_groups(console: Console, proposed: Proposal, workspace: Path) -> None:
    """Say how names may tell slides or patients, and the command that splits by them."""
    names = f"{proposed.groups:,} slides or patients, such as {proposed.group!r} in {proposed.key!r}"
    print_line(console, f"If names tell {names}, split by them:")
    command = f"histods split --group-regex {shlex.quote(proposed.expression)}"
    print_command(console, in_workspace(command, workspace))


def print_next_after_audit(console: Console, result: AuditResult) -> None:
    """Print what comes after an audit: tiles where sizes differ, a label map where one is at hand, else charts."""
    if drafts_labels(result):
        print_next(console, f"{in_workspace(result.command, result.workspace)} --write-labels labels.yml")
        return
    if result.counts.conditional + result.counts.unconditional == 0:
        return
    _offer_labels(console, result)
    found = propose_label_map(result.root, result.options.labels, result.other_files)
    command = "histods plot" if found is None else f"histods remap --map {shlex.quote(found)}"
    if found is None and _has_gaps(result):
        command = "histods remap --draft my_map.yml"
    if (side := find_side(result)) is not None:
        to = result.root.with_name(f"{result.root.name}-tiles")
        command = f"histods tile --size {side} --to {shlex.quote(str(to))}"
    print_next(console, in_workspace(command, result.workspace))


def drafts_labels(result: AuditResult) -> bool:
    """Whether nothing can be used before colours are labels: then a labels file is what comes next."""
    return result.counts.conditional == 0 and bool(result.palette) and "not_an_index_mask" in result.findings


def _offer_labels(console: Console, result: AuditResult) -> None:
    """Say that a bundled labels file names all labels, where none was given and they are evidence of it."""
    from histods.labels.bundled_labels import find_bundled_labels

    if result.options.labels is None and (name := find_bundled_labels(row.label for row in result.labels)):
        print_line(console, f"The labels fit {name}:")
        print_command(console, in_workspace(f"{result.command} --labels {name}", result.workspace))


def _has_gaps(result: AuditResult) -> bool:
    """Whether labels make poor classes as they are: most numbers up to the largest do not occur."""
    labels = [row.label for row in result.labels]
    return bool(labels) and max(labels) + 1 > 2 * len(labels)


def find_side(result: AuditResult) -> int | None:
    """The side of tiles to cut where samples in use have sizes that training cannot take; None elsewhere.

    It takes one size, whose sides its default network can halve twice in latents of an eighth.
    """
    from histods.tiles.grid import tile_side

    samples = result.manifest.to_polars()
    sizes = samples.filter(samples["role"] != "excluded").group_by("height", "width").len()
    sizes = sizes.sort("len", "height", "width", descending=[True, False, False])
    height, width = sizes.select("height", "width").row(0)
    if len(sizes) < 2 and height % _MULTIPLE == 0 and width % _MULTIPLE == 0:
        return None
    return tile_side((height, width), multiple=1 if len(sizes) > 1 else _MULTIPLE)


def in_workspace(command: str, workspace: Path) -> str:
    """A command for this workspace: with `-w` unless it is where the command looks anyway."""
    return f"{command}{Workspace(workspace).option}"
