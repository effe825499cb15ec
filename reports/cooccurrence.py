"""The co-occurrence matrix: which classes are in the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba

from histods.palette import INK, class_fill
from reports.class_table import largest
from reports.style import AXIS_LABEL, FEW, GAP, MARGIN, PAGE, RULE, SMALL, SOME, TOP, Canvas, RowLabels, Size
from reports.text_layout import percent_text, text_width, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from reports.class_table import ClassSystem

CLOSE = 0.2
"""In cells with a smaller side, the column's index is rotated."""
MIN_SIDE = 0.118
"""Minimum distance of rows, below which names would touch."""
STRIP, CHIP = 0.16, 0.1
"""Space for the class colours along the matrix, and their thickness."""
FAINT = "#e6e6e6"
DARK_SHARE = 58
"""Share in percent from which white text has more contrast with a cell than dark text."""
SHARES = LinearSegmentedColormap.from_list("shares", ["#d6e6f4", "#9dc6e0", "#4a97c9", "#1764ab", "#08306b"])
"""One hue from light to dark, readable in grey print and with any colour vision. White means none."""


def cooccurrence_figure(system: ClassSystem, *, size: Size = PAGE) -> Figure:
    """A matrix: of the images that hold the row's class, the share that also hold the column's.

    With up to `FEW` classes, cells also show the number of images if there is space; the total of each row is on
    its right. If there are too many classes for the page, those with the most pixels are drawn.
    """
    assert system.together is not None  # noqa: S101 - only systems with images have this chart
    drawn = largest(system.drawn, _most_rows(size))
    places = [row for row, one in enumerate(system.counted) if one in set(drawn)]
    together = system.together[np.ix_(places, places)]
    number = len(drawn)
    own = np.diag(together)
    shares = 100 * together / np.maximum(own, 1)[:, None]
    labels = RowLabels.fit(
        [row.name for row in drawn], [str(row.index) for row in drawn], _name_width(number, size)
    )
    totals = [f"{count:,}" for count in own]
    beside = 2 * GAP + max(map(text_width, ("Images", *totals)))
    left = MARGIN + labels.width + STRIP
    cell, texts = _fit_cells(together, shares, size.width - left - beside - MARGIN)
    side = cell * number
    explained = f"Of the images with the row's {system.noun}, those that also have the column's (%; white: none)"
    key = wrapped(explained, size.width - 2 * MARGIN)
    close = cell < CLOSE
    header = STRIP + GAP + (labels.index_width if close else 0.1)
    bottom = 0.48 + AXIS_LABEL * len(key)
    canvas = Canvas.around(side, side, left=left, right=size.width - left - side, bottom=bottom, top=TOP + header)
    kind = "Classes" if system.noun == "class" else "Labels"
    canvas.title(f"{kind} in the same images", system.title_name, system.say_drawn(number))
    _draw_cells(canvas.axes, shares, together == 0, texts)
    labels.draw(canvas, edge=0, centre=0.5, offset=STRIP)
    chip = CHIP / cell
    for place, (row, total) in enumerate(zip(drawn, totals, strict=True)):
        look = class_fill(row.index)
        canvas.fill(look, (-1.3 * chip, place), (chip, 1)).set_clip_on(False)
        canvas.fill(look, (place, -1.3 * chip), (1, chip)).set_clip_on(False)
        turned = 90 if close else 0
        canvas.note(str(row.index), (place + 0.5, 0), (0, STRIP), across="center", up="bottom", turned=turned)
        canvas.note(total, (number, place + 0.5), (beside, 0), across="right")
    canvas.note("Images", (number, 0), (beside, STRIP), across="right", up="bottom")
    _draw_key(canvas, key)
    return canvas.figure


def _most_rows(size: Size) -> int:
    """Maximum number of rows of a matrix, with the shortest names."""
    return int((size.width - 2 * MARGIN - size.matrix_names - STRIP - 0.9) / MIN_SIDE)


def _name_width(number: int, size: Size) -> float:
    """Width for names in inches, which is larger with fewer rows."""
    return max(size.matrix_names, min(0.55 * size.names, MIN_SIDE * (_most_rows(size) - number)))


def _fit_cells(
    together: NDArray[np.int64], shares: NDArray[np.float64], room: float
) -> tuple[float, dict[tuple[int, int], str]]:
    """Side of a cell in inches and the texts of cells, as far as `room` inches for all columns allow."""
    number = len(shares)
    texts = _cell_texts(together, shares)
    for said in (texts, {place: text.split("\n")[-1].removesuffix(" %") for place, text in texts.items()}):
        lines = [line for text in said.values() for line in text.split("\n")]
        widest = max((text_width(line, SMALL) for line in lines), default=0)
        if said and number * (widest + 1.5 * GAP) <= room:
            return min(max(widest + 2 * GAP, 4.4 / number, 0.24), 0.8, room / number), said
    return min(0.24, room / number), {}


def _cell_texts(together: NDArray[np.int64], shares: NDArray[np.float64]) -> dict[tuple[int, int], str]:
    """Texts of the cells (row, column); empty for pairs that never co-occur, and in charts of many classes."""
    if len(shares) > SOME:
        return {}
    texts = {}
    for row, column in np.argwhere(together).tolist():
        share = float(shares[row, column])
        if len(shares) <= FEW:
            count = f"{together[row, column]:,}"
            texts[row, column] = count if row == column else f"{count}\n{percent_text(share)}"
        elif row != column:
            texts[row, column] = "<1" if share < 1 else f"{share:.0f}"
    return texts


def _draw_cells(
    axes: Axes, shares: NDArray[np.float64], absent: NDArray[np.bool_], texts: dict[tuple[int, int], str]
) -> None:
    """Fill the matrix: shares as blue, the diagonal grey, absent pairs white."""
    number = len(shares)
    here = np.argwhere(~absent)
    colours = SHARES(shares[~absent] / 100)
    colours[here[:, 0] == here[:, 1]] = to_rgba(RULE)
    corners = here[:, None, ::-1] + np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    cells = PolyCollection(corners, facecolors=colours, linewidth=0, zorder=0.5)
    axes.add_collection(cells, autolim=False)
    axes.set(xlim=(0, number), ylim=(number, 0), xticks=[], yticks=[])
    # Above the cells, so that rows and columns can be followed through filled and empty cells.
    axes.hlines(range(1, number), 0, number, colors=FAINT, linewidth=0.4, zorder=0.6)
    axes.vlines(range(1, number), 0, number, colors=FAINT, linewidth=0.4, zorder=0.6)
    for (row, column), text in texts.items():
        colour = "white" if row != column and shares[row, column] > DARK_SHARE else INK
        middle: Literal["center", "center_baseline"] = "center" if "\n" in text else "center_baseline"
        axes.text(column + 0.5, row + 0.5, text, size=SMALL, color=colour, ha="center", va=middle)


def _draw_key(canvas: Canvas, lines: Sequence[str]) -> None:
    """Colour key below the matrix."""
    wide, high = canvas.figure.get_size_inches()
    matrix = canvas.axes.get_position()
    below = 0.1 + AXIS_LABEL * len(lines)
    key = canvas.figure.add_axes((matrix.x0, (below + 0.16) / high, min(2.4 / wide, matrix.width), 0.09 / high))
    key.imshow(np.linspace(0, 100, 256)[None], cmap=SHARES, aspect="auto", extent=(0, 100, 0, 1))
    key.set(xticks=[0, 50, 100], yticks=[])
    canvas.axis_label(lines)
