"""Charts of the whole dataset: findings, image sizes and groups, each with its numbers as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from histods.checks import CHECKS
from histods.measurement.findings_file import to_csv
from histods.palette import SEVERITIES, class_fill
from histods.printing import counted
from reports.bars import Bar, Scale, draw_bars
from reports.class_table import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

    from reports.style import Size

MAX_SIZES = 20
MAX_GROUPS = 40
"""With more rows, bars count rows of similar size."""
_BINS = 12
_PLAIN = class_fill(5)


class Overview(NamedTuple):
    """One chart of the dataset: its file name, its bars, its texts and its table."""

    name: str
    title: str
    note: str
    axis: str
    bars: list[Bar]
    table: pl.DataFrame

    def draw(self, size: Size) -> Figure:
        """Draw it."""
        scale = Scale.linear(max(bar.value for bar in self.bars), size, whole=True)
        return draw_bars(self.title, "", self.note, self.axis, scale, self.bars, size)

    def to_csv(self) -> str:
        """Its numbers as CSV; a name that begins like a formula is shown as text by spreadsheets."""
        return to_csv(self.table)


def overviews(findings: Mapping[str, int], manifest: pl.DataFrame) -> Iterator[Overview]:
    """The charts that apply to this dataset; without findings, for example, there is no chart of findings.

    Args:
        findings: number of findings of each code that occurs.
        manifest: all samples.
    """
    used = manifest.filter(pl.col("role") != "excluded")
    if findings:
        yield _findings(findings)
    sizes = used.drop_nulls(["width", "height"]).group_by("width", "height").agg(images=pl.len())
    if len(sizes):
        yield _sizes(sizes.sort("images", "width", "height", descending=[True, False, False]))
    groups = (
        used.drop_nulls("group")
        .group_by("group")
        .agg(
            samples=pl.len(),
            conditional=(pl.col("role") == "conditional").sum(),
            unconditional=(pl.col("role") == "unconditional").sum(),
        )
    )
    if len(groups):
        yield _groups(groups.sort("samples", "group", descending=[True, False]), used["group"].null_count())


def _findings(counts: Mapping[str, int]) -> Overview:
    """Number of findings per code, errors first."""
    rows = [(check.severity, check.code, counts[check.code]) for check in CHECKS if counts.get(check.code)]
    rows.sort(key=lambda row: (list(SEVERITIES).index(row[0]), -row[2], row[1]))
    table = pl.DataFrame(rows, schema=["severity", "code", "findings"], orient="row")
    bars = [
        Bar(code, "", count, f"{count:,} ({severity})", SEVERITIES[severity]) for severity, code, count in rows
    ]
    return Overview("findings", "Findings of the audit", "", "Findings", bars, table)


def _sizes(sizes: pl.DataFrame) -> Overview:
    """Number of images per size in pixels; with many sizes, a histogram of the longer side."""
    number = len(sizes)
    if number <= MAX_SIZES:
        rows = [(f"{width} x {height}", images) for width, height, images in sizes.iter_rows()]
        axis = "Images in use of this width and height in pixels"
        return Overview("sizes", "Images of each size", "", axis, _ranked(rows), sizes)
    sides = sizes.select(side=pl.max_horizontal("width", "height"), images="images")
    title, note = "Images by their longer side", f"{number:,} different sizes"
    return Overview("sizes", title, note, "Images in use", list(_binned(sides, "pixel")), sizes)


def _groups(groups: pl.DataFrame, ungrouped: int) -> Overview:
    """Number of samples per group; with many groups, a histogram of the group sizes."""
    number = len(groups)
    without = f"; {counted(ungrouped, 'sample')} without a group" if ungrouped else ""
    note = f"{counted(number, 'group')}{without}"
    if number <= MAX_GROUPS:
        rows = [(printable(group), samples) for group, samples in groups.select("group", "samples").iter_rows()]
        return Overview("groups", "Samples of each group", note, "Samples in use", _ranked(rows), groups)
    bars = list(_binned(groups.select("samples", groups=1), "sample"))
    return Overview("groups", "Groups by their number of samples", note, "Groups", bars, groups)


def _ranked(rows: Sequence[tuple[str, int]]) -> list[Bar]:
    """One bar per row."""
    return [Bar(name, "", count, f"{count:,}", _PLAIN) for name, count in rows]


def _binned(rows: pl.DataFrame, noun: str) -> Iterator[Bar]:
    """A histogram with bins of one round width, from rows of a value and its frequency."""
    values, numbers = rows.to_series(0), rows.to_series(1)
    least, most = int(values.min()), int(values.max())  # type: ignore[arg-type]
    powers = (10**power for power in range(20))
    width = next(step * power for power in powers for step in (1, 2, 5) if _BINS * step * power > most - least)
    for first in range((least - 1) // width * width + 1, most + 1, width):
        count = int(numbers.filter(values.is_between(first, first + width - 1)).sum())
        name = counted(first, noun) if width == 1 else f"{first:,} to {first + width - 1:,} {noun}s"
        yield Bar(name, "", count, f"{count:,}", _PLAIN)
