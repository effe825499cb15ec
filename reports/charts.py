"""`plot`: charts of the source labels, of every class system, and of the dataset, as PNG, SVG and CSV."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from histods.dataset.manifest import Manifest
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import replacing, write_text
from histods.io.workspace import Workspace
from histods.printing import printed
from reports.balance_table import balance_csv, count_balance, read_split_names
from reports.bars import images_figure, percent_figure
from reports.class_table import (
    ClassSystem,
    images_csv,
    percent_csv,
    read_counts_system,
    read_systems,
    together_csv,
)
from reports.cooccurrence import cooccurrence_figure
from reports.overview import overviews
from reports.split_balance import balance_figure
from reports.style import COLUMN, PAGE, chart_style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.figure import Figure

    from reports.style import Size

SIZES = {"page": PAGE, "column": COLUMN}
SUFFIXES = ("png", "svg", "pdf", "csv")
KINDS = ("percent", "percent-log", "images", "cooccurrence", "split")
OVERVIEWS = ("findings", "sizes", "groups")
LOG_BELOW = 1.0
"""Percent: with a class smaller than this, most bars of a linear chart are too short to compare."""


@printed()
@dataclass(frozen=True, kw_only=True, slots=True)
class PlotResult:
    """The files that `plot` wrote, in the order written.

    Attributes:
        files: their paths.
        systems: the class systems that they show; `labels` are the source labels.
        skipped: what was not drawn, and the command that helps, one line each.
    """

    files: tuple[Path, ...]
    systems: tuple[str, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Chart:
    """One chart still to be drawn: its file name without suffix, its figure, and its numbers if kept apart."""

    name: str
    source: str
    draw: Callable[[], Figure]
    table: str | None


def plot(
    workspace: str | Path | None = None,
    *,
    counts: str | Path | None = None,
    width: Literal["page", "column"] = "page",
    pdf: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> PlotResult:
    """Draw charts of an audit, its label maps and its split into `charts/` of the workspace.

    Args:
        workspace: folder of an audit and of the class systems remapped from it.
        counts: a CSV table of `Label ID,Class Name,Pixel Count` to draw instead; only percentages, since it has no
            numbers of images.
        pdf: also write each chart as PDF, with fonts embedded as TrueType, as journals require.
        width: `page` for the width of a page (183 mm), `column` for a journal column (85 mm).
        progress: called with a stage, the number of charts done, and the total.

    Returns:
        The files written: `NAME-percent`, `NAME-percent-log` (if a class has under 1 % of the pixels),
        `NAME-images`, `NAME-cooccurrence` and `NAME-split` for `labels` and every class system; `findings`,
        `sizes` and `groups` of the dataset; as `.png`, `.svg` and `.csv`, and `.pdf` if requested.

    Raises:
        HistodsError: there is no audit, no mask in use, or the table of counts is invalid.
        StaleFileError: the manifest or a class system belongs to another audit.
    """
    place = Workspace.find(workspace)
    systems = read_systems(place) if counts is None else [read_counts_system(Path(counts))]
    if width not in SIZES:
        raise HistodsError(f"--width is {width!r}; choose page or column.")
    size = SIZES[width]
    charts = [chart for system in systems for chart in _charts(system, size)]
    skipped: list[str] = []
    if counts is None:
        charts += _dataset_charts(place, size)
        try:
            charts += _split_charts(systems, place, size)
        except StaleFileError as error:
            skipped.append(f"No charts of the split: {error}")
    files: list[Path] = []
    with chart_style():
        for done, chart in enumerate(charts):
            if progress is not None:
                progress("drawing charts", done, len(charts))
            files += _write(chart, place.charts, pdf=pdf)
    _remove_others(systems, {chart.name for chart in charts}, place.charts)
    return PlotResult(files=tuple(files), systems=tuple(system.name for system in systems), skipped=tuple(skipped))


def _charts(system: ClassSystem, size: Size) -> Iterator[_Chart]:
    """The charts that show a class system: no log chart without small classes, no images where unknown."""
    name, source = system.name, system.source
    yield _Chart(f"{name}-percent", source, partial(percent_figure, system, size=size), percent_csv(system))
    if min(row.percent for row in system.classes if row.pixels) < LOG_BELOW:
        yield _Chart(f"{name}-percent-log", source, partial(percent_figure, system, log=True, size=size), None)
    if system.images is not None:
        yield _Chart(f"{name}-images", source, partial(images_figure, system, size=size), images_csv(system))
        yield _Chart(
            f"{name}-cooccurrence", source, partial(cooccurrence_figure, system, size=size), together_csv(system)
        )


def _dataset_charts(workspace: Workspace, size: Size) -> Iterator[_Chart]:
    """The charts of the dataset as a whole."""
    audit = workspace.read_audit()
    source = f"manifest sha256 {audit.manifest_digest}"
    for overview in overviews(audit.findings, Manifest.read(workspace.manifest).to_polars()):
        yield _Chart(overview.name, source, partial(overview.draw, size), overview.to_csv())


def _split_charts(systems: list[ClassSystem], workspace: Workspace, size: Size) -> Iterator[_Chart]:
    """Charts of how the classes of each system are divided among the splits; none without a split.

    Raises:
        StaleFileError: the split is of an earlier audit.
    """
    split_names = read_split_names(workspace, workspace.read_audit().manifest_digest)
    if split_names is None:
        return
    for system in systems:
        balance = count_balance(system, workspace, split_names)
        draw = partial(balance_figure, system, balance, size=size)
        yield _Chart(f"{system.name}-split", system.source, draw, balance_csv(system, balance))


def _write(chart: _Chart, folder: Path, *, pdf: bool) -> Iterator[Path]:
    """Write a chart as PNG and SVG, optionally PDF, and its numbers as CSV; equal charts give equal bytes."""
    figure = chart.draw()
    # Sharp in print; a matrix of hundreds of classes has a lower resolution, to fit into memory.
    dots = min(300.0, 6000 / max(figure.get_size_inches()))
    # Metadata that would differ between machines is omitted. Level 3 is faster than 6 here, and smaller.
    png = {"metadata": {"Software": None, "Source": chart.source}, "pil_kwargs": {"compress_level": 3}}
    svg = {"metadata": {"Date": None, "Creator": None, "Source": chart.source}}
    printed = {"metadata": {"CreationDate": None, "Creator": None, "Producer": None, "Subject": chart.source}}
    kinds: list[tuple[str, dict[str, Any]]] = [("png", png), ("svg", svg), *([("pdf", printed)] if pdf else [])]
    if not pdf:
        (folder / f"{chart.name}.pdf").unlink(missing_ok=True)  # from an earlier run: it might be outdated
    for suffix, options in kinds:
        path = folder / f"{chart.name}.{suffix}"
        with replacing(path) as temporary:
            figure.savefig(temporary, format=suffix, dpi=dots, **options)
        yield path
    if chart.table is not None:
        path = folder / f"{chart.name}.csv"
        write_text(path, chart.table)
        yield path


def _remove_others(systems: list[ClassSystem], drawn: set[str], folder: Path) -> None:
    """Remove charts of these systems from an earlier run that no longer apply and would mislead."""
    names = [f"{system.name}-{kind}" for system in systems for kind in KINDS]
    for name in (*names, *OVERVIEWS):
        if name not in drawn:
            for suffix in SUFFIXES:
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
