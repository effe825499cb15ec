"""histods describe: its options, and how its result is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import print_line, run_command
from histods.cli.options import DEFAULT_WORKSPACE, DebugOption, JsonOption, QuietOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from histods.steps.describe import DescribeResult

EXAMPLE = "histods describe --to /data/skin-croissant --facts facts.yml"


def describe(
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files, outside the dataset.")],
    facts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML with name, description, license, creators, organizations, url, version, date_published "
            "and cite_as, as far as they are known.",
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Describe the dataset for catalogues: Croissant 1.1, with the manifest and the split."""
    from histods.steps.describe import describe as run

    run_command(
        lambda _: run(to=to, facts=facts, workspace=workspace),
        show_description,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_description(console: Console, result: DescribeResult) -> None:
    """Print what was written, which facts are missing, and how to publish it."""
    for file in result.files:
        print_line(console, f"Written: {file}")
    if result.missing:
        print_line(
            console, f"Not described, since nobody gave it: {', '.join(result.missing)}; give a file with --facts."
        )
    print_line(console, f"To publish the dataset, put these files into {result.root}; paths in them start there.")


def to_document(result: DescribeResult) -> dict[str, Any]:
    """The result for `--json`."""
    return {
        "files": [file.as_posix() for file in result.files],
        "root": result.root.as_posix(),
        "missing": list(result.missing),
    }
