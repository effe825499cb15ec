"""Split balance: the share of each class's pixels in each split, compared with the share of all pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.patches import Rectangle

from histods.palette import INK, luminance, split_fill
from reports.style import AXIS_LABEL, FEW, GAP, MARGIN, SMALL, SOME, TOP, Canvas, RowLabels
from reports.text_layout import percent_text, shortened, text_width, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reports.balance_table import Balance
    from reports.class_table import ClassSystem
    from reports.style import Size

_CHIP = 0.11
_LEGEND_ROW = 0.15
_MAX_NUMBERED = 4
"""Maximum number of splits for which numbers are written into the parts."""


def balance_figure(system: ClassSystem, balance: Balance, *, size: Size) -> Figure:
    """One row per class, divided like its pixels among the splits; lines show the division of all pixels."""
    places = [place for place, row in enumerate(system.classes) if row in set(system.drawn)]
    pixels = balance.pixels[places]
    shares = 100 * pixels / np.maximum(pixels.sum(axis=1), 1)[:, None]
    whole = 100 * balance.pixels.sum(axis=0) / max(int(balance.pixels.sum()), 1)
    labels = RowLabels.fit(
        [row.name for row in system.drawn], [str(row.index) for row in system.drawn], size.names
    )
    lacks = [_say_lacks(balance.splits, row, size) for row in pixels.tolist()]
    right = MARGIN + max(map(text_width, lacks)) + (GAP if any(lacks) else 0)
    left = MARGIN + labels.width
    width = size.width - left - max(right, 2 * MARGIN)
    pitch = 0.25 if len(places) <= FEW else 0.17 if len(places) <= SOME else 0.138
    lines = wrapped(
        f"Pixels of the {system.noun} in each split (%); lines: of all pixels", size.width - 2 * MARGIN
    )
    legend = _lay_legend(balance.splits, whole.tolist(), size.width - 2 * MARGIN)
    top = TOP + _LEGEND_ROW * (1 + max(row for row, _, _ in legend))
    bottom = 0.3 + AXIS_LABEL * len(lines)
    canvas = Canvas.around(
        width, pitch * len(places), left=left, right=size.width - left - width, bottom=bottom, top=top
    )
    note = (
        ""
        if len(places) == len(system.classes)
        else f"The {len(places)} of {len(system.classes):,} with most pixels"
    )
    canvas.title(f"Each {system.noun} in the splits", system.title_name, note)
    _draw_legend(canvas, balance.splits, legend)
    axes = canvas.axes
    axes.set(xlim=(0, 100), ylim=(len(places) - 0.5, -0.5), yticks=[], xticks=[0, 25, 50, 75, 100])
    axes.spines[["top", "right"]].set_visible(False)
    bounds = np.cumsum(whole)[:-1]
    for place, row in enumerate(shares.tolist()):
        _draw_row(canvas, place, row, balance.splits, _Room(width, bounds.tolist()))
        canvas.note(lacks[place], (100, place), (GAP, 0), across="left")
    axes.vlines(bounds, -0.5, len(places) - 0.5, colors=INK, linewidth=0.8, linestyles=(0, (3, 2)))
    canvas.axis_label(lines)
    labels.draw(canvas, edge=0, centre=0, offset=0)
    return canvas.figure


def _say_lacks(splits: tuple[str, ...], pixels: list[int], size: Size) -> str:
    """A short text on which splits have no pixel of a class."""
    lacking = [split for split, count in zip(splits, pixels, strict=True) if not count]
    if not lacking:
        return ""
    text = "no pixels" if len(lacking) == len(splits) else f"none in {', '.join(lacking)}"
    return shortened(text, 0.25 * size.width)


class _Room(NamedTuple):
    """The space for numbers: width of the axis in inches, and positions of lines to avoid, in percent."""

    width: float
    bounds: list[float]

    def holds(self, text: str, start: float, share: float) -> bool:
        """Whether a text fits into the middle of a part of a row."""
        half = 50 * (text_width(text, SMALL) + GAP) / self.width
        middle = start + share / 2
        return 2 * half < share and not any(abs(bound - middle) < half for bound in self.bounds)


def _draw_row(canvas: Canvas, place: int, shares: list[float], splits: tuple[str, ...], room: _Room) -> None:
    """Draw the parts of one class, each with its share if it fits; without numbers if there are many splits."""
    start = 0.0
    for number, (share, split) in enumerate(zip(shares, splits, strict=True)):
        if share <= 0:
            continue
        look = split_fill(split, number)
        canvas.fill(look, (start, place - 0.38), (share, 0.76))
        text = percent_text(share).removesuffix(" %")
        if len(splits) <= _MAX_NUMBERED and room.holds(text, start, share):
            colour = "white" if luminance(look.face) < 0.18 else INK
            across = start + share / 2
            canvas.axes.text(across, place, text, size=SMALL, color=colour, ha="center", va="center_baseline")
        start += share


def _lay_legend(splits: tuple[str, ...], whole: list[float], room: float) -> list[tuple[int, float, str]]:
    """Row, position in inches and text of each split's entry in the legend."""
    entries, row, across = [], 0, 0.0
    for split, share in zip(splits, whole, strict=True):
        text = f"{shortened(split, 1.2)} ({percent_text(share)} of all)"
        needed = _CHIP + GAP + text_width(text) + 3 * GAP
        if across and across + needed > room:
            row, across = row + 1, 0.0
        entries.append((row, across, text))
        across += needed
    return entries


def _draw_legend(canvas: Canvas, splits: tuple[str, ...], entries: list[tuple[int, float, str]]) -> None:
    """Draw a colour patch and the name of each split, below the title."""
    wide, high = canvas.figure.get_size_inches()
    for number, (split, (row, across, text)) in enumerate(zip(splits, entries, strict=True)):
        look = split_fill(split, number)
        up = high - TOP - 0.04 - _LEGEND_ROW * row
        corner = ((MARGIN + across) / wide, (up - _CHIP / 2) / high)
        chip = Rectangle(corner, _CHIP / wide, _CHIP / high, fc=look.face, ec=look.edge, hatch=look.hatch, lw=0.5)
        canvas.figure.add_artist(chip)
        place = (MARGIN + across + _CHIP + GAP) / wide
        canvas.figure.text(place, up / high, text, va="center_baseline")
