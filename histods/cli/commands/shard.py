"""histods shard: its options, and how its result is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import print_line, print_table, run_command
from histods.cli.next_step import print_next_after
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    MapOption,
    QuietOption,
    WorkersOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from histods.steps.shard import ShardResult

EXAMPLE = "histods shard --map label_map_10.yml"


def shard(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    label_map: MapOption = None,
    split: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Write this split alone; may be repeated.")
    ] = None,
    shard_mb: Annotated[int, typer.Option(help="Megabytes that a shard holds at most.")] = 512,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", "--output", help="Folder for the shards; 'shards' in the workspace by default."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace shards of another label map, split or audit.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Write no shards; read every byte of those there and compare."),
    ] = False,
    workers: WorkersOption = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Copy samples into tar archives that trainers read, with an index of where each one is."""
    from histods.steps.shard import shard as run

    def show(results: Console, result: ShardResult) -> None:
        show_shard(results, result)
        if not verify:
            print_next_after(results, "shard", workspace)

    run_command(
        lambda watch: run(
            workspace=workspace,
            map=label_map,
            split=split or (),
            shard_mb=shard_mb,
            out=out,
            verify=verify,
            overwrite=overwrite,
            workers=workers,
            progress=watch,
        ),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_shard(console: Console, result: ShardResult) -> None:
    """Print what is in a folder of shards."""
    print_table(
        console,
        f"Shards of {result.map}",
        ["split", "shards", "samples", "MB"],
        [
            [name, shards, samples, f"{size / 1e6:,.1f}"]
            for name, (shards, samples, size) in sorted(result.splits.items())
        ],
        numbers=[1, 2, 3],
    )
    if result.verified:
        print_line(console, f"Every byte of {result.folder} was read and is as it was written.")
        return
    if result.left_out:
        noun = "sample is" if result.left_out == 1 else "samples are"
        print_line(console, f"{result.left_out:,} {noun} excluded or in no such split, and left out.")
    there = f", {result.present:,} were there already" if result.present else ""
    print_line(console, f"{result.written:,} shards written{there}: {result.folder}")


def to_document(result: ShardResult) -> dict[str, Any]:
    """The result for `--json`."""
    return {
        "folder": result.folder.as_posix(),
        "map": result.map,
        "classes": list(result.classes),
        "splits": {
            name: {"shards": shards, "samples": samples, "bytes": size}
            for name, (shards, samples, size) in sorted(result.splits.items())
        },
        "written": result.written,
        "present": result.present,
        "verified": result.verified,
        "left_out": result.left_out,
    }
