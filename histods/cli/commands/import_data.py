"""histods import-data: its options, and how its result is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import print_line, print_table, run_command
from histods.cli.next_step import print_next
from histods.cli.options import DebugOption, JsonOption, QuietOption, WorkersOption
from histods.printing import counted

if TYPE_CHECKING:
    from rich.console import Console

    from histods.steps.import_data import ImportDataResult, LeftOutCount

EXAMPLE = "histods import-data /data/images --annotations instances.json --to /data/patches"
_SHOWN = 20


def import_data(
    root: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of the images; it is never written to.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="New folder for copies of the images and their masks.")],
    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A COCO or GeoJSON file, or a folder of files named like the images; IMAGES by default.",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels file with the number of each class, as for audit.")
    ] = None,
    unclassified: Annotated[
        str | None, typer.Option(metavar="NAME", help="Class of annotations without one, which else are left out.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Make masks of this size of GeoJSON files without an image.")
    ] = None,
    workers: WorkersOption = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Make masks from polygons and run lengths (COCO, GeoJSON of QuPath), beside copies of their images."""
    from histods.steps.import_data import import_data as run

    def show(results: Console, result: ImportDataResult) -> None:
        show_import_data(results, result)
        if result.audit is not None:
            print_next(results, result.audit)

    run_command(
        lambda watch: run(
            root,
            to=to,
            annotations=annotations,
            labels=labels,
            unclassified=unclassified,
            size=size,
            workers=workers,
            progress=watch,
        ),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_import_data(console: Console, result: ImportDataResult) -> None:
    """Print the labels of the masks, and what is not in them."""
    from histods.annotations.formats import FORMATS
    from histods.annotations.mark import LEFT_OUT, TABLE
    from histods.annotations.shapes import NO_CLASS

    shown = sorted(sorted(result.classes, key=lambda row: -row.pixels)[:_SHOWN])
    of = f", the {_SHOWN} largest of {len(result.classes):,}" if len(result.classes) > _SHOWN else ""
    print_table(
        console,
        f"Labels of {counted(result.masks, 'mask')}{of}",
        ["label", "name", "annotations read", "pixels", "masks"],
        [[str(row.label), row.name, row.annotations, row.pixels, row.masks] for row in shown],
        numbers=[0, 2, 3, 4],
        shortened=[1],
    )
    if result.overlapped:
        used = [one for one in FORMATS if one.NAME in result.formats]
        order = ", ".join(f"{one.NAME}: {'the smaller' if one.LARGER_FIRST else 'the later'}" for one in used)
        print_line(
            console,
            f"{result.overlapped:,} pixels have annotations of several classes and the label of the one that was "
            f"drawn last ({order}).",
        )
    if result.cut:
        verb = "reaches" if result.cut == 1 else "reach"
        print_line(console, f"{counted(result.cut, 'annotation')} {verb} out of the image, cut at its edge.")
    if result.crowds:
        print_line(console, f"{counted(result.crowds, 'annotation')} drawn as a group of objects (iscrowd).")
    _show_counts(console, "Annotations that are in no mask", result.left_out)
    if any(row.reason == NO_CLASS for row in result.left_out):
        print_line(console, "--unclassified NAME draws annotations without a class as one of NAME.")
    _show_counts(console, "Images and files that are left out", result.skipped)
    if result.left_out or result.skipped:
        tables = [name for name, rows in ((LEFT_OUT, result.left_out), (TABLE, result.skipped)) if rows]
        print_line(
            console, f"All of them, with reasons: {' and '.join(str(result.folder / name) for name in tables)}"
        )
    there = f", {result.present:,} were there already" if result.present else ""
    drawn = counted(result.drawn, "annotation")
    print_line(console, f"{counted(result.written, 'mask')} written{there}, with {drawn}: {result.folder}")
    if result.images < result.masks:
        alone = result.masks - result.images
        print_line(console, f"{counted(alone, 'mask')} without an image, for 'histods sample --masks'.")


def _show_counts(console: Console, title: str, rows: tuple[LeftOutCount, ...]) -> None:
    shown = rows[:_SHOWN]
    if not rows:
        return
    print_table(
        console,
        title,
        ["", "why", "for example"],
        [[row.number, row.reason, row.example] for row in shown],
        numbers=[0],
    )
    if len(rows) > _SHOWN:
        rest = sum(row.number for row in rows[_SHOWN:])
        print_line(console, f"{rest:,} more for {len(rows) - _SHOWN:,} other reasons")


def to_document(result: ImportDataResult) -> dict[str, Any]:
    """The result for `--json`."""
    return {
        "folder": result.folder.as_posix(),
        "formats": list(result.formats),
        "classes": [row._asdict() for row in result.classes],
        "masks": result.masks,
        "images": result.images,
        "written": result.written,
        "present": result.present,
        "drawn": result.drawn,
        "crowds": result.crowds,
        "cut": result.cut,
        "overlapped": result.overlapped,
        "unlabelled": result.unlabelled,
        "left_out": [row._asdict() for row in result.left_out],
        "skipped": [row._asdict() for row in result.skipped],
        "audit": result.audit,
    }
