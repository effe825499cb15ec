"""How results are shown to people: each function prints one verb's result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from histods.checks import CHECKS
from histods.console import print_line, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from histods.demo import DemoResult
    from histods.records import Finding
    from histods.steps.remap import RemapResult
    from histods.storage.audit_file import AuditResult

_MOST_LABELS = 60


def show_audit(console: Console, result: AuditResult) -> None:
    """Print what an audit found: counts, findings with examples, labels, and what to do next."""
    counts = result.counts
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
            *([["groups", result.groups]] if result.groups else []),
        ],
        numbers=[1],
    )
    _show_labels(console, result)
    _show_findings(console, result)
    if result.other_files:
        listed = ", ".join(f"{number:,} {name}" for name, number in sorted(result.other_files.items()))
        print_line(console, f"Neither images nor masks: {listed}")
    if result.suggestion is not None:
        hint = result.suggestion
        print_line(
            console,
            f"{hint.pairs:,} of {hint.of:,} would pair with "
            f"--image-pattern '{hint.image_pattern}' --mask-pattern '{hint.mask_pattern}'",
        )
    reused = f", {result.files_reused:,} unchanged and not read again" if result.files_reused else ""
    print_line(console, f"{result.files_read:,} files read{reused}, in {result.seconds:,.1f} s.")
    print_line(console, f"Written: {result.workspace}/manifest.parquet, findings.parquet, audit.json")


def show_remap(console: Console, result: RemapResult) -> None:
    """Print the classes of a class system and what the map changed."""
    rows = [
        [row.index, row.name, row.pixels, f"{row.percent:.2f}", "-" if row.images is None else row.images]
        for row in result.classes
    ]
    print_table(
        console,
        f"Classes of {result.name}",
        ["class", "name", "pixels", "%", "images"],
        rows,
        numbers=[0, 2, 3, 4],
        shortened=[1],
    )
    if result.manifest_digest is not None:
        print_line(console, f"{result.conditional:,} samples conditional, {result.unconditional:,} unconditional.")
    if result.became_unconditional:
        print_line(
            console,
            f"{result.became_unconditional:,} of these became unconditional: all their labels are class 0.",
        )
    if result.excluded:
        print_line(console, f"{result.excluded:,} excluded samples are left out.")
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
    print_line(console, f"{result.pixels:,} pixels, as many as before.")


def show_demo(console: Console, result: DemoResult) -> None:
    """Print the demo's audit, compare it with what was planted, and say where to look."""
    show_audit(console, result.audit)
    print_line(console, "")
    for remapped in result.remaps:
        show_remap(console, remapped)
        print_line(console, "")
    verdict = "exactly what was planted" if not (result.missed or result.invented) else "NOT what was planted"
    print_line(console, f"{len(result.planted):,} findings planted, found: {verdict}.")
    for title, findings in (("missed", result.missed), ("invented", result.invented)):
        for code, path in sorted(findings):
            print_line(console, f"{title}: {code} {path}", indent=2)
    print_table(
        console,
        "Where to look",
        ["", ""],
        [
            ["the dataset", f"{result.folder}/dataset"],
            ["what was planted in it", f"{result.folder}/planted.csv"],
            ["what the audit found", f"{result.workspace}/findings.parquet, audit.json"],
            ["one row a sample", f"{result.workspace}/manifest.parquet"],
            ["classes", f"{result.workspace}/remap/"],
            ["charts", f"{result.plot.files[0].parent}/"],
        ],
    )


def demo_document(result: DemoResult) -> dict[str, Any]:
    """The demo's outcome for `--json`."""
    return {
        "folder": result.folder.as_posix(),
        "workspace": result.workspace.as_posix(),
        "planted": len(result.planted),
        "missed": sorted(map(list, result.missed)),
        "invented": sorted(map(list, result.invented)),
        "charts": len(result.plot.files),
    }


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
    if not shown:
        return
    print_table(
        console,
        "Labels (all readable masks)",
        ["label", "name", "pixels", "%", "masks"],
        [[str(row.label), row.name, row.pixels, f"{row.percent:.4f}", row.images] for row in shown],
        numbers=[0, 2, 3, 4],
        shortened=[1],
    )
    if len(result.labels) > len(shown):
        print_line(console, f"and {len(result.labels) - len(shown)} more labels, in audit.json")


def _show_findings(console: Console, result: AuditResult) -> None:
    if not result.findings:
        empty = result.counts.images == result.counts.masks == 0
        print_line(console, "No images and no masks found." if empty else "Nothing found that is wrong.")
        return
    order = {check.code: (place, check.severity) for place, check in enumerate(CHECKS)}
    rows = sorted(result.findings.items(), key=lambda item: order[item[0]])
    print_table(
        console,
        "Findings",
        ["severity", "code", "count"],
        [[order[code][1], code, n] for code, n in rows],
        numbers=[2],
    )
    examples: dict[str, Finding] = {}
    for finding in result.iter_findings():
        examples.setdefault(finding.code, finding)
    for code, number in rows:
        if order[code][1] != "info":
            print_line(console, f"{code} ({number:,}), for example {examples[code].path}:")
            print_line(console, examples[code].message, indent=4)
    print_line(console, "")
