"""Charts of findings, sizes, groups and splits say what the audit and the split say, at every width."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from histods import audit, plot, remap, split
from histods.checks import CHECKS
from histods.dataset.manifest import read_table, to_polars
from histods.dataset.own_files import _PATTERNS
from histods.palette import SEVERITIES, split_fill
from reports.charts import KINDS, OVERVIEWS, SUFFIXES
from reports.overview import Overview, overviews
from reports.style import COLUMN, PAGE, Size, chart_style
from tests.reports.test_charts import LONG, check_texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Site

SIZES = pytest.mark.parametrize("size", [PAGE, COLUMN], ids=["page", "column"])


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Widths of the figures that are saved; nothing is drawn in their files, which saves most of the time."""
    seen = []

    def save(figure: Figure, path: Path, **_: object) -> None:
        seen.append(float(figure.get_size_inches()[0]))
        path.touch()

    monkeypatch.setattr(Figure, "savefig", save)
    return seen


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


def test_numbers_are_those_of_the_audit_and_the_split(site: Site, widths: list[float]) -> None:
    space = site.workspace
    result = audit(site.root, workspace=space, group_regex=r"^(slide\.\d)", allow_unpaired=True, workers=1)
    remap(workspace=space, map=site.map)
    split(workspace=space, test=0.4)
    drawn = plot(space, width="column")
    charts = space / "charts"
    assert {"findings", "sizes", "groups", "labels-split", "three-split"} <= names(charts)
    assert {path.suffix for path in drawn.files if path.stem == "groups"} == {".png", ".svg", ".csv"}
    assert widths == pytest.approx([85 / 25.4] * len(widths), abs=0.01)
    assert {row["code"]: int(row["findings"]) for row in read_csv(charts / "findings.csv")} == result.findings
    assert read_csv(charts / "sizes.csv") == [{"width": "48", "height": "48", "images": "40"}]
    groups = read_csv(charts / "groups.csv")
    assert {row["group"]: int(row["samples"]) for row in groups} == {f"slide.{number}": 8 for number in range(5)}
    sides = to_polars(read_table(space / "split.parquet"))
    rows = result.manifest.to_polars().join(sides, on="key").explode("labels", "pixels", empty_as_null=False)
    expected = {
        (label, side): pixels
        for label, side, pixels in rows.group_by("labels", "split").agg(pl.col("pixels").sum()).iter_rows()
        if label is not None
    }
    table = read_csv(charts / "labels-split.csv")
    found = {(int(row["label"]), row["split"]): int(row["pixels"]) for row in table}
    assert {place: pixels for place, pixels in found.items() if pixels} == expected
    per_class = read_csv(charts / "three-split.csv")
    assert sum(int(row["pixels"]) for row in per_class) == sum(expected.values())
    assert sum(float(row["percent_of_class"]) for row in per_class) == pytest.approx(300)


@pytest.mark.parametrize("name", [*(f"skin.v1-{kind}" for kind in KINDS), *OVERVIEWS])
def test_a_chart_in_a_dataset_is_no_image_of_it(name: str) -> None:
    """An audit passes over the charts of a workspace that lies in the dataset, and over nothing else there."""
    pattern = _PATTERNS["audit.json", "manifest.parquet"]
    assert all(pattern.fullmatch(f"charts/{name}.{suffix}") for suffix in SUFFIXES)
    assert not any(pattern.fullmatch(f"charts/{name}{end}") for end in ("", ".jpg", "_mask.png", "/a.png"))


def test_charts_that_no_longer_apply_go_and_a_stale_split_is_named(site: Site, widths: list[float]) -> None:
    space = site.workspace
    split(workspace=space, test=0.4)
    assert plot(space).skipped == ()
    assert {"groups", "labels-split"} <= names(space / "charts")
    next(iter(site.images.values())).unlink()
    audit(site.root, workspace=space, allow_unpaired=True, workers=1)
    again = plot(space)
    assert widths
    assert not {"groups", "labels-split"} & names(space / "charts")
    [line] = again.skipped
    assert line.startswith("No charts of the split: ")
    assert "histods split" in line
    assert {path.name for path in (space / "charts").iterdir()} == {path.name for path in again.files}


def manifest(groups: int, sizes: int, samples: int = 600) -> pl.DataFrame:
    """Samples of so many groups and sizes; one of them excluded, and some without a group."""
    random = np.random.default_rng(0)
    group = [f"{LONG} <b>\n{number}" for number in random.integers(0, groups, samples)] if groups else [None]
    return pl.DataFrame(
        {
            "role": ["excluded", *["conditional"] * (samples - 2), "unconditional"],
            "width": random.integers(500, 500 + sizes, samples),
            "height": [512] * samples,
            "group": pl.Series([None, None, *group[2:]] if groups else [None] * samples, dtype=pl.String),
        }
    )


def all_overviews(groups: int, sizes: int) -> Iterator[Overview]:
    findings = {check.code: 7 ** (number % 8) for number, check in enumerate(CHECKS)}
    return overviews(findings, manifest(groups, sizes))


@SIZES
@pytest.mark.parametrize(("groups", "sizes"), [(1, 1), (3, 20), (40, 21), (41, 200), (500, 5000)])
def test_every_sample_is_in_a_bar_and_texts_can_be_read(groups: int, sizes: int, size: Size) -> None:
    charts = {chart.name: chart for chart in all_overviews(groups, sizes)}
    assert list(charts) == ["findings", "sizes", "groups"]
    assert sum(bar.value for bar in charts["sizes"].bars) == 599
    in_groups = sum(bar.value for bar in charts["groups"].bars)
    assert in_groups == (598 if groups <= 40 else len(charts["groups"].table))
    assert max(len(chart.bars) for chart in charts.values()) <= 40
    with chart_style():
        for chart in charts.values():
            texts = check_texts(chart.draw(size))
            assert all(text.isprintable() for text in texts)


def test_a_dataset_without_findings_sizes_and_groups_has_none_of_these_charts() -> None:
    rows = manifest(0, 1).with_columns(width=pl.lit(None, pl.Int64))
    assert list(overviews({}, rows)) == []


def test_splits_and_severities_have_colours_of_their_own() -> None:
    assert set(SEVERITIES) == {check.severity for check in CHECKS}
    assert len({fill.face for fill in SEVERITIES.values()}) == 3
    usual = [split_fill(name, place) for place, name in enumerate(("train", "val", "test"))]
    assert len({fill.face for fill in usual}) == 3
    folds = [split_fill(f"fold-{place}", place) for place in range(20)]
    assert len({(fill.face, fill.hatch) for fill in folds}) == 20
    assert split_fill("test", 1) == split_fill("test", 2)
