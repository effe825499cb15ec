"""Bars, or dots on a log axis: one row per class, by index, so that charts of the same classes are comparable."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from histods.palette import Fill, class_fill
from histods.printing import counted
from reports.class_table import percent_of
from reports.style import AXIS_LABEL, GAP, MARGIN, PAGE, RULE, TOP, Canvas, RowLabels, Size, row_pitch
from reports.text_layout import percent_text, pixels_text, text_width, tick_text, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from reports.class_table import ClassSystem

WHOLE = 100
"""The whole, in percent."""
OTHERS = Fill(face="#ffffff", edge="#5f5f5f", hatch="")
"""The index of the bar for all classes without their own bar."""
DOT = 22.0
"""Area of a dot in square points."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: the name and index left of the axis, the value on it, and the text next to the value."""

    name: str
    index: str
    value: float
    text: str
    fill: Fill


@dataclass(frozen=True, slots=True)
class Scale:
    """A value axis: from 0, or logarithmic from `low` if that is above 0."""

    low: float
    ticks: list[float]

    @classmethod
    def linear(cls, largest: float, size: Size, *, whole: bool = False, most: float = math.inf) -> Scale:
        """A scale from 0, with round ticks to the first one above the largest value, but none above `most`."""
        ticks = MaxNLocator(size.ticks, integer=whole, steps=[1, 2, 2.5, 5, 10]).tick_values(0, largest)
        return cls(0.0, [float(tick) for tick in ticks if 0 <= tick <= most])

    @classmethod
    def logarithmic(cls, smallest: float, size: Size) -> Scale:
        """A scale of powers of ten to 100 percent, as many as the size allows, always with 100."""
        # The axis starts below the smallest class, so that its dot is not on the edge.
        first = math.floor(math.log10(smallest / 1.25))
        step = 1 + (2 - first) // (size.ticks + 3)
        return cls(10.0**first, [10.0**power for power in range(2, first - 1, -step)][::-1])

    def limit(self, values: Sequence[float], texts: Sequence[str], width: float) -> float:
        """End of an axis of this width, in inches, at which every bar and the text after it fit."""
        rooms = [max(0.1, 1 - (text_width(text) + 3 * GAP) / width) for text in texts]
        if self.low:
            powers = (math.log10(max(value / self.low, 1)) for value in values)
            return self.low * math.pow(10, max(power / room for power, room in zip(powers, rooms, strict=True)))
        return max(value / room for value, room in zip(values, rooms, strict=True)) or 1.0


def percent_figure(system: ClassSystem, *, log: bool = False, size: Size = PAGE) -> Figure:
    """Each class's share of all pixels: bars, or dots on a log axis, without a dot for classes without pixels."""
    shown = [row.percent for row in system.drawn]
    others = system.others
    shown += [others.percent] if others else []
    texts = [pixels_text(row.percent, row.pixels) for row in (*system.drawn, *([others] if others else []))]
    masks = "" if system.images is None else f" in {counted(system.images, 'mask')} in use"
    axis = f"Share of {counted(system.pixels, 'pixel')}{masks} (%{', log scale' if log else ''})"
    scale = (
        Scale.logarithmic(min(filter(None, shown)), size) if log else Scale.linear(max(shown), size, most=WHOLE)
    )
    title = f"Share of pixels per {system.noun}"
    return draw_bars(title, system.title_name, system.note, axis, scale, _bars_of(system, shown, texts), size)


def images_figure(system: ClassSystem, *, size: Size = PAGE) -> Figure:
    """Bars of the number of images that contain each class."""
    rows = (*system.drawn, *([system.others] if system.others else []))
    shown = [float(row.images or 0) for row in rows]
    texts = [f"{value:,.0f} ({percent_text(percent_of(int(value), system.images))})" for value in shown]
    axis = f"Images that contain the {system.noun}, of {system.images:,} with a mask in use"
    scale = Scale.linear(max(shown), size, whole=True)
    title = f"Images with each {system.noun}"
    return draw_bars(title, system.title_name, system.note, axis, scale, _bars_of(system, shown, texts), size)


def _bars_of(system: ClassSystem, shown: Sequence[float], texts: Sequence[str]) -> list[Bar]:
    """One bar per class drawn, and one for the others."""
    bars = [
        Bar(row.name, str(row.index), value, text, class_fill(row.index))
        for row, value, text in zip(system.drawn, shown, texts, strict=False)
    ]
    if system.others:
        bars.append(Bar(system.others.name, "", shown[-1], texts[-1], OTHERS))
    return bars


def draw_bars(
    title: str, name: str, note: str, axis: str, scale: Scale, bars: Sequence[Bar], size: Size = PAGE
) -> Figure:
    """Draw one row per bar, with the first at the top.

    Args:
        title: the title of the chart.
        name: the name of the class system; empty for charts of the dataset.
        note: a line below the title; empty for none.
        axis: what the axis shows.
        scale: the scale of the axis; on a log scale values are dots.
        bars: the rows, at least one.
        size: the size of the page.
    """
    labels = RowLabels.fit([bar.name for bar in bars], [bar.index for bar in bars], size.names)
    left = MARGIN + labels.width
    width = size.width - left - MARGIN
    lines = wrapped(axis, size.width - 2 * MARGIN)
    bottom = 0.3 + AXIS_LABEL * len(lines)
    canvas = Canvas.around(
        width, row_pitch(len(bars)) * len(bars), left=left, right=MARGIN, bottom=bottom, top=TOP
    )
    canvas.title(title, name, note)
    values = [bar.value for bar in bars]
    _style_axis(canvas, scale, scale.limit(values, [bar.text for bar in bars], width))
    canvas.axis_label(lines)
    canvas.axes.set_ylim(len(bars) - 0.5, -0.5)
    for place, bar in enumerate(bars):
        _draw_bar(canvas, scale, place, bar)
    labels.draw(canvas, edge=scale.low, centre=0, offset=0)
    return canvas.figure


def _draw_bar(canvas: Canvas, scale: Scale, place: int, bar: Bar) -> None:
    """Draw a bar, or on a log axis a dot on a line from its name, and the text after it."""
    gap = GAP
    if bar.value > 0 and scale.low:
        gap = 1.6 * GAP
        canvas.axes.hlines(place, scale.low, bar.value, colors=RULE, linewidth=0.6, zorder=0.8)
        canvas.axes.scatter(
            [bar.value], [place], s=DOT, c=[bar.fill.face], edgecolors=[bar.fill.edge], linewidths=0.7, zorder=2
        )
    elif bar.value > 0:
        canvas.fill(bar.fill, (0, place - 0.38), (bar.value, 0.76))
    number = canvas.note(bar.text, (max(bar.value, scale.low), place), (gap, 0), across="left")
    # Keeps grid lines out of the number, without covering the axis or neighbouring bars.
    number.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    number.set_zorder(0.9)


def _style_axis(canvas: Canvas, scale: Scale, limit: float) -> None:
    axes = canvas.axes
    axes.set_xscale("log" if scale.low else "linear")
    axes.set_xlim(scale.low, limit)
    ticks = [tick for tick in scale.ticks if tick <= limit]
    while len(ticks) > 1 and canvas.leaves(tick_text(ticks[-1]), ticks[-1]):
        ticks.pop()
    axes.set_xticks(ticks, [tick_text(tick) for tick in ticks])
    axes.set_yticks([])
    axes.minorticks_off()
    axes.grid(axis="x", color=RULE, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
