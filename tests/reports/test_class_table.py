"""The numbers of charts: counted as by hand, the largest first, and safe names for print and spreadsheets."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.records import ClassCount
from reports import class_table as tables
from reports.bars import percent_figure
from reports.class_table import (
    ClassSystem,
    count_together,
    images_csv,
    largest,
    parse_classes,
    percent_csv,
    percent_of,
    printable,
    read_counts_system,
    together_csv,
)
from reports.style import chart_style
from tests.reports.test_charts import make_system

masks_of_labels = st.lists(st.sets(st.integers(0, 9), max_size=6).map(sorted), min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(masks=masks_of_labels, counted=st.sets(st.integers(0, 9), min_size=1).map(sorted), times=st.integers(1, 5))
def test_co_occurrence_equals_a_count_by_hand(masks: list[list[int]], counted: list[int], times: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "CHUNK_ROWS", 64)
        found = count_together(pa.array(masks * times, pa.list_(pa.uint16())), np.array(counted))
    by_hand = [
        [times * sum(one in mask and other in mask for mask in masks) for other in counted] for one in counted
    ]
    assert found.tolist() == by_hand


def test_of_thousands_of_labels_the_largest_are_drawn_and_the_chart_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "DRAWN_LIMIT", 5)
    classes = tuple(
        ClassCount(index=index, name=str(index), pixels=index + 1, percent=100 * (index + 1) / 500500, images=None)
        for index in range(1000)
    )
    system = ClassSystem(name="labels", classes=classes, images=None, together=None, source="counts")
    assert [row.index for row in system.drawn] == [995, 996, 997, 998, 999]
    with chart_style():
        figure = percent_figure(system)
    assert "The 5 of 1,000 with most pixels; the others are one bar" in [text.get_text() for text in figure.texts]
    assert [text.get_text() for text in figure.axes[0].texts][-2:] == ["", "995 others"]
    assert system.others is not None
    assert system.others.pixels == sum(range(1, 996))
    assert len(tables.percent_csv(system).splitlines()) == 1001


COUNTS = st.lists(st.integers(0, 5), max_size=12)


@settings(max_examples=40, deadline=None)
@given(pixels=COUNTS, number=st.integers(0, 12))
def test_the_largest_are_those_with_most_pixels_in_the_order_of_their_numbers(
    pixels: list[int], number: int
) -> None:
    rows = [
        ClassCount(index=index, name="x", pixels=count, percent=0.0, images=None)
        for index, count in enumerate(pixels)
    ]
    found = largest(rows, number)
    assert [row.index for row in found] == sorted(row.index for row in found)
    assert sorted((row.pixels for row in found), reverse=True) == sorted(pixels, reverse=True)[:number]


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=20))
def test_a_printed_name_is_one_line_that_every_format_can_hold(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
    assert printable(shown) == shown


@pytest.mark.parametrize("name", ["=1+1", "a,b", 'q"', "ä\rb", "-x"])
def test_tables_are_csv_whatever_classes_are_called(name: str) -> None:
    system = make_system(2, names=[name, "b"])
    rows = [
        [*csv.reader(io.StringIO(text(system), newline=""))] for text in (percent_csv, images_csv, together_csv)
    ]
    assert [len(table) for table in rows] == [3, 3, 5]
    assert all(len({len(row) for row in table}) == 1 for table in rows)
    assert not rows[0][1][1].startswith(("=", "-"))
    assert rows[2][1][4:] == ["41", "100.0"]


def test_a_share_of_nothing_is_zero() -> None:
    assert [percent_of(part, whole) for part, whole in ((1, 4), (0, 4), (3, 0), (None, 4), (3, None))] == [
        25.0, 0.0, 0.0, 0.0, 0.0,
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [None, 3, [{}], [{"class": "x", "name": "a"}], ["x"]], ids=str)
def test_a_summary_of_nonsense_is_refused(rows: object) -> None:
    with pytest.raises(HistodsError, match="^/x.json lacks class, name, pixels, percent or images of a class "):
        parse_classes(rows, "class", Path("/x.json"))


def test_counts_of_a_table_are_the_labels_and_one_without_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("Label ID,Class Name,Pixel Count\n3,Tumör,30\n0,None,10\n", encoding="utf-8")
    system = read_counts_system(path)
    assert {(row.index, row.name, row.percent) for row in system.classes} == {
        (3, "Tumör", 75.0),
        (0, "None", 25.0),
    }
    assert (system.noun, system.title_name, system.images) == ("label", "", None)
    path.write_text("Label ID,Class Name,Pixel Count\n0,a,0\n")
    with pytest.raises(HistodsError, match="has no pixels to draw; check its column 'Pixel Count'.$"):
        read_counts_system(path)
