"""The matrix of co-occurrence: which classes lie in the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba

from histods.palette import INK
from reports.canvas import FEW, GAP, MARGIN, RULE, SMALL, SOME, TOP, Canvas, RowLabels
from reports.text import percent_text, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from reports.tables import ClassSystem

NAME_WIDTH = 2.4
STRIP, CHIP = 0.16, 0.1
"""Room for the class colours along the matrix, and their thickness."""
FAINT = "#e6e6e6"
DARK_SHARE = 58
"""From here on, in percent, white text has more contrast with a cell than dark text."""
VECTOR_CELLS = 100
"""With more classes, cells are an image inside the SVG, which would else take tens of megabytes."""
SHARES = LinearSegmentedColormap.from_list("shares", ["#d6e6f4", "#9dc6e0", "#4a97c9", "#1764ab", "#08306b"])
"""One hue from light to dark: read in grey print and with any colour vision. White is left for none."""


def cooccurrence_figure(system: ClassSystem) -> Figure:
    """A matrix: of the images that hold the row's class, the share that also hold the column's.

    Up to `FEW` classes a cell also says how many images these are; right of each row stand its images.
    """
    assert system.together is not None  # noqa: S101 - only systems with images have this chart
    number = len(system.drawn)
    own = np.diag(system.together)
    shares = 100 * system.together / np.maximum(own, 1)[:, None]
    texts = _cell_texts(system.together, shares)
    cell = _cell_side(number, texts)
    labels = RowLabels.fit(system.drawn, NAME_WIDTH)
    key = f"Of the images that hold the row's {system.noun}, those\nthat also hold the column's (%; white: none)"
    totals = [f"{count:,}" for count in own]
    beside = 2 * GAP + max(map(text_width, ("Images", *totals)))
    left, side = MARGIN + labels.width + STRIP, cell * number
    header = STRIP + GAP + (labels.index_width if number > SOME else 0.1)
    canvas = Canvas.around(
        side,
        side,
        left=left,
        right=max(beside, max(map(text_width, key.split("\n"))) - side) + MARGIN,
        bottom=0.8,
        top=TOP + header,
    )
    canvas.title(system, f"images that hold two {'classes' if system.noun == 'class' else 'labels'}")
    _draw_cells(canvas.axes, shares, system.together == 0, texts)
    labels.draw(canvas, edge=0, centre=0.5, offset=STRIP)
    chip = CHIP / cell
    for place, (row, total) in enumerate(zip(system.drawn, totals, strict=True)):
        canvas.fill(row.index, (-1.3 * chip, place), (chip, 1)).set_clip_on(False)
        canvas.fill(row.index, (place, -1.3 * chip), (1, chip)).set_clip_on(False)
        turned = 90 if number > SOME else 0
        canvas.note(str(row.index), (place + 0.5, 0), (0, STRIP), across="center", up="bottom", turned=turned)
        canvas.note(total, (number, place + 0.5), (beside, 0), across="right")
    canvas.note("Images", (number, 0), (beside, STRIP), across="right", up="bottom")
    _draw_key(canvas, key)
    return canvas.figure


def _cell_side(number: int, texts: dict[tuple[int, int], str]) -> float:
    """Side of a cell in inches: room for its text, or as close as the rows' names allow."""
    if number > FEW:
        return 0.24 if number <= SOME else 0.122
    widest = max(text_width(line, SMALL) for text in texts.values() for line in text.split("\n"))
    return max(widest + 2 * GAP, min(0.8, 4.4 / number))


def _cell_texts(together: NDArray[np.int64], shares: NDArray[np.float64]) -> dict[tuple[int, int], str]:
    """What the cells (row, column) say; pairs that never meet, and charts of many classes, say nothing."""
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
    cells = PolyCollection(corners, facecolors=colours, linewidth=0, zorder=0.5, rasterized=number > VECTOR_CELLS)
    axes.add_collection(cells, autolim=False)
    axes.set(xlim=(0, number), ylim=(number, 0), xticks=[], yticks=[])
    # Above the cells: rows and columns can be followed through full and empty cells alike.
    axes.hlines(range(1, number), 0, number, colors=FAINT, linewidth=0.4, zorder=0.6)
    axes.vlines(range(1, number), 0, number, colors=FAINT, linewidth=0.4, zorder=0.6)
    for (row, column), text in texts.items():
        colour = "white" if row != column and shares[row, column] > DARK_SHARE else INK
        middle: Literal["center", "center_baseline"] = "center" if "\n" in text else "center_baseline"
        axes.text(column + 0.5, row + 0.5, text, size=SMALL, color=colour, ha="center", va=middle)


def _draw_key(canvas: Canvas, label: str) -> None:
    """Colour key below the matrix."""
    wide, high = canvas.figure.get_size_inches()
    matrix = canvas.axes.get_position()
    key = canvas.figure.add_axes((matrix.x0, 0.58 / high, min(2.4 / wide, matrix.width), 0.09 / high))
    key.imshow(np.linspace(0, 100, 256)[None], cmap=SHARES, aspect="auto", extent=(0, 100, 0, 1))
    key.set(xticks=[0, 50, 100], yticks=[])
    canvas.figure.text(matrix.x0, 0.09 / high, label, va="bottom")
