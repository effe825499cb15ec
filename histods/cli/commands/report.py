"""histods report: its options, and how its result is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import make_console, print_line, run_command
from histods.cli.next_step import print_next
from histods.cli.options import DEFAULT_WORKSPACE, DebugOption, JsonOption, QuietOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from reports.page.write import ReportResult

EXAMPLE = "histods report -w histods-out"


def report(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The HTML file; report.html of the workspace by default."),
    ] = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Write one page of findings, pictures, classes, split and training runs, which opens without a server."""
    from histods.steps.status import status
    from reports.page.write import report as run

    def show(results: Console, result: ReportResult) -> None:
        for line in result.problems:
            print_line(make_console(quiet=quiet), line)
        show_report(results, result)
        print_next(results, status(workspace).next)

    run_command(
        lambda watch: run(workspace, out, progress=watch),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_report(console: Console, result: ReportResult) -> None:
    """Print where the page is, and how large."""
    print_line(console, f"Written: {result.file} ({result.bytes / 1e6:,.1f} MB); open it in a browser.")


def to_document(result: ReportResult) -> dict[str, Any]:
    """The result for `--json`."""
    return {
        "file": result.file.as_posix(),
        "bytes": result.bytes,
        "sections": list(result.sections),
        "missing": list(result.missing),
        "problems": list(result.problems),
        "pictures": result.pictures,
    }
