"""Bar charts: one bar a class, by class index, so that charts of the same classes compare."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from reports.canvas import FEW, GAP, MARGIN, RULE, SOME, TOP, Canvas, RowLabels
from reports.tables import percent_of
from reports.text import counted, percent_text, pixels_text, text_width, tick_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from reports.tables import ClassSystem

WIDTH = 7.2
"""A journal's two columns (183 mm)."""
NAME_WIDTH = 3.1
WHOLE = 100
"""All, in percent."""


def percent_figure(system: ClassSystem, *, log: bool = False) -> Figure:
    """Bars of each class's share of all pixels; on a log axis a class without pixels has no bar."""
    values = [row.percent for row in system.drawn]
    texts = [pixels_text(row.percent, row.pixels) for row in system.drawn]
    masks = "" if system.images is None else f" in {counted(system.images, 'mask')} in use"
    axis = f"Share of {counted(system.pixels, 'pixel')}{masks} (%{', log scale' if log else ''})"
    # The axis starts so far below the smallest class that its bar can be seen.
    low = 10.0 ** math.floor(math.log10(min(filter(None, values)) / 1.25)) if log else 0.0
    ticks = _decades(low) if log else [tick for tick in _steps(max(values)) if tick <= WHOLE]
    return _bars(system, "pixels", axis, _Scale(low, ticks), values, texts)


def images_figure(system: ClassSystem) -> Figure:
    """Bars of the number of images that contain each class."""
    values = [row.images or 0 for row in system.drawn]
    texts = [f"{value:,} ({percent_text(percent_of(value, system.images))})" for value in values]
    axis = f"Images that contain the {system.noun}, of {system.images:,} with a mask in use"
    return _bars(system, "images", axis, _Scale(0.0, _steps(max(values), whole=True)), values, texts)


@dataclass(frozen=True, slots=True)
class _Scale:
    """A value axis: from 0, or logarithmic from `low` where that is above 0."""

    low: float
    ticks: list[float]

    def limit(self, values: Sequence[float], texts: Sequence[str], width: float) -> float:
        """End of an axis of this width, in inches, at which every bar and the text after it fit."""
        rooms = [1 - (text_width(text) + 2 * GAP) / width for text in texts]
        if self.low:
            powers = (math.log10(max(value / self.low, 1)) for value in values)
            return self.low * math.pow(10, max(power / room for power, room in zip(powers, rooms, strict=True)))
        return max(value / room for value, room in zip(values, rooms, strict=True))


def _bars(
    system: ClassSystem, what: str, axis: str, scale: _Scale, values: Sequence[float], texts: Sequence[str]
) -> Figure:
    rows = system.drawn
    labels = RowLabels.fit(rows, NAME_WIDTH)
    left = MARGIN + labels.width
    width = WIDTH - left - MARGIN
    pitch = 0.25 if len(rows) <= FEW else 0.17 if len(rows) <= SOME else 0.128
    canvas = Canvas.around(width, pitch * len(rows), left=left, right=MARGIN, bottom=0.42, top=TOP)
    canvas.title(system, f"{what} per {system.noun}")
    _style_axis(canvas, scale, scale.limit(values, texts, width), axis)
    canvas.axes.set_ylim(len(rows) - 0.5, -0.5)
    for place, (row, value, text) in enumerate(zip(rows, values, texts, strict=True)):
        if value > 0:
            canvas.fill(row.index, (scale.low, place - 0.38), (value - scale.low, 0.76))
        number = canvas.note(text, (max(value, scale.low), place), (GAP, 0), across="left")
        # Keeps the grid's lines out of the number, and itself off the axis and its neighbours' bars.
        number.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        number.set_zorder(0.9)
    labels.draw(canvas, edge=scale.low, centre=0, offset=0)
    return canvas.figure


def _style_axis(canvas: Canvas, scale: _Scale, limit: float, label: str) -> None:
    axes = canvas.axes
    axes.set_xscale("log" if scale.low else "linear")
    axes.set_xlim(scale.low, limit)
    ticks = [tick for tick in scale.ticks if tick <= limit]
    axes.set_xticks(ticks, [tick_text(tick) for tick in ticks])
    axes.set_yticks([])
    axes.minorticks_off()
    axes.grid(axis="x", color=RULE, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(label)


def _decades(low: float) -> list[float]:
    """Powers of ten from `low` to 100 percent, at most eight, always with 100."""
    first = round(math.log10(low))
    return [10.0**power for power in range(2, first - 1, -1 - (2 - first) // 8)][::-1]


def _steps(largest: float, *, whole: bool = False) -> list[float]:
    """Round ticks from 0 to the first above the largest bar."""
    ticks = MaxNLocator(5, integer=whole, steps=[1, 2, 2.5, 5, 10]).tick_values(0, largest)
    return [float(tick) for tick in ticks if tick >= 0]
