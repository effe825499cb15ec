"""histods audit: its options, and what people see of its result."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histods.commands.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    EngineName,
    JsonOption,
    QuietOption,
    WorkersOption,
    WorkspaceOption,
)
from histods.console import make_console, print_command, print_json, print_line, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from histods.storage.audit_file import AuditResult

_MOST_LABELS = 60
_MOST_COLOURS = 12


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


EXAMPLE = "histods audit /data/patches --labels drsk_labels.yml --group-regex '^([^_]+)_'"


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
        str | None,
        typer.Option(
            help="pattern: paths of images, such as 'Tissue_Images/{key}.tif'; * stands for any text within a "
            "name, | separates alternatives."
        ),
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
    allow_unpaired: Annotated[
        bool, typer.Option("--allow-unpaired", help="Images without a mask have none by design.")
    ] = False,
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
    write_labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draft a --labels file from the colours of the masks.")
    ] = None,
    fail_on: Annotated[FailOn, typer.Option(help="Mildest finding for exit status 1.")] = FailOn.error,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Read every image and mask once, say what is wrong with each, and write the manifest."""
    from histods.console import Watch
    from histods.steps.audit import audit as run
    from histods.storage.workspace import Workspace, read_json

    console = make_console(quiet=quiet)
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
            allow_unpaired=allow_unpaired,
            labels=labels,
            nearest_colour=nearest_colour,
            group_regex=group_regex,
            verify=verify.value,
            hash=hash_images,
            workers=workers,
            engine=engine.value,
            fresh=fresh,
            write_labels=write_labels,
            progress=watch,
        )
    show_audit(console, result)
    if write_labels is not None:
        print_line(console, f"Written: {write_labels}; correct it, then audit again with --labels {write_labels}")
    if json_output:
        print_json(read_json(Workspace(workspace).audit))
    reason = _why_failed(result, fail_on)
    if reason is not None:
        print_line(make_console(quiet=False), reason)  # --quiet, too: a status other than 0 has a reason
        raise typer.Exit(1)


def _why_failed(result: AuditResult, fail_on: FailOn) -> str | None:
    """Why the exit status is 1, and what can be used all the same; None where it is 0."""
    counts, errors = result.counts, result.severities.get("error", 0)
    warnings = result.severities.get("warning", 0) if fail_on == FailOn.warning else 0
    if fail_on == FailOn.never or not (errors or warnings):
        return None
    usable = counts.conditional + counts.unconditional
    found = _count(errors, "error") if errors else _count(warnings, "warning")
    rest = f"the other {_count(usable, 'sample')} can be used" if usable else "no sample can be used"
    if counts.pairs == 0 and counts.unconditional == 0:
        how = (
            "Choose one of the patterns above"
            if result.suggestions
            else "Say how they pair with --mask-suffix, --image-pattern and --mask-pattern, or --pairs"
        )
        return f"Exit status 1: no image has a mask. {how}."
    return f"Exit status 1: {found}, {_count(counts.excluded, 'sample')} excluded; {rest}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def show_audit(console: Console, result: AuditResult) -> None:
    """Print what an audit found: counts, findings with examples, labels, and what to do next."""
    counts = result.counts
    neither = sum(result.findings.get(code, 0) for code in ("looks_like_mask", "outside_layout"))
    print_line(console, f"{result.root} (layout: {_layout(result)})")
    print_line(console, "")
    print_table(
        console,
        "Samples",
        ["", "count"],
        [
            ["images", counts.images],
            ["masks", counts.masks],
            ["pairs", counts.pairs],
            ["  with a non-zero mask", counts.meaningful_masks],
            ["  with a zero mask", counts.zero_masks],
            ["masks without an image", counts.orphan_masks],
            ["images without a mask", counts.images_without_mask],
            ["conditional", counts.conditional],
            ["unconditional", counts.unconditional],
            ["excluded", counts.excluded],
            *([["  neither image nor mask", neither]] if neither else []),
            *([["groups", result.groups]] if result.groups else []),
        ],
        numbers=[1],
    )
    _show_labels(console, result)
    _show_colours(console, result)
    _show_findings(console, result)
    if result.other_files:
        listed = ", ".join(f"{number:,} {name}" for name, number in sorted(result.other_files.items()))
        print_line(console, f"Files that are no pictures: {listed}")
    if result.hidden:
        print_line(console, f"{result.hidden:,} hidden files or folders (a leading dot) were passed over.")
    if len(result.suggestions) > 1:
        print_line(console, "Several patterns would pair; choose one:")
    for hint in result.suggestions:
        print_line(console, f"{hint.pairs:,} of {hint.of:,} would pair with {hint.options}")
    reused = f", {result.files_reused:,} unchanged and not read again" if result.files_reused else ""
    print_line(console, f"{result.files_read:,} files read{reused}, in {result.seconds:,.1f} s.")
    print_line(console, f"Written: {result.workspace}/manifest.parquet, findings.parquet, audit.json")


