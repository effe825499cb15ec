"""histods export-data: its options, and how its result is shown."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.completion import complete_formats
from histods.cli.console import print_command, print_line, print_table, run_command
from histods.cli.next_step import in_workspace, print_next
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    MapOption,
    QuietOption,
    WorkersOption,
    WorkspaceOption,
)
from histods.exports.base import FORMATS
from histods.printing import counted

if TYPE_CHECKING:
    from rich.console import Console

    from histods.steps.export_data import ExportDataResult

EXAMPLE = "histods export-data --format nnunet --to nnUNet_raw/Dataset101_skin"
_SHOWN = 3
_MOST_EMPTY = 20
"""Classes without a pixel that have a row; more of them are numbers between labels, not classes."""


class Unknown(StrEnum):
    """What becomes of class 0."""

    ignore = "ignore"
    background = "background"


def export_data(
    to: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the export, outside the dataset.")],
    format_name: Annotated[
        str,
        typer.Option(
            "--format",
            metavar=f"[{'|'.join(FORMATS)}]",
            autocompletion=complete_formats,
            help="The layout to write.",
        ),
    ],
    label_map: MapOption = None,
    unknown: Annotated[
        Unknown,
        typer.Option(help="Class 0: ignore: nobody knows what it is; background: it is known to be nothing."),
    ] = Unknown.ignore,
    keep_unlabelled: Annotated[
        bool, typer.Option("--keep-unlabelled", help="Export images without any labelled pixel, too.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    workers: WorkersOption = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Write images and masks in the layout of nnU-Net, Ultralytics and datasets, CVAT and Datumaro, or COCO."""
    from histods.steps.export_data import export_data as run

    def show(results: Console, result: ExportDataResult) -> None:
        show_export(results, result, workspace)
        print_next(results, result.command)

    run_command(
        lambda watch: run(
            to=to,
            format=format_name,
            map=label_map,
            unknown=unknown.value,
            keep_unlabelled=keep_unlabelled,
            workspace=workspace,
            workers=workers,
            progress=watch,
        ),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_export(console: Console, result: ExportDataResult, workspace: Path) -> None:
    """Print what is in an exported folder, what became of class 0, and what was left out."""
    value = "category" if result.format == "coco" else "value"
    empty = [row.name for row in result.classes if row.index and not row.pixels]
    hidden = len(empty) > _MOST_EMPTY
    print_table(
        console,
        f"Classes of {result.map}, for {result.format}",
        ["class", "name", value, "pixels", "%", "images"],
        [
            [row.index, row.name, str(number), row.pixels, f"{row.percent:.2f}", row.images]
            for row, number in zip(result.classes, result.values, strict=True)
            if row.pixels or not row.index or not hidden
        ],
        numbers=[0, 2, 3, 4, 5],
        shortened=[1],
    )
    if hidden:
        print_line(console, f"{len(empty):,} classes without a pixel are not in this table; --json lists them.")
    print_line(console, result.unknown)
    _warn_of_one_class(console, result)
    if empty:
        more = f" and {len(empty) - _SHOWN:,} more" if len(empty) > _SHOWN else ""
        print_line(
            console,
            f"warning: no pixel of what is exported is {', '.join(empty[:_SHOWN])}{more}, so that nothing can be "
            "learned of it; a label map ('histods remap --draft my_map.yml') merges classes or leaves them out.",
        )
    print_line(console, ", ".join(f"{name} {count:,}" for name, count in result.splits.items()) + " samples.")
    if not result.has_split:
        print_line(console, "There is no split yet, so that all samples are in train. To split them by slide:")
        print_command(console, in_workspace("histods split --test 0.1 --val 0.1", workspace))
    for remark in result.remarks:
        print_line(console, remark)
    _show_left_out(console, result)
    there = f", {result.present:,} were there already" if result.present else ""
    print_line(console, f"{result.written:,} samples written{there}: {result.folder}")


def _warn_of_one_class(console: Console, result: ExportDataResult) -> None:
    """Warn where nothing is left to tell apart, or where what is ignored is called background."""
    known = [row for row in result.classes if row.index and row.pixels]
    if result.ignore is not None and result.classes[0].name.strip().casefold() == "background":
        print_line(
            console,
            f"warning: class 0 is called {result.classes[0].name} and is ignored; if it is known to be "
            "background, export with --unknown background.",
        )
    elif result.ignore is not None and len(known) == 1:
        print_line(
            console,
            f"warning: {known[0].name} is the only class that is not ignored, so that there is nothing to tell it "
            "from; if class 0 is known to be background, export with --unknown background.",
        )


def _show_left_out(console: Console, result: ExportDataResult) -> None:
    if result.unlabelled:
        print_line(
            console,
            f"Left out: {counted(result.unlabelled, 'sample')} without a labelled pixel; "
            "--keep-unlabelled exports them.",
        )
    if result.excluded:
        print_line(console, f"Left out: {counted(result.excluded, 'sample')} that the audit excludes.")
    for path, reason in result.unreadable[:_SHOWN]:
        print_line(console, f"warning: {path} is left out: {reason}")
    if len(result.unreadable) > _SHOWN:
        more = len(result.unreadable) - _SHOWN
        print_line(console, f"warning: {counted(more, 'more image')} that cannot be decoded left out")


def to_document(result: ExportDataResult) -> dict[str, Any]:
    """The result for `--json`."""
    return {
        "folder": result.folder.as_posix(),
        "format": result.format,
        "map": result.map,
        "classes": [
            {
                "class": row.index,
                "name": row.name,
                "value": value,
                "pixels": row.pixels,
                "percent": row.percent,
                "images": row.images,
            }
            for row, value in zip(result.classes, result.values, strict=True)
        ],
        "ignore": result.ignore,
        "splits": result.splits,
        "has_split": result.has_split,
        "written": result.written,
        "present": result.present,
        "unlabelled": result.unlabelled,
        "excluded": result.excluded,
        "unreadable": [{"image": path, "reason": reason} for path, reason in result.unreadable],
        "remarks": [result.unknown, *result.remarks],
        "command": result.command,
    }
