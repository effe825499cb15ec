"""The command line: each command parses, calls the verb of the same name, and prints what it returns."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from histods import __version__
from histods.errors import HistodsError

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="histods",
    help="Audit, remap and prepare histology patch datasets: images with masks, by the hundred thousand.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class LayoutName(StrEnum):
    """How images and masks pair."""

    suffix = "suffix"
    folders = "folders"
    pattern = "pattern"
    csv = "csv"


class Verify(StrEnum):
    """How deeply images are verified."""

    structure = "structure"
    decode = "decode"


class EngineName(StrEnum):
    """Who runs the work."""

    local = "local"
    ray = "ray"


class FailOn(StrEnum):
    """The mildest finding for which the exit status is 1."""

    error = "error"
    warning = "warning"
    never = "never"


WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="HISTODS_WORKSPACE", help="Folder for everything that is written."),
]
WorkersOption = Annotated[int | None, typer.Option(help="Worker processes; all usable cores by default.")]
CountsOption = Annotated[
    Path | None, typer.Option(help="Take this table (Label ID,Class Name,Pixel Count) instead of an audit.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No tables and no progress.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
DEFAULT_WORKSPACE = Path("histods-out")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"histods {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Audit, remap and prepare histology patch datasets: images with masks, by the hundred thousand."""


def main() -> NoReturn:
    """Run a command; the one place where errors become a line and an exit status."""
    debug = "--debug" in sys.argv[1:]
    try:
        status = app(standalone_mode=False)
    except (HistodsError, typer.exceptions.TyperException) as error:
        if debug:
            raise
        text = error.format_message() if isinstance(error, typer.exceptions.TyperException) else str(error)
        sys.exit(_say(text, 2))
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except BrokenPipeError:
        status = 1
    except OSError as error:
        if debug:
            raise
        sys.exit(_say(f"Expected to read and write files, found: {error}; mend that and run again.", 2))
    except Exception as error:
        if debug:
            raise
        kind = type(error).__name__
        sys.exit(_say(f"Expected no such thing, found {kind}: {error}; run again with --debug and report it.", 2))
    if status == 130:
        _say("interrupted; run the same command again to go on", status)
    sys.exit(status)


def _say(text: str, status: int) -> int:
    """Write one line to stderr."""
    print("histods:", " ".join(text.split()), file=sys.stderr)
    return status


