"""histods tile: its options, and how its result is shown."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import print_line, print_table, run_command
from histods.cli.next_step import print_next
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    QuietOption,
    WorkersOption,
    WorkspaceOption,
)
from histods.printing import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from histods.steps.tile import TileResult

EXAMPLE = "histods tile --size 512 --to /data/patches512"
_SHOWN = 3


class Edge(StrEnum):
    """What becomes of the last tile of a row or column."""

    shift = "shift"
    pad = "pad"


def tile(
    to: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the tiles, outside the dataset.")],
    size: Annotated[int, typer.Option(help="Pixels of a side of a tile.")] = 512,
    stride: Annotated[
        int | None, typer.Option(help="Pixels from one tile to the next; those of --size by default.")
    ] = None,
    edge: Annotated[
        Edge, typer.Option(help="The last tiles: shift: moved inwards, so that they overlap; pad: padded.")
    ] = Edge.shift,
    pad_label: Annotated[int, typer.Option(help="Label of the padding of masks; that of images is white.")] = 0,
    keep_blank: Annotated[
        bool, typer.Option("--keep-blank", help="Write tiles without tissue and labels, too.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    workers: WorkersOption = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Cut the images and masks of the last audit into patches of one size, without resampling."""
    from histods.steps.tile import tile as run

    def show(results: Console, result: TileResult) -> None:
        show_tile(results, result)
        print_next(results, result.audit)

    run_command(
        lambda watch: run(
            to=to,
            size=size,
            stride=stride,
            edge=edge.value,
            pad_label=pad_label,
            keep_blank=keep_blank,
            workspace=workspace,
            workers=workers,
            progress=watch,
        ),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_tile(console: Console, result: TileResult) -> None:
    """Print what is in a folder of tiles, and what was left out or padded."""
    padding = f"white in the image, label {result.pad_label} in the mask"
    print_table(
        console,
        f"Tiles of {result.size}x{result.size} pixels, every {result.stride}",
        ["", "images", "tiles", "blank, left out"],
        [
            [name, *count]
            for name, count in (("with a mask", result.pairs), ("without a mask", result.unconditional))
            if count.images
        ],
        numbers=[1, 2, 3],
    )
    if result.edge == "shift":
        print_line(
            console,
            "Edges: the last tile of a row or column is moved inwards and overlaps the one before; a pixel is in "
            f"{result.coverage:.2f} tiles on average.",
        )
    else:
        print_line(console, f"Edges: {counted(result.padded, 'tile')} padded to the right and below: {padding}.")
    if result.small:
        how = f"padded ({padding})" if result.edge == "shift" else "padded"
        print_line(
            console,
            f"{counted(len(result.small), 'image')} smaller than a tile, {how}: {_first(result.small)}",
        )
    _show_left_out(console, result)
    if result.off_palette:
        print_line(
            console,
            f"warning: {result.off_palette:,} pixels of masks have a colour that the labels file does not name: "
            "their label is 65535 in the tiles",
        )
    if result.label_maps:
        print_line(console, f"Copied from the dataset, for 'histods remap': {_first(result.label_maps)}")
    groups = "their image's group"
    if result.own_groups:
        groups = (
            "their image as group" if not result.groups - result.own_groups else f"{groups}, or the image itself"
        )
    print_line(
        console, f"Tiles have {groups} ({counted(result.groups, 'group')}), so that none straddles a split."
    )
    there = f", {result.present:,} were there already" if result.present else ""
    print_line(console, f"{counted(result.written, 'tile')} written{there}: {result.folder}")


def _show_left_out(console: Console, result: TileResult) -> None:
    """Print which tiles and images are not there, and why."""
    from histods.tiles.grid import BLANK_SHARE, NEAR_WHITE

    if result.pairs.blank + result.unconditional.blank:
        print_line(
            console,
            f"Blank: less than {100 * BLANK_SHARE:.0f} % of the pixels are darker than {NEAR_WHITE} of 255 in any "
            "channel, and the mask, if there is one, is label 0; --keep-blank keeps such tiles.",
        )
    if result.blank_images:
        print_line(console, f"All tiles are blank in {_first(result.blank_images)}")
    if result.left_out:
        print_line(console, f"{counted(result.left_out, 'excluded sample')} of the audit left out.")
    for path, reason in result.unreadable[:_SHOWN]:
        print_line(console, f"warning: no tiles of {path}: {reason}")
    if len(result.unreadable) > _SHOWN:
        more = len(result.unreadable) - _SHOWN
        print_line(console, f"warning: no tiles of {counted(more, 'more image')} that cannot be decoded")


def _first(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    rest = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def to_document(result: TileResult) -> dict[str, Any]:
    """The result for `--json`."""
    return {
        "folder": result.folder.as_posix(),
        "size": result.size,
        "stride": result.stride,
        "edge": result.edge,
        "pad_label": result.pad_label,
        "pairs": result.pairs._asdict(),
        "unconditional": result.unconditional._asdict(),
        "written": result.written,
        "present": result.present,
        "padded": result.padded,
        "coverage": result.coverage,
        "small": list(result.small),
        "blank_images": list(result.blank_images),
        "unreadable": [{"image": path, "reason": reason} for path, reason in result.unreadable],
        "off_palette": result.off_palette,
        "groups": result.groups,
        "left_out": result.left_out,
        "label_maps": list(result.label_maps),
        "audit": result.audit,
    }
