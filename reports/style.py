"""What all charts share: style, margins, title, and the names left of their rows. Lengths are in inches.

Only Matplotlib's object interface is used, without pyplot, windows or global figures.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation

from histods.palette import INK
from reports.text_layout import BODY, FONT, shortened, text_width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from histods.palette import Fill

MARGIN, GAP = 0.12, 0.06
"""Margins around the figure, and between texts."""
AXIS_LABEL = 0.125
"""Height of a line of the axis label."""
TOP = 0.42
"""Space for the title and the line below it."""
HEAD, SMALL = 9.0, 6.0
"""Sizes of the title and of the smallest text, in points."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a chart on paper; texts have the same size in all charts.

    Attributes:
        width: the width of the figure, in inches.
        names: maximum width of the names left of the rows.
        matrix_names: the same for a matrix with the maximum number of rows.
        ticks: approximate number of ticks on an axis.
    """

    width: float
    names: float
    matrix_names: float
    ticks: int


PAGE = Size(7.2, 3.1, 1.15, 5)
"""Two journal columns (183 mm)."""
COLUMN = Size(3.346, 1.25, 0.8, 2)
"""One column (85 mm)."""
GREY, RULE = "#5f5f5f", "#dcdcdc"
FEW, SOME = 12, 30
"""Up to `FEW` classes rows are widely spaced; beyond `SOME` they are as close as text allows."""
STYLE: dict[Any, Any] = {  # Matplotlib has separate types for the keys of its settings
    "font.family": ["sans-serif"],  # gives the SVG a fallback for readers without the font
    "font.sans-serif": [FONT],
    "font.size": BODY,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "xtick.major.width": 0.6,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # journals refuse Type 3
    "svg.hashsalt": "histods",
}


def row_pitch(rows: int) -> float:
    """Inches from one row to the next: wide for few rows, as close as text allows for many."""
    return 0.25 if rows <= FEW else 0.17 if rows <= SOME else 0.138


@contextmanager
def chart_style() -> Iterator[None]:
    """Draw and save with these settings, and then restore the user's own."""
    with mpl.rc_context(), warnings.catch_warnings():
        # Scripts that DejaVu Sans lacks are drawn as boxes in the PNG; SVG and CSV keep the text.
        warnings.filterwarnings("ignore", message="Glyph")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


@dataclass(frozen=True, slots=True)
class Canvas:
    """A figure and its axes, with margins."""

    figure: Figure
    axes: Axes

    @classmethod
    def around(
        cls, width: float, height: float, *, left: float, right: float, bottom: float, top: float
    ) -> Canvas:
        """Make axes of this width and height, and a figure with these margins."""
        wide, high = left + width + right, bottom + height + top
        figure = Figure(figsize=(wide, high))
        return cls(figure, figure.add_axes((left / wide, bottom / high, width / wide, height / high)))

    def title(self, title: str, name: str, note: str = "") -> None:
        """Write the title with the name of the class system, and a note on the line below."""
        wide, high = self.figure.get_size_inches()
        room = wide - 2 * MARGIN
        size = next((size for size in (HEAD, HEAD - 1) if text_width(title, size, "bold") <= room), HEAD - 2)
        if name:
            rest = max(room - text_width(f"{title} ()", size, "bold"), 0.4)
            title = f"{title} ({shortened(name, rest, size, 'bold')})"
        title = shortened(title, room, size, "bold")
        self.figure.text(MARGIN / wide, 1 - MARGIN / high, title, size=size, weight="bold", va="top")
        if note:
            place = 1 - (MARGIN + 0.17) / high
            note = shortened(note, room, SMALL)
            self.figure.text(MARGIN / wide, place, note, size=SMALL, color=GREY, va="top")

    def leaves(self, text: str, value: float) -> bool:
        """Whether a text below this value of the horizontal axis would extend beyond the right of the figure."""
        dots = float(self.axes.transData.transform((value, 0))[0])
        return dots / self.figure.dpi + text_width(text) / 2 > float(self.figure.get_size_inches()[0])

    def axis_label(self, lines: Sequence[str]) -> None:
        """Write the label below the axis: centred, or as near to that as the figure's edges allow."""
        wide, high = self.figure.get_size_inches()
        box = self.axes.get_position()
        half = max(map(text_width, lines)) / 2
        middle = min(max((box.x0 + box.x1) / 2 * wide, MARGIN + half), wide - MARGIN - half)
        for place, line in enumerate(lines):
            up = (len(lines) - 1 - place) * AXIS_LABEL + 0.07
            self.figure.text(middle / wide, up / high, line, ha="center", va="bottom")

    def note(
        self,
        text: str,
        at: tuple[float, float],
        offset: tuple[float, float],
        *,
        across: Literal["left", "center", "right"],
        up: Literal["bottom", "center_baseline"] = "center_baseline",
        turned: float = 0,
    ) -> Text:
        """Write text next to a point in data coordinates, shifted by `offset`."""
        moved = self.axes.transData + ScaledTranslation(*offset, self.figure.dpi_scale_trans)
        return self.axes.text(*at, text, transform=moved, ha=across, va=up, rotation=turned)

    def fill(self, look: Fill, corner: tuple[float, float], size: tuple[float, float]) -> Rectangle:
        """Draw a rectangle, in data coordinates, in the style of a class."""
        rectangle = Rectangle(corner, *size, fc=look.face, ec=look.edge, hatch=look.hatch, lw=0.5)
        self.axes.add_patch(rectangle)
        return rectangle


@dataclass(frozen=True, slots=True)
class RowLabels:
    """Names and indices left of the axes, both right-aligned; `width` includes both and their gaps."""

    names: list[str]
    indices: list[str]
    index_width: float
    width: float

    @classmethod
    def fit(cls, names: Sequence[str], indices: Sequence[str], limit: float) -> RowLabels:
        """Shorten the names to a width of `limit` inches."""
        short = [shortened(name, limit) for name in names]
        index_width = max(map(text_width, indices))
        gaps = 3 * GAP if index_width else 2 * GAP
        return cls(short, list(indices), index_width, max(map(text_width, short)) + index_width + gaps)

    def draw(self, canvas: Canvas, *, edge: float, centre: float, offset: float) -> None:
        """Write them `offset` inches left of x = `edge`; row r is centred at y = r + `centre`."""
        between = 2.5 * GAP if self.index_width else GAP
        for place, (name, index) in enumerate(zip(self.names, self.indices, strict=True)):
            at = (edge, place + centre)
            canvas.note(index, at, (-offset - GAP, 0), across="right")
            canvas.note(name, at, (-offset - between - self.index_width, 0), across="right")