def _console(quiet: bool) -> Console:
    from histods.console import make_console

    return make_console(quiet=quiet)


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@app.command(epilog="Example: histods audit /data/patches --labels drsk_labels.yml --group-regex '^([^_]+)_'")
def audit(
    dataset: Annotated[Path, typer.Argument(metavar="ROOT", help="The dataset's folder; it is never written to.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    layout: Annotated[
        LayoutName | None, typer.Option(help="How images and masks pair; found by itself by default.")
    ] = None,
    mask_suffix: Annotated[str, typer.Option(help="suffix: what a mask's name adds to its image's.")] = "_mask",
    images_dir: Annotated[str, typer.Option(help="folders: name of the folders of images.")] = "images",
    masks_dir: Annotated[str, typer.Option(help="folders: name of the folders of masks.")] = "masks",
    image_pattern: Annotated[
        str | None, typer.Option(help="pattern: paths of images, such as 'Tissue_Images/{key}.tif'.")
    ] = None,
    mask_pattern: Annotated[
        str | None, typer.Option(help="pattern: paths of masks, such as 'Binary_masks/{key}.png'.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="csv: file with the columns image, mask, group, split.")
    ] = None,
    unconditional: Annotated[
        list[Path] | None,
        typer.Option(metavar="<path>", help="Folder of images without masks by design; may be repeated."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="File, or bundled name, of source labels: names and perhaps colours.")
    ] = None,
    nearest_colour: Annotated[
        bool, typer.Option("--nearest-colour", help="Give unknown colours the nearest known colour's label.")
    ] = False,
    group_regex: Annotated[
        str | None, typer.Option(help="Takes the group (slide, patient) from the key, such as '^([^_]+)_'.")
    ] = None,
    verify: Annotated[Verify, typer.Option(help="decode: decode every image fully.")] = Verify.structure,
    hash_images: Annotated[bool, typer.Option("--hash", help="Digest every image, to find duplicates.")] = False,
    workers: WorkersOption = None,
    engine: Annotated[
        EngineName, typer.Option(help="local: this machine; ray: a Ray cluster.")
    ] = EngineName.local,
    fresh: Annotated[bool, typer.Option("--fresh", help="Read everything again.")] = False,
    fail_on: Annotated[FailOn, typer.Option(help="Mildest finding for exit status 1.")] = FailOn.error,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Read every image and mask once, say what is wrong with each, and write the manifest."""
    from histods import display
    from histods.console import Watch
    from histods.steps.audit import audit as run
    from histods.storage.workspace import Workspace, read_json

    console = _console(quiet)
    with Watch(console) as watch:
        result = run(
            dataset,
            workspace=workspace,
            layout=layout.value if layout else None,
            mask_suffix=mask_suffix,
            images_dir=images_dir,
            masks_dir=masks_dir,
            image_pattern=image_pattern,
            mask_pattern=mask_pattern,
            pairs=pairs,
            unconditional=unconditional or (),
            labels=labels,
            nearest_colour=nearest_colour,
            group_regex=group_regex,
            verify=verify.value,
            hash=hash_images,
            workers=workers,
            engine=engine.value,
            fresh=fresh,
            progress=watch,
        )
    display.show_audit(console, result)
    if json_output:
        _print_json(read_json(Workspace(workspace).audit))
    found = result.severities
    if fail_on != FailOn.never and (found.get("error") or (fail_on == FailOn.warning and found.get("warning"))):
        raise typer.Exit(1)


@app.command(epilog="Example: histods remap --map label_map_10.yml --write-masks masks10")
def remap(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    label_map: Annotated[
        Path | None,
        typer.Option(
            "--map", help="Label map: a file, or bundled: label_map_5.yml, label_map_10.yml. None: labels stay."
        ),
    ] = None,
    write_masks: Annotated[
        Path | None, typer.Option(help="Also write the remapped masks here, as 8-bit PNG files.")
    ] = None,
    dataset_csv: Annotated[
        Path | None, typer.Option(help="Also write lines of name,'c0 c1 ...' to this file.")
    ] = None,
    counts: CountsOption = None,
    workers: WorkersOption = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Give every label its class, on the numbers of the audit: no pixel is read again."""
    from histods import display
    from histods.console import Watch
    from histods.steps.remap import remap as run
    from histods.steps.remap import to_document

    console = _console(quiet)
    with Watch(console) as watch:
        result = run(
            workspace=workspace,
            map=label_map,
            write_masks=write_masks,
            dataset_csv=dataset_csv,
            counts=counts,
            workers=workers,
            progress=watch,
        )
    display.show_remap(console, result)
    if json_output:
        _print_json(to_document(result))


@app.command(epilog="Example: histods plot -w histods-out")
def plot(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    counts: CountsOption = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Draw charts of the labels and of every class system in the workspace: PNG, SVG and CSV."""
    from histods.console import Watch, print_line
    from reports.charts import plot as run

    console = _console(quiet)
    with Watch(console) as watch:
        result = run(workspace, counts=counts, progress=watch)
    print_line(console, f"{len(result.files)} files in {result.files[0].parent}: {', '.join(result.systems)}")
    if json_output:
        _print_json({"files": [path.as_posix() for path in result.files], "systems": list(result.systems)})


@app.command(epilog="Example: histods demo histods-demo")
def demo(
    folder: Annotated[Path, typer.Argument(help="New folder for the dataset and everything made from it.")] = Path(
        "histods-demo"
    ),
    workers: WorkersOption = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Make a small synthetic dataset with planted defects, and audit, remap and plot it."""
    from histods import display
    from histods.console import Watch
    from histods.demo import demo as run

    console = _console(quiet)
    with Watch(console) as watch:
        result = run(folder, workers=workers, progress=watch)
    display.show_demo(console, result)
    if json_output:
        _print_json(display.demo_document(result))
    if result.missed or result.invented:
        raise typer.Exit(1)
