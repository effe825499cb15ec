"""histods fix: its options, and how its result is shown."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histods.cli.completion import complete_codes
from histods.cli.console import print_command, print_line, print_table, run_command
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    QuietOption,
    WorkersOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from histods.steps.fix import FixResult

_MAX_FOLDERS = 10
REPAIRING = "Repairs"

EXAMPLE = "histods fix unreadable_mask --to /data/quarantine"


def fix(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE",
            autocompletion=complete_codes,
            help="Code of the finding, such as wide_mask; with --repair also a kind of masks, such as palette.",
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder outside the dataset that the files go to.")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Move or write the files; else they are only listed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files and change nothing, as without --apply.")
    ] = False,
    undo: Annotated[
        Path | None, typer.Option(metavar="JOURNAL", help="Undo the fix of this journal, and nothing else.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            rich_help_panel=REPAIRING,
            help="Write the files as they should be, to the folder of --to or in place, instead of moving them.",
        ),
    ] = False,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            rich_help_panel=REPAIRING,
            help="Replace the files; the originals are kept in the workspace.",
        ),
    ] = False,
    remedy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=REPAIRING,
            help="Choose the remedy; some, such as specks, are applied only if they are named.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=REPAIRING,
            help="File with labels and their colours; that of the audit by default.",
        ),
    ] = None,
    workers: WorkersOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Move the images and masks of a finding to another folder, or repair them; both can be undone."""
    from histods.errors import HistodsError
    from histods.moves.journal import is_repair

    if dry_run and apply:
        raise HistodsError("--dry-run and --apply contradict each other; leave one of them out.")
    options = {"--in-place": in_place, "--remedy": remedy, "--labels": labels}
    given = [name for name, value in options.items() if value]
    if given and not repair:
        raise HistodsError(f"{given[0]} is an option of repairs; add --repair.")
    if repair and undo is not None:
        raise HistodsError("--undo JOURNAL takes no other options; leave them out.")
    if repair or (undo is not None and is_repair(undo)):
        from histods.cli.repair_report import show_repair
        from histods.steps import repair as step

        run_command(
            lambda watch: step.repair(
                code,
                to=to,
                in_place=in_place,
                remedy=remedy,
                labels=labels,
                apply=apply,
                undo=undo,
                workspace=workspace,
                workers=workers,
                progress=watch,
            ),
            lambda results, result: show_repair(results, result, workspace, labels),
            step.to_document,
            quiet=quiet,
            json_output=json_output,
        )
        return
    from histods.steps.fix import fix as run
    from histods.steps.fix import to_document

    run_command(
        lambda watch: run(code, to=to, apply=apply, undo=undo, workspace=workspace, progress=watch),
        lambda results, result: show_fix(results, result, workspace),
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_fix(console: Console, result: FixResult, workspace: Path) -> None:
    """Print what moves or has moved, what stays and why, and what to do next."""
    if result.state == "undone":
        print_line(console, f"{result.files_moved:,} files moved back to {result.root}.")
        print_line(console, "If you audited after the fix, audit again; else the audit before it is valid again.")
        return
    if result.moves:
        _show_moves(console, result)
    elif result.interrupted:
        print_line(console, "Every file of the interrupted run is in its place.")
    else:
        print_line(console, f"{result.code}: nothing to move.")
    if result.moves and result.code == "duplicate_mask":
        print_line(console, "The sample whose mask it is moves as well: the files do not tell which one that is.")
    for stay in result.stays:
        print_line(console, f"{stay.samples:,} samples stay, for example {stay.first}:")
        print_line(console, stay.reason, indent=4)
    if result.state == "moved":
        _show_after(console, result)
    elif result.moves or result.interrupted:
        _show_before(console, result, workspace)


def _show_moves(console: Console, result: FixResult) -> None:
    from histods.steps.fix import EXAMPLES

    total = f"{len(result.moves):,} files of {result.samples:,} samples, {result.bytes:,} bytes"
    print_line(console, f"{result.code}: {total}")
    print_line(console, f"from {result.root}")
    print_line(console, f"to {result.to}")
    if result.masks_to != result.to:
        print_line(console, f"and the masks to {result.masks_to}")
    print_line(console, "")
    rows = sorted(result.folders(), key=lambda row: (-row[1], row[0]))
    print_table(console, "Files by folder", ["folder", "files", "bytes"], rows[:_MAX_FOLDERS], numbers=[1, 2])
    if len(rows) > _MAX_FOLDERS:
        print_line(console, f"and {len(rows) - _MAX_FOLDERS:,} more folders")
    if result.state == "planned":
        print_line(console, "Files keep their paths below these folders. The first of them:")
        for move in result.moves[:EXAMPLES]:
            print_line(console, str(Path(move.source).relative_to(result.root)), indent=4)


def _show_before(console: Console, result: FixResult, workspace: Path) -> None:
    from histods.moves.journal import undo_command
    from histods.steps.fix import apply_command

    command = apply_command(result.code, result.to, workspace)
    if result.interrupted and result.journal is not None:
        print_line(console, "An earlier run was interrupted; these files are left. To finish it, or to undo it:")
        print_command(console, command)
        print_command(console, undo_command(result.journal))
    else:
        print_line(console, "Nothing has been moved yet. To move the files:")
        print_command(console, command)


def _show_after(console: Console, result: FixResult) -> None:
    from histods.moves.journal import undo_command

    earlier = len(result.moves) - result.files_moved
    before = f"; {earlier:,} had been moved before the interruption" if result.interrupted else ""
    print_line(console, f"{result.files_moved:,} files moved{before}. To move them back:")
    if result.journal is not None:
        print_command(console, undo_command(result.journal))
    free = f" --unconditional {shlex.quote(str(result.to))}" if result.code == "zero_mask" else ""
    if result.pairs_file is not None:
        print_line(console, f"Remove the lines of the moved files from {result.pairs_file}.")
    print_line(console, "The manifest is out of date now. Audit again:")
    print_command(console, f"{result.audit}{free}")
