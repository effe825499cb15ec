"""histods remap: its options, and how its result is shown."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histods.cli.console import print_command, print_line, print_table, run_command
from histods.cli.next_step import in_workspace, print_next_after
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    CountsOption,
    DebugOption,
    JsonOption,
    MapOption,
    QuietOption,
    WorkersOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from histods.steps.remap import RemapResult


EXAMPLE = "histods remap --map label_map_10.yml --write-masks masks10"


def remap(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    label_map: MapOption = None,
    write_masks: Annotated[
        Path | None, typer.Option(help="Also write the remapped masks in use here, as 8-bit PNG files.")
    ] = None,
    dataset_csv: Annotated[
        Path | None, typer.Option(help="Also write a line of name,'c0 c1 ...' per sample in use to this file.")
    ] = None,
    counts: CountsOption = None,
    draft: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a label map to edit, with every label that occurs, and no more."),
    ] = None,
    workers: WorkersOption = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Give every label its class, on the numbers of the audit: no pixel is read again."""
    from histods.steps.remap import remap as run
    from histods.steps.remap import to_document

    def show(results: Console, result: RemapResult) -> None:
        if draft is not None:
            _show_draft(results, result, draft, workspace)
        else:
            show_remap(results, result)
        if counts is None and draft is None:
            print_next_after(results, "remap", workspace)

    run_command(
        lambda watch: run(
            workspace=workspace,
            map=label_map,
            write_masks=write_masks,
            dataset_csv=dataset_csv,
            counts=counts,
            draft=draft,
            workers=workers,
            progress=watch,
        ),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def _show_draft(console: Console, result: RemapResult, draft: Path, workspace: Path) -> None:
    """Say what was drafted and how to continue."""
    drafted = sum(len(labels) for labels in result.labels)
    print_line(console, f"Written: {draft}, with {drafted:,} labels in {len(result.classes):,} classes.")
    print_line(console, "Merge and rename classes in an editor, then:")
    print_command(console, in_workspace(f"histods remap --map {shlex.quote(str(draft))}", workspace))


def show_remap(console: Console, result: RemapResult) -> None:
    """Print the classes of a class system and what the map changed."""
    rows = [
        [row.index, row.name, row.pixels, f"{row.percent:.2f}", "-" if row.images is None else row.images]
        for row in result.classes
    ]
    print_table(
        console,
        f"Classes of {result.name}" + ("" if result.masks is None else f" in the {result.masks:,} masks in use"),
        ["class", "name", "pixels", "%", "images"],
        rows,
        numbers=[0, 2, 3, 4],
        shortened=[1],
    )
    if result.manifest_digest is not None:
        both = f"{result.conditional:,} conditional and {result.unconditional:,} unconditional samples"
        print_line(console, f"{both}.")
    if result.became_unconditional:
        print_line(
            console,
            f"{result.became_unconditional:,} of these became unconditional: all their labels are class 0.",
        )
    if result.excluded:
        print_line(
            console,
            f"{result.excluded:,} excluded samples are left out, with {result.excluded_masks:,} masks of "
            f"{result.excluded_pixels:,} pixels.",
        )
    if result.unmapped_labels and result.unmapped_class is not None:
        listed = ", ".join(map(str, result.unmapped_labels))
        name = result.classes[result.unmapped_class].name
        print_line(
            console,
            f"Labels that the map does not list became {name}: {listed} ({result.unmapped_pixels:,} pixels).",
        )
    for warning in result.warnings:
        print_line(console, f"warning: {warning}")
    if result.masks_written or result.masks_present:
        there = f", {result.masks_present:,} were there already" if result.masks_present else ""
        print_line(console, f"{result.masks_written:,} masks written{there}.")
    print_line(console, f"No pixel is lost: {result.pixels:,} before and after.")
