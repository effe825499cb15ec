"""histods status: its options, and how the parts of a workspace are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.cli.console import make_results, print_json, print_table
from histods.cli.next_step import print_next
from histods.cli.options import DEFAULT_WORKSPACE, DebugOption, JsonOption, QuietOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from histods.stages import Stage
    from histods.steps.status import StatusResult

EXAMPLE = "histods status -w histods-out"


def status(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Show what a workspace has, what is out of date or missing, and the next command."""
    from dataclasses import asdict

    from histods.steps.status import status as run

    result = run(workspace)
    show_status(make_results(quiet=quiet, json_output=json_output), result)
    if json_output:
        print_json(
            {
                "workspace": result.workspace.as_posix(),
                "parts": [asdict(part) for part in result.parts],
                "next": result.next,
            }
        )


def show_status(console: Console, result: StatusResult) -> None:
    """Print one line per part, and the next command."""
    words = {"done": "done", "stale": "out of date", "missing": "missing"}

    def say(part: Stage) -> str:
        return "unfinished" if part.name.startswith("run ") and part.state == "missing" else words[part.state]

    print_table(
        console,
        f"Workspace {result.workspace}",
        ["part", "state", ""],
        [[part.name, say(part), part.detail] for part in result.parts],
    )
    print_next(console, result.next)
