"""histods plot: its options, and how its result is shown."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import make_console, print_line, run_command
from histods.cli.next_step import print_next_after
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    CountsOption,
    DebugOption,
    JsonOption,
    QuietOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from reports.charts import PlotResult

EXAMPLE = "histods plot -w histods-out"


class WidthName(StrEnum):
    """How wide a chart is on paper."""

    page = "page"
    column = "column"


def plot(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    counts: CountsOption = None,
    width: Annotated[
        WidthName, typer.Option(help="page: 183 mm; column: one column of a journal, 85 mm.")
    ] = WidthName.page,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Also write PDF files with embedded fonts, as journals want them.")
    ] = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Draw charts of labels, classes, split, findings, image sizes and groups as PNG, SVG and CSV."""
    from reports.charts import plot as run

    def show(results: Console, result: PlotResult) -> None:
        for line in result.skipped:
            print_line(make_console(quiet=quiet), line)
        print_line(results, f"{len(result.files)} files in {result.files[0].parent}: {', '.join(result.systems)}")
        if counts is None:
            print_next_after(results, "plot", workspace)

    run_command(
        lambda watch: run(workspace, counts=counts, width=width.value, pdf=pdf, progress=watch),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def to_document(result: PlotResult) -> dict[str, Any]:
    """The result for `--json`."""
    return {
        "files": [path.as_posix() for path in result.files],
        "systems": list(result.systems),
        "skipped": list(result.skipped),
    }