def _layout(result: AuditResult) -> str:
    layout = result.layout
    match layout.kind:
        case "suffix":
            return f"suffix, masks end in {layout.mask_suffix}"
        case "folders":
            return f"folders, {layout.images_dir}/ and {layout.masks_dir}/"
        case "pattern":
            return f"pattern, --image-pattern '{layout.image_pattern}' --mask-pattern '{layout.mask_pattern}'"
    return "csv"


def _show_labels(console: Console, result: AuditResult) -> None:
    shown = result.labels[:_MOST_LABELS]
    if shown:
        print_table(
            console,
            f"Labels in the {result.masks_in_use:,} masks in use",
            ["label", "name", "pixels", "%", "masks"],
            [[str(row.label), row.name, row.pixels, f"{row.percent:.4f}", row.images] for row in shown],
            numbers=[0, 2, 3, 4],
            shortened=[1],
        )
    if len(result.labels) > len(shown):
        print_line(console, f"and {len(result.labels) - len(shown)} more labels, in audit.json")
    excluded = result.excluded_labels
    if excluded.masks:
        print_line(
            console,
            f"Not counted here: {excluded.pixels:,} pixels in {_count(excluded.masks, 'mask')} of excluded "
            "samples; audit.json lists their labels.",
        )
        print_line(console, "")


def _show_colours(console: Console, result: AuditResult) -> None:
    shown = result.palette[:_MOST_COLOURS]
    if not shown:
        return
    print_table(
        console,
        "Colours (colour and palette masks)",
        ["colour", "label", "pixels", "%", "masks"],
        [
            [row.colour, "" if row.label is None else str(row.label), row.pixels, f"{row.percent:.4f}", row.masks]
            for row in shown
        ],
        numbers=[1, 2, 3, 4],
    )
    if len(result.palette) > len(shown):
        print_line(console, f"and {len(result.palette) - len(shown)} more colours, in audit.json")
    if {"not_an_index_mask", "off_palette", "palettes_differ", "inverted_mask"} & set(result.findings):
        print_line(console, "To draft a labels file from them:")
        space = shlex.quote(str(result.workspace))
        print_command(console, f"{result.command} -w {space} --write-labels labels.yml")
        print_line(console, "")


def _show_findings(console: Console, result: AuditResult) -> None:
    if not result.findings:
        empty = result.counts.images == result.counts.masks == 0
        print_line(console, "No images and no masks found." if empty else "Nothing found that is wrong.")
        return
    from histods.checks import CHECKS

    order = {check.code: (place, check.severity) for place, check in enumerate(CHECKS)}
    rows = sorted(result.findings.items(), key=lambda item: order[item[0]])
    print_table(
        console,
        "Findings",
        ["severity", "code", "count"],
        [[order[code][1], code, n] for code, n in rows],
        numbers=[2],
    )
    examples = result.first_findings()
    for code, number in rows:
        if order[code][1] != "info":
            print_line(console, f"{code} ({number:,}), for example {examples[code].path}:")
            print_line(console, examples[code].message, indent=4)
    print_line(console, "")
