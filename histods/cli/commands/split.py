"""histods split: its options, and how its result is shown."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import print_command, print_line, print_table, run_command
from histods.cli.group_table import show_groups
from histods.cli.next_step import in_workspace, offer_groups, print_next_after
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    QuietOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from histods.classes.absent_classes import AbsentClass
    from histods.splits.split_table import SplitCheck
    from histods.steps.split import SplitResult

EXAMPLE = "histods split --test 0.1 --val 0.1"
_MAX_LABELS = 20
_MAX_SIDES = 4
_MIN_NAME = 12
_MAX_ABSENT = 5
_SOURCE_LABELS = "labels"


def split(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    test: Annotated[
        float | None, typer.Option(help="Fraction of the samples for the test; 0.1 without --folds.")
    ] = None,
    val: Annotated[float, typer.Option(help="Fraction of the samples for validation.")] = 0.0,
    folds: Annotated[int | None, typer.Option(help="Make this many folds instead.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
    keep: Annotated[bool, typer.Option("--keep", help="Samples of the existing split stay in theirs.")] = False,
    group_regex: Annotated[
        str | None,
        typer.Option(
            help="Take groups (slides, patients) from the keys, such as '^([^_]+)_', not from the audit."
        ),
    ] = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Split into train, test and validation, or into folds: no slide and no duplicate in two of them."""
    from histods.steps.split import split as run

    def show(results: Console, result: SplitResult) -> None:
        show_split(results, result)
        print_next_after(results, "split", workspace)

    run_command(
        lambda watch: run(
            workspace=workspace,
            test=test,
            val=val,
            folds=folds,
            seed=seed,
            keep=keep,
            group_regex=group_regex,
            progress=watch,
        ),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_split(console: Console, result: SplitResult) -> None:
    """Print the balance of labels, what could not be looked for, and last the sizes and the check."""
    _show_labels(console, result)
    _show_given(console, result)
    if result.options.group_regex is not None:
        show_groups(console, result.groups, result.ungrouped, result.check.samples)
    _show_gaps(console, result)
    _show_absent(console, result)
    print_line(console, "")
    total = sum(row.samples for row in result.splits)
    print_table(
        console,
        "Split",
        ["split", "conditional", "unconditional", "samples", "%", "target %"],
        [
            [
                row.name,
                row.conditional,
                row.unconditional,
                row.samples,
                f"{100 * row.samples / total:.2f}",
                "-" if row.target is None else f"{row.target:.2f}",
            ]
            for row in result.splits
        ],
        numbers=[1, 2, 3, 4, 5],
    )
    print_line(console, _proof(result.check))
    _warn_of_likenesses(console, result.check, result.path.parent)
    print_line(console, f"Written: {result.path}")


def _show_labels(console: Console, result: SplitResult) -> None:
    """Where the pixels of each label are: of few labels all, else those that are furthest from the target."""
    shown = list(result.labels)
    if len(shown) > _MAX_LABELS:
        shown = sorted(shown, key=lambda row: (-row.deviation, row.label))[:_MAX_LABELS]
    if not shown:
        return
    few = len(result.splits) <= _MAX_SIDES
    columns = [row.name for row in result.splits] if few else ["lowest", "highest"]
    rows = []
    for row in shown:
        percent = row.percent if few else (min(row.percent), max(row.percent))
        rows.append([str(row.label), row.name, f"{row.pixels:,}", *(f"{part:.2f}" for part in percent)])
    header = ["label", "name", "pixels", *columns]
    widths = [max(map(len, cells)) + 2 for cells in zip(header, *rows, strict=True)]
    room = max(console.width - sum(widths) + widths[1] - 2, _MIN_NAME)
    for cells in rows:
        cells[1] = cells[1] if len(cells[1]) <= room else cells[1][: room - 1] + "…"
    print_table(
        console,
        "Pixels of each label, %",
        header,
        rows,
        numbers=[0, *range(2, 3 + len(columns))],
    )
    if len(result.labels) > len(shown):
        more = len(result.labels) - len(shown)
        print_line(console, f"and {more} more labels, which are nearer to the target, with --json")


def _show_given(console: Console, result: SplitResult) -> None:
    """Say what was not free, and whether the fractions counted at all."""
    if result.given:
        print_line(console, f"{result.given:,} samples are where {result.pairs} puts them.")
    if result.kept:
        print_line(console, f"{result.kept:,} samples stay where they were.")
    if result.followed:
        print_line(console, f"{result.followed:,} samples follow their group or duplicates.")
    if not result.assigned:
        fractions = "--folds was" if result.options.folds else "--test and --val were"
        print_line(console, f"Every sample already had its split, so that {fractions} not used.")
    if result.excluded:
        print_line(console, f"{result.excluded:,} excluded samples are left out.")


def _show_gaps(console: Console, result: SplitResult) -> None:
    """Warn of leaks that could not be looked for."""
    if not result.check.groups:
        print_line(
            console,
            "warning: no groups are known, so patches of one slide may be in several splits; give groups with "
            "'histods split --group-regex', or in the pairs file of the audit.",
        )
        if result.proposed is not None:
            offer_groups(console, result.proposed, result.path.parent)
    elif result.ungrouped and result.options.group_regex is None:
        print_line(
            console, f"warning: {result.ungrouped:,} samples have no group; each was taken for a slide of its own."
        )
    if result.check.duplicates is None:
        print_line(console, f"Duplicates were not looked for: run '{result.audit} --hash' first.")


def _show_absent(console: Console, result: SplitResult) -> None:
    """Warn of classes that a split lacks: of each class system those that matter most, the others counted."""
    for system, rows in groupby(result.absent, key=lambda row: row.system):
        listed = list(rows)
        for row in listed[:_MAX_ABSENT]:
            print_line(console, f"warning: {_absence(row, result)}")
        if len(listed) > _MAX_ABSENT:
            what = "labels" if system == _SOURCE_LABELS else f"classes of {system}"
            more = len(listed) - _MAX_ABSENT
            print_line(console, f"and {more:,} more {what} without a pixel in a split, with --json")


def _absence(row: AbsentClass, result: SplitResult) -> str:
    """Which splits lack a class, why, and what would help."""
    what = f"label {row.index}" if row.system == _SOURCE_LABELS else f"class {row.index}"
    what += f" {row.name}" if row.name != what else ""
    what += "" if row.system == _SOURCE_LABELS else f" of {row.system}"
    if not row.samples:
        return f"{what} has no pixel in any split; training never draws it"
    *others, last = row.splits
    lacking = f"{', '.join(others)} and {last}" if others else last
    number, grouped = len(result.splits), result.check.groups > 0
    if row.units < number:
        noun = "group" if row.group is not None or (row.units > 1 and grouped) else "image"
        where = f"one {noun} only" if row.units == 1 else f"{row.units} {noun}s only"
        which = "" if row.group is None else f" ({row.group})"
        several = "both" if number == 2 else f"all {number} splits"
        why = f"a split by {noun} cannot give it to {several}: {lacking} {'have' if others else 'has'} none"
        return f"{what} has pixels in {where}{which}, so that {why}"
    held = f"{row.units:,} {'groups' if grouped else 'images'} hold it"
    advice = "try another --seed or other fractions" if result.assigned else "change the pairs file"
    return f"{what} has no pixel in {lacking}, although {held}; {advice}"


def _warn_of_likenesses(console: Console, check: SplitCheck, workspace: Path) -> None:
    """Warn of images that look the same in several splits: what a model has learned would be tested on itself."""
    if not check.straddling_likenesses:
        return
    sets = f"{check.straddling_likenesses:,} of {check.likenesses or 0:,} sets of near-duplicates"
    print_line(
        console,
        f"warning: {sets} are in more than one split, so that a test would see what was trained on. To look at "
        "them, and to leave one of each set:",
    )
    for command in ("histods show near_duplicate --open DIR", "histods fix near_duplicate --to DIR"):
        print_command(console, in_workspace(command, workspace))


def _proof(check: SplitCheck) -> str:
    """What reading the file back showed, in one sentence."""
    looked_for = []
    if check.groups:
        looked_for.append(f"{check.straddling_groups:,} of {check.groups:,} groups")
    if check.duplicates is not None:
        looked_for.append(f"{check.straddling_duplicates:,} of {check.duplicates:,} sets of duplicates")
    leaks = f"{' and '.join(looked_for)} are in more than one split; " if looked_for else ""
    return f"Checked: {leaks}each of {check.samples:,} samples is in exactly one split."


def to_document(result: SplitResult) -> dict[str, Any]:
    """The result for `--json`."""
    check = result.check
    names = [row.name for row in result.splits]
    return {
        "options": asdict(result.options),
        "splits": {
            row.name: {
                "conditional": row.conditional,
                "unconditional": row.unconditional,
                "samples": row.samples,
                "target_percent": row.target,
            }
            for row in result.splits
        },
        "labels": [
            {
                "label": row.label,
                "name": row.name,
                "pixels": row.pixels,
                "percent": dict(zip(names, row.percent, strict=True)),
                "deviation": row.deviation,
            }
            for row in result.labels
        ],
        "absent": [asdict(row) | {"splits": list(row.splits)} for row in result.absent],
        "samples": {
            "assigned": result.assigned,
            "given": result.given,
            "kept": result.kept,
            "followed": result.followed,
            "excluded": result.excluded,
            "without_group": result.ungrouped,
        },
        "check": {
            "samples": check.samples,
            "samples_without_split": check.missing,
            "keys_doubled": check.doubled,
            "keys_unknown": check.unknown,
            "groups": check.groups,
            "groups_in_several_splits": check.straddling_groups,
            "duplicates": check.duplicates,
            "duplicates_in_several_splits": check.straddling_duplicates,
            "near_duplicates": check.likenesses,
            "near_duplicates_in_several_splits": check.straddling_likenesses,
        },
        "manifest_digest": result.manifest_digest,
    }
