"""What an audit prints: details first, and last a summary that fits a screen."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from histods.cli.console import print_command, print_grid, print_line, print_table
from histods.cli.group_table import show_groups
from histods.cli.next_step import drafts_labels, in_workspace, offer_groups
from histods.printing import counted

if TYPE_CHECKING:
    from rich.console import Console

    from histods.measurement.audit_result import AuditResult

LABELS_SHOWN = 20
"""Labels that are printed by default: more would fill the screen."""
_MAX_COLOURS = 12
_MAX_ROWS = 10
"""Findings with a line each; of more, several stand on one line."""


def why_failed(result: AuditResult, fail_on: str) -> str | None:
    """Why the exit status is 1, what can be used all the same, and how to continue; None where the status is 0.

    Args:
        result: what the audit found.
        fail_on: the mildest severity that counts: `error`, `warning` or `never`.
    """
    counts, errors = result.counts, result.severities.get("error", 0)
    warnings = result.severities.get("warning", 0) if fail_on == "warning" else 0
    usable = counts.conditional + counts.unconditional
    if fail_on == "never" or not (errors or warnings or not usable):
        return None
    if counts.pairs == 0 and counts.unconditional == 0:
        how = (
            "Choose one of the patterns above"
            if result.suggestions
            else "Say how they pair with --mask-suffix, --image-pattern and --mask-pattern, or --pairs"
        )
        return f"Exit status 1: no image has a mask. {how}."
    if not usable:
        return f"Exit status 1: {counted(errors, 'error')}, and no sample can be used."
    scripts = "--fail-on never makes the status 0 in scripts"
    if not errors:
        return f"Exit status 1: {counted(warnings, 'warning')}; all {usable:,} samples can be used ({scripts})."
    aside = counted(counts.excluded, "sample") + (" is" if counts.excluded == 1 else " are")
    return (
        f"Exit status 1: {counted(errors, 'error')}. {aside} set aside; the other {usable:,} can be used, so that "
        f"you can continue ({scripts})."
    )


def show_audit(
    console: Console, result: AuditResult, *, labels_shown: int = LABELS_SHOWN, group_regex: str | None = None
) -> None:
    """Print what an audit found: labels and findings with examples, then the counts, and last what comes next."""
    print_line(console, f"{result.root} (layout: {_layout(result)})")
    print_line(console, "")
    _show_labels(console, result, labels_shown)
    _show_colours(console, result)
    _show_examples(console, result)
    _show_groups(console, result, group_regex)
    _show_passed_over(console, result)
    _show_findings(console, result)
    _show_counts(console, result)
    _show_unchecked(console, result)
    if len(result.suggestions) > 1:
        print_line(console, "Several patterns would pair; choose one:")
    for hint in result.suggestions:
        print_line(console, f"{hint.pairs:,} of {hint.of:,} would pair with {hint.options}")


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


def _show_labels(console: Console, result: AuditResult, most: int) -> None:
    """The labels with most pixels, in the order of their numbers."""
    largest = sorted(result.labels, key=lambda row: (-row.pixels, row.label))[:most]
    shown = sorted(largest, key=lambda row: row.label)
    left = len(result.labels) - len(shown)
    if shown:
        of = f", the {len(shown)} largest of {len(result.labels):,}" if left else ""
        print_table(
            console,
            f"Labels in the {counted(result.masks_in_use, 'mask')} in use{of}",
            ["label", "name", "pixels", "%", "masks"],
            [[str(row.label), row.name, row.pixels, f"{row.percent:.4f}", row.images] for row in shown],
            numbers=[0, 2, 3, 4],
            shortened=[1],
        )
    if left:
        print_line(console, f"All labels: {in_workspace('histods show labels', result.workspace)}")
    excluded = result.excluded_labels
    if excluded.masks:
        print_line(
            console,
            f"Not counted here: {excluded.pixels:,} pixels in {counted(excluded.masks, 'mask')} of excluded "
            "samples; audit.json lists their labels.",
        )
        print_line(console, "")


def _show_colours(console: Console, result: AuditResult) -> None:
    shown = result.palette[:_MAX_COLOURS]
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
    if drafts_labels(result):  # the last line says how
        return
    if {"not_an_index_mask", "off_palette", "palettes_differ", "inverted_mask"} & set(result.findings):
        print_line(console, "To draft a labels file from them:")
        space = shlex.quote(str(result.workspace))
        print_command(console, f"{result.command} -w {space} --write-labels labels.yml")
        print_line(console, "")


def _show_groups(console: Console, result: AuditResult, group_regex: str | None) -> None:
    """What --group-regex makes of the keys of the samples in use, or, without groups, which one may make some."""
    from histods.splits.groups import SHOWN, propose_groups

    if group_regex is None and result.groups:
        return
    samples = result.manifest.to_polars()
    samples = samples.filter(samples["role"] != "excluded").select("key", "group")
    if group_regex is not None:
        show_groups(console, samples.head(SHOWN).iter_rows(), samples["group"].null_count(), len(samples))
    elif (proposed := propose_groups(samples["key"])) is not None:
        offer_groups(console, proposed, result.workspace)
        print_line(console, "")


def _ordered(result: AuditResult) -> list[tuple[str, str, int]]:
    """Severity, code and number of the findings, in the order of the checks."""
    from histods.checks import CHECKS

    found = result.findings
    return [(check.severity, check.code, found[check.code]) for check in CHECKS if check.code in found]


def _show_examples(console: Console, result: AuditResult) -> None:
    """The first file of each finding, with what to do."""
    if not result.findings:
        return
    examples = result.first_findings()
    for severity, code, number in _ordered(result):
        if severity != "info":
            print_line(console, f"{code} ({number:,}), for example {examples[code].path}:")
            print_line(console, examples[code].message, indent=4)
    print_line(console, "")


def _show_passed_over(console: Console, result: AuditResult) -> None:
    """What is in the folder and was not read, what was read, and where the tables are."""
    ignored = [f"{number:,} {_files(name, number)}" for name, number in sorted(result.other_files.items())]
    if result.hidden:
        ignored.append(f"{result.hidden:,} hidden")
    if ignored:
        print_line(console, f"Ignored: {', '.join(ignored)}.")
    for note in result.notes:
        print_line(console, note)
    reused = f", {result.files_reused:,} unchanged and not read again" if result.files_reused else ""
    print_line(console, f"{result.files_read:,} files read{reused}, in {result.seconds:,.1f} s.")
    print_line(console, f"Written: {result.workspace}/manifest.parquet, findings.csv, audit.json and others")
    print_line(console, "")


def _files(suffix: str, number: int) -> str:
    """Files of a suffix in words."""
    noun = "file" if number == 1 else "files"
    return f"{suffix} {noun}" if suffix.startswith(".") else f"{noun} without a suffix"


def _show_findings(console: Console, result: AuditResult) -> None:
    """How many files each finding has: a line each, or several on a line where they would fill the screen."""
    if not result.findings:
        empty = result.counts.images == result.counts.masks == 0
        print_line(console, "No images and no masks found." if empty else "No problems found.")
        print_line(console, "")
        return
    rows = _ordered(result)
    title = f"Findings (files and reasons: {in_workspace('histods show CODE', Path(result.workspace))})"
    if len(rows) <= _MAX_ROWS:
        print_table(console, title, ["severity", "code", "count"], rows, numbers=[2])
        return
    console.print(Text(title, style="bold"), soft_wrap=True)
    for severity in ("error", "warning", "info"):
        group = [(code, number) for kind, code, number in rows if kind == severity]
        if group:
            print_grid(console, group, lead=f"{severity:<9}")
    print_line(console, "")


def _show_unchecked(console: Console, result: AuditResult) -> None:
    """What this audit did not look for: an image without a finding may still be blurred."""
    if result.counts.images and not result.options.quality:
        print_line(console, "Not checked: blur, ink, blank tiles, near-duplicates, fit of masks (--quality).")
    else:
        print_line(console, "")


def _show_counts(console: Console, result: AuditResult) -> None:
    """How many images, masks and samples there are, in columns."""
    counts = result.counts
    neither = sum(result.findings.get(code, 0) for code in ("looks_like_mask", "outside_layout"))
    console.print(Text("Samples", style="bold"))
    print_grid(
        console,
        [
            ("images", counts.images),
            ("masks", counts.masks),
            ("pairs", counts.pairs),
            ("  with a non-zero mask", counts.meaningful_masks),
            ("  with a zero mask", counts.zero_masks),
            ("masks without an image", counts.orphan_masks),
            ("images without a mask", counts.images_without_mask),
            ("conditional", counts.conditional),
            ("unconditional", counts.unconditional),
            ("excluded", counts.excluded),
            *([("  neither image nor mask", neither)] if neither else []),
            *([("groups", result.groups)] if result.groups else []),
        ],
    )
