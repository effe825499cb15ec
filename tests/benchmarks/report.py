"""The page of a large dataset: its size, how long writing it takes, and how fast Chromium shows and filters it.

`python -m tests.benchmarks.report` makes a workspace of 250,000 samples with 100,000 findings, whose files are
links to a few real ones, and prints what it measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
from PIL import Image

from histods import remap, split
from histods.checks import CHECKS
from histods.dataset.manifest import SCHEMA, Manifest
from histods.io.atomic import file_digest, write_json
from histods.io.audit_summary import AuditSummary
from histods.io.workspace import Workspace
from histods.measurement.findings_file import write_findings
from histods.records import Counts, LabelCount
from reports.page.write import report

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES, FINDINGS, POOL, SIDE, LABELS = 250_000, 100_000, 64, 512, 55
"""Samples, findings, different pairs of files, pixels of a side, and labels."""
REPEATS = 7
CHANGES = {
    "search": ["finding-search", "input", ["patch_1234", "pixels of it", "slide_0300"]],
    "code": ["finding-code", "change", ["unknown_label", "", "zero_mask"]],
    "severity": ["finding-severity", "change", ["error", "", "warning"]],
    "folder": ["finding-folder", "change", ["3", "", "9"]],
    "sort": ["finding-sort", "change", ["3", "1", "0"]],
}
"""Fields of the page, the event that changes them, and values."""
TIMED = """async ([id, event, values]) => {
    const field = document.getElementById(id);
    const value = values[(window.turn = (window.turn || 0) + 1) % values.length];
    const count = document.getElementById("finding-count");
    const began = performance.now();
    field.value = value;
    const changed = new Promise((done) => new MutationObserver(done).observe(count, {childList: true}));
    field.dispatchEvent(new Event(event, {bubbles: true}));
    if (event === "input") await changed;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - began;
}"""
"""Change a field, and wait until what follows is painted; milliseconds."""


def main() -> None:
    """Make the workspace, write its page, open it, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--findings", type=int, default=FINDINGS)
    parser.add_argument("--keep", type=Path, help="folder for the workspace, which is then kept")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="histods-report-"))
    try:
        space = make_workspace(folder, options.samples, options.findings)
        began = time.perf_counter()
        result = report(space.folder)
        seconds = time.perf_counter() - began
        print(f"{options.samples:,} samples, {options.findings:,} findings, {result.pictures:,} pictures")
        print(f"written in {seconds:.1f} s, {result.bytes / 1e6:.1f} MB")
        for line in look(result.file):
            print(line)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def make_workspace(folder: Path, samples: int, findings: int) -> Workspace:
    """A workspace as an audit, two label maps and a split leave it."""
    root, pool, space = folder / "data", folder / "pool", Workspace(folder / "out")
    histograms = write_pool(pool)
    keys = sorted(f"site_{n % 12:02d}/slide_{n % 612:04d}/patch_{n:06d}" for n in range(samples))
    for parent in {key.rpartition("/")[0] for key in keys}:
        (root / parent).mkdir(parents=True)
    for place, key in enumerate(keys):
        for end, kind in ((".jpg", "jpg"), ("_mask.png", "png")):
            os.link(pool / f"{place % POOL}.{kind}", root / f"{key}{end}")
    write_audit(space, root, keys, histograms, findings)
    for name in ("label_map_10.yml", "label_map_5.yml"):
        remap(workspace=space.folder, map=name)
    split(workspace=space.folder, test=0.2)
    return space


