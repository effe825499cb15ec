"""What all charts share: style, margins, title, and the names left of their rows. Lengths are inches.

Only Matplotlib's object interface is used: no pyplot, no window, no figure kept alive.
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

from histods.palette import INK, class_fill
from reports.tables import RAW
from reports.text import BODY, FONT, shortened, text_width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from histods.records import ClassCount
    from reports.tables import ClassSystem

MARGIN, GAP = 0.12, 0.06
"""Around the figure, and between texts."""
TOP = 0.42
"""Room for the title and the line below it."""
HEAD, SMALL = 9.0, 6.0
"""Sizes of the title and of the smallest text, in points."""
GREY, RULE = "#5f5f5f", "#dcdcdc"
FEW, SOME = 12, 30
"""Up to `FEW` classes rows are roomy; beyond `SOME` they are as close as text allows."""
STYLE: dict[Any, Any] = {  # Matplotlib types the keys of its settings one by one
    "font.family": ["sans-serif"],  # the SVG then names a fallback for readers without the font
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
    "svg.hashsalt": "histods",
}


@contextmanager
def chart_style() -> Iterator[None]:
    """Draw and save with these settings, whatever the user's own are, and give theirs back."""
    with mpl.rc_context(), warnings.catch_warnings():
        # A script that DejaVu Sans lacks is drawn as boxes in the PNG; SVG and CSV keep its text.
        warnings.filterwarnings("ignore", message="Glyph")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


@dataclass(frozen=True, slots=True)
class Canvas:
    """A figure and its axes, with room around them."""

    figure: Figure
    axes: Axes

    @classmethod
    def around(
        cls, width: float, height: float, *, left: float, right: float, bottom: float, top: float
    ) -> Canvas:
        """Make axes of this width and height, and a figure that leaves this room around them."""
        wide, high = left + width + right, bottom + height + top
        figure = Figure(figsize=(wide, high))
        return cls(figure, figure.add_axes((left / wide, bottom / high, width / wide, height / high)))

    def title(self, system: ClassSystem, what: str) -> None:
        """Say what the figure shows and, where not all classes are drawn, which."""
        wide, high = self.figure.get_size_inches()
        name = "Source labels" if system.name == RAW else system.name
        text = shortened(f"{name}: {what}", wide - 2 * MARGIN, HEAD, "bold")
        self.figure.text(MARGIN / wide, 1 - MARGIN / high, text, size=HEAD, weight="bold", va="top")
        if len(system.drawn) < len(system.classes):
            text = f"The {len(system.drawn)} of {len(system.classes):,} with most pixels"
            place = 1 - (MARGIN + 0.17) / high
            self.figure.text(MARGIN / wide, place, text, size=SMALL, color=GREY, va="top")

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
        """Write text beside a place in data coordinates, moved by `offset`."""
        moved = self.axes.transData + ScaledTranslation(*offset, self.figure.dpi_scale_trans)
        return self.axes.text(*at, text, transform=moved, ha=across, va=up, rotation=turned)

    def fill(self, index: int, corner: tuple[float, float], size: tuple[float, float]) -> Rectangle:
        """Draw a rectangle, in data coordinates, that looks like a class."""
        look = class_fill(index)
        rectangle = Rectangle(corner, *size, fc=look.face, ec=look.edge, hatch=look.hatch, lw=0.5)
        self.axes.add_patch(rectangle)
        return rectangle


@dataclass(frozen=True, slots=True)
class RowLabels:
    """Names and indices left of the axes, both set against the right; `width` holds both and their gaps."""

    names: list[str]
    indices: list[str]
    index_width: float
    width: float

    @classmethod
    def fit(cls, rows: Sequence[ClassCount], limit: float) -> RowLabels:
        """Shorten the names to a width of `limit` inches."""
        names = [shortened(row.name, limit) for row in rows]
        indices = [str(row.index) for row in rows]
        index_width = max(map(text_width, indices))
        return cls(names, indices, index_width, max(map(text_width, names)) + index_width + 3 * GAP)

    def draw(self, canvas: Canvas, *, edge: float, centre: float, offset: float) -> None:
        """Write them `offset` inches left of x = `edge`; row r is centred at y = r + `centre`."""
        for place, (name, index) in enumerate(zip(self.names, self.indices, strict=True)):
            at = (edge, place + centre)
            canvas.note(index, at, (-offset - GAP, 0), across="right")
            canvas.note(name, at, (-offset - 2.5 * GAP - self.index_width, 0), across="right")
