"""histods show: its options, and how its tables are printed."""

from __future__ import annotations

import shlex
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histods.cli.completion import complete_shown
from histods.cli.console import make_console, make_results, print_json, print_line, print_table
from histods.cli.next_step import in_workspace, print_next
from histods.cli.options import DEFAULT_WORKSPACE, DebugOption, QuietOption, WorkspaceOption
from histods.io.workspace import Workspace
from histods.printing import escaped

if TYPE_CHECKING:
    from rich.console import Console

    from histods.steps.show import ShownTable, ShowResult

EXAMPLE = "histods show size_mismatch --open overlays"


class FormatName(StrEnum):
    """How tables are printed."""

    table = "table"
    csv = "csv"
    json = "json"


_LOSSES = (
    "loss is the training loss, weighted by noise level, over the last 100 steps; best is the lowest loss on "
    "held-out samples, without weights. Compare either only between runs that predict the same thing."
)
_FOLLOW_UPS = {
    "findings": "histods show CODE",
    "labels": "histods remap --draft my_map.yml",
    "classes": "histods plot",
    "split": "histods shard",
}


def show(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE|KEY|TABLE",
            help="A finding's code, a sample's key or path, or labels, classes, split or runs; all findings "
            "by default.",
            autocompletion=complete_shown,
        ),
    ] = None,
    overlays: Annotated[
        Path | None,
        typer.Option("--open", metavar="DIR", help="Draw image and mask of each sample shown, as PNG."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Rows of a finding at most; overlays at most, 20 by default.")
    ] = None,
    output_format: Annotated[FormatName, typer.Option("--format", help="How to print.")] = FormatName.table,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """List every file of a finding with its reason, or all that is known of one sample."""
    from histods.cli.console import Watch
    from histods.steps.show import show as run
    from histods.steps.show import to_document

    console = make_console(quiet=quiet)
    with Watch(console) as watch:
        result = run(what, open=overlays, limit=limit, workspace=workspace, progress=watch)
    if json_output or output_format is FormatName.json:
        print_json(to_document(result))
    elif output_format is FormatName.csv:
        print_csv(result)
    elif not quiet:
        show_result(make_results(quiet=quiet, json_output=False), result, workspace)
    for key, reason in result.not_drawn:
        print_line(console, f"Not drawn: {key}: {reason}")
    if result.overlays:
        print_line(console, f"{len(result.overlays)} overlays drawn in {result.overlays[0].parent}.")


def print_csv(result: ShowResult) -> None:
    """Print the tables as CSV, with an empty line between them."""
    from histods.measurement.findings_file import to_csv

    print("\n".join(to_csv(table.rows) for table in result.tables), end="")


def show_result(console: Console, result: ShowResult, workspace: Path) -> None:
    """Print the tables for people, and what to type next."""
    if result.kind == "finding":
        _show_finding(console, result, workspace)
        return
    if result.kind == "findings" and not result.total:
        print_line(console, "No problems found.")
        return
    for table in result.tables:
        _show_table(console, table)
    if result.kind == "runs":
        print_line(console, _LOSSES)
    following = _follow_up(result, workspace)
    if following:
        print_next(console, following)


def _follow_up(result: ShowResult, workspace: Path) -> str | None:
    """What to type after a table; nothing where no command stands out."""
    if result.kind == "runs":
        from histods.steps.status import sample_command

        trained = result.rows.filter(result.rows["step"].is_not_null()).sort("best", nulls_last=True)
        return sample_command(Workspace(workspace), trained["run"][0]) if len(trained) else None
    if result.kind == "sample":
        if result.overlays:
            return None
        return in_workspace(f"histods show {shlex.quote(result.name)} --open DIR", workspace)
    return in_workspace(_FOLLOW_UPS[result.kind], workspace)


def _show_finding(console: Console, result: ShowResult, workspace: Path) -> None:
    """Print the files of a finding, and each reason once for all files in a row that have it."""
    from histods.checks import CHECKS
    from histods.remedies import repair_options

    rows = result.tables[0].rows
    if not result.total:
        print_line(console, f"No file has the finding {result.name}.")
        for sentence in result.unjudged:
            print_line(console, sentence)
        return
    for reason, files in groupby(rows.iter_rows(named=True), key=lambda row: row["message"]):
        console.file.writelines(f"{escaped(row['path'])}\n" for row in files)
        print_line(console, reason, indent=4)
    left = result.total - len(rows)
    print_line(console, "")
    rest = f", {left:,} of them not shown" if left else ""
    print_line(console, f"{result.name}: {result.total:,} {'file' if result.total == 1 else 'files'}{rest}")
    command = f"histods fix {result.name}{repair_options(result.name)} --to DIR"
    to_look_at = any(check.quality for check in CHECKS if check.code == result.name)
    if to_look_at and not result.overlays:  # a verdict on pixels, which only the eye confirms
        command = f"histods show {result.name} --open DIR"
    print_next(console, in_workspace(command, workspace))


def _show_table(console: Console, table: ShownTable) -> None:
    """Print one table; numbers to the right, shares with four decimals."""
    numbers = [place for place, kind in enumerate(table.rows.dtypes) if kind.is_numeric()]
    print_table(
        console,
        table.title,
        table.rows.columns if table.facts is None else ["", ""],
        [[_cell(name, value) for name, value in row.items()] for row in table.rows.iter_rows(named=True)],
        numbers=numbers,
    )


def _cell(column: str, value: object) -> object:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value) if column in ("label", "class") else value
