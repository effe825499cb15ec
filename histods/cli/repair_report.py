"""How a repair is shown: what is written and what stays, with examples, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.cli.console import print_command, print_line

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from histods.repairs.choose import Refusal
    from histods.steps.repair import RepairResult


def show_repair(console: Console, result: RepairResult, workspace: Path, labels: Path | None) -> None:
    """Print what a repair would write, has written, or has undone."""
    if result.state == "undone":
        _show_undone(console, result)
        return
    if result.interrupted:
        _show_interrupted(console, result)
    elif result.files:
        _show_files(console, result)
    elif result.refused:
        print_line(console, f"{result.code}: no file can be repaired.")
    else:
        print_line(console, f"{result.code}: the last audit found no such file.")
    for refusal in result.refused:
        _show_refusal(console, refusal)
    if result.state == "repaired":
        _show_after(console, result, workspace, labels)
    elif result.files or result.interrupted:
        _show_before(console, result, workspace, labels)


def _show_files(console: Console, result: RepairResult) -> None:
    from histods.remedies import REMEDIES
    from histods.steps.repair import EXAMPLES

    summaries = {remedy.name: remedy.summary for remedy in REMEDIES}
    number = len(result.files)
    print_line(console, f"{result.code}: {_count(number)} of {result.root}")
    for name, files in result.by_remedy():
        print_line(console, f"{name}, {_count(files)}: {summaries.get(name, '')}")
        for file in [file for file in result.files if file.remedy == name][:EXAMPLES]:
            print_line(console, file.path, indent=4)
            print_line(console, f"{file.before} -> {file.after}", indent=8)
        if files > EXAMPLES:
            print_line(console, f"and {files - EXAMPLES:,} more", indent=4)


def _show_refusal(console: Console, refusal: Refusal) -> None:
    from histods.steps.repair import EXAMPLES

    number = len(refusal.files)
    verb = "stays" if number == 1 else "stay"
    print_line(console, f"{_count(number)} {verb}: {refusal.reason}")
    for path, detail in refusal.files[:EXAMPLES]:
        print_line(console, f"{path} ({detail})" if detail else path, indent=4)
    if number > EXAMPLES:
        print_line(console, f"and {number - EXAMPLES:,} more, which --json lists", indent=4)


def _show_interrupted(console: Console, result: RepairResult) -> None:
    if result.state == "planned":
        print_line(console, f"An earlier run was interrupted; {_count(len(result.files))} of it are left.")
    else:
        print_line(console, "The earlier run that was interrupted is finished, with the labels that it was given.")


def _show_before(console: Console, result: RepairResult, workspace: Path, labels: Path | None) -> None:
    from histods.moves.journal import undo_command
    from histods.steps.repair import repair_command

    if result.interrupted and result.journal is not None:
        print_line(console, "To finish it, or to undo it:")
        print_command(console, repair_command(result, workspace, labels=labels))
        print_command(console, undo_command(result.journal))
        return
    where = "in the dataset, and keep the originals" if result.in_place else f"to {result.to}"
    print_line(console, f"Nothing has been written yet. To write {_them(result)} {where}:")
    print_command(console, repair_command(result, workspace, labels=labels))


def _show_after(console: Console, result: RepairResult, workspace: Path, labels: Path | None) -> None:
    from dataclasses import replace

    from histods.moves.journal import undo_command
    from histods.steps.repair import repair_command

    if result.journal is None:
        return
    if result.in_place:
        print_line(
            console,
            f"{_count(result.files_changed)} replaced; the originals are in {result.originals}. To restore:",
        )
        print_command(console, undo_command(result.journal))
        print_line(console, "The manifest is out of date now. Audit again:")
        print_command(console, result.audit)
        return
    print_line(
        console, f"{_count(result.files_changed)} written to {result.to}; the dataset is unchanged. To undo:"
    )
    print_command(console, undo_command(result.journal))
    if any(file.target != file.path for file in result.files):
        print_line(console, "The dataset still has the files under their old names.")
    print_line(console, "Look at the new files; to replace those of the dataset:")
    in_place = replace(result, to=result.root)
    print_command(console, repair_command(in_place, workspace, labels=labels))


def _show_undone(console: Console, result: RepairResult) -> None:
    if result.in_place:
        print_line(console, f"{_count(result.files_changed)} restored in {result.root}.")
        print_line(
            console, "If you audited after the repair, audit again; else the audit before it is valid again."
        )
    else:
        print_line(console, f"{_count(result.files_changed)} removed from {result.to}.")


def _count(number: int) -> str:
    return f"{number:,} {'file' if number == 1 else 'files'}"


def _them(result: RepairResult) -> str:
    return "it" if len(result.files) == 1 else "them"
