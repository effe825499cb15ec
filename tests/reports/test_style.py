"""What charts share: settings that are given back, titles that fit, and names beside their rows."""

from __future__ import annotations

import warnings

import matplotlib as mpl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.palette import class_fill
from reports.style import COLUMN, FEW, MARGIN, PAGE, SOME, STYLE, Canvas, RowLabels, chart_style, row_pitch
from reports.text_layout import text_width
from tests.reports.test_charts import check_texts

# Letters with two marks above each other, from U+01D5 on, are higher than the room between lines.
NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_categories=["Cc", "Cf"]), max_size=60)


def test_the_user_s_own_settings_count_neither_for_charts_nor_are_lost() -> None:
    with mpl.rc_context({"font.size": 33.0, "svg.hashsalt": "mine"}):
        with chart_style():
            assert {name: mpl.rcParams[name] for name in STYLE} == STYLE
            warnings.warn("Glyph 26085 missing", stacklevel=1)  # is not shown
        assert (mpl.rcParams["font.size"], mpl.rcParams["svg.hashsalt"]) == (33.0, "mine")
        with pytest.raises(ZeroDivisionError), chart_style():
            1 / 0  # noqa: B018 - raises
        assert mpl.rcParams["font.size"] == 33.0


@settings(max_examples=25, deadline=None)
@given(title=NAMES, name=NAMES, note=NAMES, size=st.sampled_from([PAGE, COLUMN]))
def test_a_title_of_any_length_stays_in_the_figure(title: str, name: str, note: str, size: object) -> None:
    width = size.width  # type: ignore[attr-defined]
    with chart_style():
        canvas = Canvas.around(width - 1, 1, left=0.5, right=0.5, bottom=0.3, top=0.5)
        assert canvas.figure.get_size_inches().tolist() == pytest.approx([width, 1.8])
        canvas.title(title or "x", name, note)
        canvas.axes.set(xticks=[], yticks=[])
        check_texts(canvas.figure)


@settings(max_examples=30, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=4), limit=st.floats(0.3, 3))
def test_names_are_shortened_to_their_limit_and_the_width_holds_both(names: list[str], limit: float) -> None:
    labels = RowLabels.fit(names, [str(place) for place in range(len(names))], limit)
    assert all(text_width(name) <= limit for name in labels.names)
    assert labels.width >= max(map(text_width, labels.names)) + labels.index_width


def test_rows_come_closer_the_more_there_are() -> None:
    pitches = [row_pitch(rows) for rows in (1, FEW, FEW + 1, SOME, SOME + 1, 300)]
    assert pitches == sorted(pitches, reverse=True)
    assert len({*pitches}) == 3


def test_an_axis_label_wider_than_its_axis_stays_in_the_figure() -> None:
    with chart_style():
        canvas = Canvas.around(0.5, 1, left=2, right=MARGIN, bottom=0.4, top=0.4)
        canvas.axes.set(xticks=[], yticks=[])
        canvas.axis_label(["a label that is much wider", "than the axis above it"])
        assert canvas.leaves("1,000,000", 1.0)
        assert not canvas.leaves("1", 0.0)
        check_texts(canvas.figure)


def test_a_class_is_drawn_in_its_own_fill() -> None:
    with chart_style():
        canvas = Canvas.around(1, 1, left=0.1, right=0.1, bottom=0.1, top=0.1)
        rectangle = canvas.fill(class_fill(30), (0, 0), (0.5, 0.5))
        assert rectangle.get_hatch() == (class_fill(30).hatch or None)
        assert mpl.colors.to_hex(rectangle.get_facecolor()) == class_fill(30).face
