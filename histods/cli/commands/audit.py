"""histods audit: its options, and how its result is shown."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.audit_config import read_audit_config
from histods.cli.audit_report import LABELS_SHOWN, show_audit, why_failed
from histods.cli.commands.report import show_report
from histods.cli.console import make_console, make_results, print_json, print_line
from histods.cli.next_step import print_next_after_audit
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    GENERAL,
    LABELS,
    LAYOUT,
    READING,
    DebugOption,
    EngineName,
    JsonOption,
    QuietOption,
    WorkersOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from histods.cli.progress import Watch
    from reports.page.write import ReportResult


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


class FailOn(StrEnum):
    """The mildest finding for which the exit status is 1."""

    error = "error"
    warning = "warning"
    never = "never"


_PARAMETERS = {"hash": "hash_images", "set": "settings"}
"""Options whose name is a function of Python, and the parameters that they are."""

EXAMPLE = "histods audit /data/patches --labels drsk_labels.yml --group-regex '^([^_]+)_'"


def audit(
    context: typer.Context,
    dataset: Annotated[Path, typer.Argument(metavar="ROOT", help="The dataset's folder; it is never written to.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    layout: Annotated[
        LayoutName | None,
        typer.Option(rich_help_panel=LAYOUT, help="How images and masks pair; found by itself by default."),
    ] = None,
    mask_suffix: Annotated[
        str, typer.Option(rich_help_panel=LAYOUT, help="suffix: what a mask's name adds to its image's.")
    ] = "_mask",
    images_dir: Annotated[
        str, typer.Option(rich_help_panel=LAYOUT, help="folders: name of the folders of images.")
    ] = "images",
    masks_dir: Annotated[
        str, typer.Option(rich_help_panel=LAYOUT, help="folders: name of the folders of masks.")
    ] = "masks",
    image_pattern: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=LAYOUT,
            help="pattern: paths of images, such as 'Tissue_Images/{key}.tif'; * stands for any text within a "
            "name, | separates alternatives.",
        ),
    ] = None,
    mask_pattern: Annotated[
        str | None,
        typer.Option(rich_help_panel=LAYOUT, help="pattern: paths of masks, such as 'Binary_masks/{key}.png'."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(rich_help_panel=LAYOUT, help="csv: file with the columns image, mask, group, split."),
    ] = None,
    unconditional: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel=LAYOUT,
            help="Folder of images without masks by design; may be repeated.",
        ),
    ] = None,
    allow_unpaired: Annotated[
        bool,
        typer.Option(
            "--allow-unpaired", rich_help_panel=LAYOUT, help="Images without a mask have none by design."
        ),
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=LABELS, help="File, or bundled name, of source labels: names and perhaps colours."
        ),
    ] = None,
    nearest_colour: Annotated[
        bool,
        typer.Option(
            "--nearest-colour",
            rich_help_panel=LABELS,
            help="Give unknown colours the nearest known colour's label.",
        ),
    ] = False,
    group_regex: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=LABELS, help="Takes the group (slide, patient) from the key, such as '^([^_]+)_'."
        ),
    ] = None,
    verify: Annotated[
        Verify, typer.Option(rich_help_panel=READING, help="decode: decode every image fully.")
    ] = Verify.structure,
    hash_images: Annotated[
        bool, typer.Option("--hash", rich_help_panel=READING, help="Digest every image, to find duplicates.")
    ] = False,
    quality: Annotated[
        bool,
        typer.Option(
            "--quality",
            rich_help_panel=READING,
            help="Decode every image, to find blur, blank tiles, pen marks, near-duplicates, masks that do not "
            "fit, and others.",
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="checks.CODE.NAME=VALUE",
            rich_help_panel=READING,
            help="A threshold of a check; may be repeated. No file is read again.",
        ),
    ] = None,
    workers: WorkersOption = None,
    engine: Annotated[
        EngineName, typer.Option(rich_help_panel=READING, help="local: this machine; ray: a Ray cluster.")
    ] = EngineName.local,
    fresh: Annotated[
        bool, typer.Option("--fresh", rich_help_panel=READING, help="Read everything again.")
    ] = False,
    write_labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=LABELS, help="Draft a --labels file from the colours of the masks."
        ),
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report", rich_help_panel=GENERAL, help="Also write report.html, as histods report does."),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=GENERAL,
            help="TOML file of these options, below [audit]; histods.toml of the workspace by default.",
        ),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option(rich_help_panel=GENERAL, help="Mildest finding for exit status 1.")
    ] = FailOn.error,
    labels_shown: Annotated[
        int, typer.Option(min=0, rich_help_panel=GENERAL, help="Labels that are printed; the largest.")
    ] = LABELS_SHOWN,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Read every image and mask once, say what is wrong with each, and write the manifest."""
    from histods.cli.progress import Watch
    from histods.io.workspace import Workspace, read_json
    from histods.steps.audit import audit as run

    options: dict[str, Any] = {
        "layout": layout.value if layout else None,
        "mask_suffix": mask_suffix,
        "images_dir": images_dir,
        "masks_dir": masks_dir,
        "image_pattern": image_pattern,
        "mask_pattern": mask_pattern,
        "pairs": pairs,
        "unconditional": unconditional or (),
        "allow_unpaired": allow_unpaired,
        "labels": labels,
        "nearest_colour": nearest_colour,
        "group_regex": group_regex,
        "verify": verify.value,
        "hash": hash_images,
        "quality": quality,
        "set": settings or (),
        "workers": workers,
        "engine": engine.value,
        "fresh": fresh,
        "write_labels": write_labels,
    }
    shown: dict[str, Any] = {"fail_on": fail_on.value, "labels_shown": labels_shown}
    for name, value in read_audit_config(config, workspace).items():
        source = context.get_parameter_source(_PARAMETERS.get(name, name))
        if source is None or source.name != "COMMANDLINE":
            (shown if name in shown else options)[name] = value
    console = make_console(quiet=quiet)
    with Watch(console) as watch:
        result = run(dataset, workspace=workspace, **options, progress=watch)
        page = _write_page(result.workspace, watch) if report else None
    results = make_results(quiet=quiet, json_output=json_output)
    show_audit(results, result, labels_shown=shown["labels_shown"], group_regex=options["group_regex"])
    if page is not None:
        show_report(results, page)
    if write_labels is None:
        print_next_after_audit(results, result)
    else:
        print_line(results, f"Written: {write_labels}; correct it, then audit again with --labels {write_labels}")
    if json_output:
        print_json(read_json(Workspace(workspace).audit))
    reason = why_failed(result, shown["fail_on"])
    if reason is not None:
        print_line(make_console(quiet=False), reason)  # --quiet, too: a status other than 0 has a reason
        raise typer.Exit(1)


def _write_page(workspace: Path, watch: Watch) -> ReportResult:
    """Write the page of the workspace, as `histods report` does."""
    from reports.page.write import report as run

    return run(workspace, progress=watch)
