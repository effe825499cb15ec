"""Bars and dots: every value and its text has room on the axis, and nothing is drawn for nothing."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PathCollection

from histods.records import ClassCount
from reports.bars import Scale, images_figure, percent_figure
from reports.class_table import ClassSystem
from reports.style import COLUMN, GAP, PAGE, Size, chart_style
from reports.text_layout import text_width
from tests.reports.test_charts import make_system, text_boxes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIZES = st.sampled_from([PAGE, COLUMN])


def test_a_class_without_pixels_says_zero_and_has_no_bar() -> None:
    classes = tuple(
        ClassCount(index=index, name=f"class {index}", pixels=pixels, percent=pixels / 10, images=None)
        for index, pixels in enumerate([995, 0, 5])
    )
    system = ClassSystem(name="tissue", classes=classes, images=None, together=None, source="counts")
    with chart_style():
        bars, dots = percent_figure(system), percent_figure(system, log=True)
        for figure in (bars, dots):
            texts, _ = text_boxes(figure)
            assert "0 %" in texts
        assert len(bars.axes[0].patches) == 2
        assert len(dots.axes[0].findobj(PathCollection)) == 2
        assert len(dots.axes[0].patches) == 0


def test_the_smallest_class_has_its_dot_beside_the_log_axis() -> None:
    classes = tuple(
        ClassCount(index=index, name=f"class {index}", pixels=pixels, percent=pixels / 100, images=None)
        for index, pixels in enumerate([9999, 1])
    )
    system = ClassSystem(name="tissue", classes=classes, images=None, together=None, source="counts")
    with chart_style():
        axes = percent_figure(system, log=True).axes[0]
    assert axes.get_xlim()[0] == pytest.approx(0.001)
    smallest = axes.findobj(PathCollection)[1]
    offsets = cast("NDArray[np.float64]", smallest.get_offsets())
    assert float(offsets[0][0]) == 0.01


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.just(0.0) | st.floats(1e-9, 1e9), min_size=1, max_size=5),
    text=st.text("0123, %", max_size=12),
    size=SIZES,
)
def test_the_longest_bar_and_its_text_end_on_the_axis(values: list[float], text: str, size: Size) -> None:
    scale = Scale.linear(max(values), size)
    assert scale.low == 0
    assert scale.ticks == sorted(scale.ticks)
    width = 3.0
    limit = scale.limit(values, [text] * len(values), width)
    assert limit > 0
    for value in values:
        assert value / limit * width + text_width(text) + 3 * GAP <= width + 1e-6


@settings(max_examples=60, deadline=None)
@given(smallest=st.floats(1e-9, 100), size=SIZES)
def test_a_log_axis_goes_from_below_the_smallest_class_to_everything(smallest: float, size: Size) -> None:
    scale = Scale.logarithmic(smallest, size)
    assert 0 < scale.low < smallest
    assert scale.ticks[-1] == 100
    powers = [math.log10(tick) for tick in scale.ticks]
    assert powers == pytest.approx([round(power) for power in powers])
    assert len({round(other - one) for one, other in pairwise(powers)}) <= 1
    assert len(scale.ticks) <= size.ticks + 4


def test_whole_numbers_have_whole_ticks() -> None:
    assert all(tick == int(tick) for tick in Scale.linear(3, PAGE, whole=True).ticks)


def test_images_are_counted_beside_their_share() -> None:
    with chart_style():
        texts, _ = text_boxes(images_figure(make_system(2)))
    assert "41 (100 %)" in texts
    assert "Images that contain the class, of 41 with a mask in use" in texts