def write_pool(folder: Path) -> list[tuple[list[int], list[int]]]:
    """Write a few pairs of generated tissue; the labels and pixels of their masks."""
    folder.mkdir(parents=True)
    histograms = []
    for number in range(POOL):
        random = np.random.default_rng(number)
        coarse = random.integers(120, 250, (SIDE // 4, SIDE // 4, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        smooth.save(folder / f"{number}.jpg", quality=90)
        mask = np.full((SIDE, SIDE), number % LABELS, np.uint8)
        for _ in range(12):
            top, left, high, wide = random.integers(0, SIDE, 4)
            mask[top : top + high // 3, left : left + wide // 3] = random.integers(0, LABELS)
        Image.fromarray(mask).save(folder / f"{number}.png")
        labels, pixels = np.unique(mask, return_counts=True)
        histograms.append((labels.tolist(), pixels.tolist()))
    return histograms


def write_audit(
    space: Workspace, root: Path, keys: list[str], histograms: list[tuple[list[int], list[int]]], findings: int
) -> None:
    """Write the manifest, the findings and the summary of an audit that found so many things."""
    held = [histograms[place % POOL] for place in range(len(keys))]
    columns: dict[str, Any] = {name: pa.nulls(len(keys), SCHEMA.field(name).type) for name in SCHEMA.names}
    columns |= {
        "key": keys,
        "image_path": [f"{key}.jpg" for key in keys],
        "mask_path": [f"{key}_mask.png" for key in keys],
        "role": ["conditional"] * len(keys),
        "width": [SIDE] * len(keys),
        "height": [SIDE] * len(keys),
        "labels": [labels for labels, _ in held],
        "pixels": [pixels for _, pixels in held],
        "group": [key.split("/")[1] for key in keys],
    }
    Manifest(pa.table(columns, schema=SCHEMA), {}).write(space.manifest)
    table = make_findings(keys, findings)
    write_findings(table, space)
    sums: dict[int, list[int]] = {}
    for labels, pixels in held:
        for label, count in zip(labels, pixels, strict=True):
            total = sums.setdefault(label, [0, 0])
            total[0], total[1] = total[0] + count, total[1] + 1
    whole = sum(pixels for pixels, _ in sums.values())
    number = len(keys)
    summary = AuditSummary(
        root=root.as_posix(),
        counts=Counts(
            images=number,
            masks=number,
            pairs=number,
            orphan_masks=0,
            images_without_mask=0,
            zero_masks=0,
            meaningful_masks=number,
            conditional=number,
            unconditional=0,
            excluded=0,
        ),
        findings=dict(table.group_by("code").len().iter_rows()),
        severities=dict(table.group_by("severity").len().iter_rows()),
        groups=612,
        labels=tuple(
            LabelCount(
                label=label,
                name=f"Tissue {label}",
                pixels=pixels,
                percent=100 * pixels / whole,
                images=images,
            )
            for label, (pixels, images) in sorted(sums.items())
        ),
        command=f"histods audit {root}",
        manifest_digest=file_digest(space.manifest),
        findings_digest=file_digest(space.findings),
    )
    write_json(space.audit, summary.to_json())


def make_findings(keys: list[str], findings: int) -> pl.DataFrame:
    """Findings of all codes, most of which say something of their own."""
    random = np.random.default_rng(1)
    places = np.sort(random.choice(len(keys), findings, replace=findings > len(keys)))
    codes = random.integers(0, len(CHECKS), findings)
    numbers = random.integers(1, 100_000, findings)
    rows = [
        (
            keys[place],
            f"{keys[place]}_mask.png",
            CHECKS[code].code,
            CHECKS[code].severity,
            f"{CHECKS[code].summary[:-1]}: {number} pixels of it; export the mask again",
        )
        for place, code, number in zip(places.tolist(), codes.tolist(), numbers.tolist(), strict=True)
    ]
    return pl.DataFrame(rows, schema=["key", "path", "code", "severity", "message"], orient="row")


def look(file: Path) -> Iterator[str]:
    """Open the page in Chromium: when it first paints, when findings can be used, how long filters take."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        yield "no Chromium is installed: apt-get install chromium"
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        began = time.perf_counter()
        tab.goto(file.as_uri(), wait_until="commit")
        tab.wait_for_selector("#finding-grid [data-place]", timeout=60_000)
        yield f"findings can be used after {time.perf_counter() - began:.2f} s"
        paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        yield f"first paint after {paint / 1000:.2f} s"
        for name, change in CHANGES.items():
            times = sorted(tab.evaluate(TIMED, change) for _ in range(REPEATS))
            yield f"{name}: {times[REPEATS // 2]:.0f} ms (median of {REPEATS}, at most {times[-1]:.0f})"
        browser.close()


if __name__ == "__main__":
    main()
