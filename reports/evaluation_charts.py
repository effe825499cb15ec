"""Charts of an evaluation: distances beside their floor, and what the segmenter takes each class for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from histods.io.atomic import replacing
from histods.io.evaluation_file import METRICS
from histods.palette import INK
from reports.style import GREY, HEAD, RULE, SMALL, chart_style
from reports.text_layout import shortened

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from histods.io.evaluation_file import Distance, EvaluationFile

_BLUE, _ORANGE = "#2a6f97", "#d98e04"
_WIDTH, _NAMES = 7.2, 1.3
_ABOVE, _ROW, _BELOW = 0.35, 0.62, 0.3  # inches above the axes of distances, of each of them, and of the legend
_MAX_LABELLED = 20
"""Classes up to which cells of a matrix hold numbers."""


def draw_evaluation(evaluation: EvaluationFile, folder: Path) -> tuple[Path, ...]:
    """Draw `distances.png`, and `confusion.png` where there are masks.

    Args:
        evaluation: what was found.
        folder: where to write.

    Returns:
        The files written.
    """
    figures = {"distances": distances_figure(evaluation)}
    if evaluation.faithfulness is not None and evaluation.faithfulness.classes:
        figures["confusion"] = confusion_figure(evaluation)
    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        with chart_style(), replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=200)
        written.append(path)
    return tuple(written)


def distances_figure(evaluation: EvaluationFile) -> Figure:
    """For each metric, the value of all images with its interval, that of a half, and the floor of real halves."""
    known = [(title, evaluation.distances[name]) for name, title in METRICS.items()]
    known = [(title, one) for title, one in known if one.value is not None]
    with chart_style():
        high = _ABOVE + _ROW * max(1, len(known)) + _BELOW
        figure = Figure(figsize=(_WIDTH, high))
        figure.text(0.02, 1 - 0.1 / high, "Generated and real images", size=HEAD, weight="bold", va="top")
        for place, (title, one) in enumerate(known):
            bottom = high - _ABOVE - (place + 0.5) * _ROW
            axes = figure.add_axes((0.3, bottom / high, 0.66, _ROW / 2 / high))
            _draw_distance(axes, title, one)
        for x, (colour, mark, text) in zip(
            (0.3, 0.52, 0.74),
            ((INK, "o", "all images, 95 %"), (_ORANGE, "D", "half of them"), (_BLUE, "s", "real halves")),
            strict=True,
        ):
            legend = figure.add_axes((x, 0.05 / high, 0.02, 0.2 / high))
            legend.axis("off")
            legend.plot([0], [0], mark, color=colour, markersize=4)
            figure.text(x + 0.025, 0.15 / high, text, size=SMALL + 1, va="center")
    return figure


def _draw_distance(axes: Axes, title: str, one: Distance) -> None:
    values = [value for value in (one.value, one.low, one.high, one.of_half, one.floor) if value is not None]
    low, high = min(0.0, *values), max(*values, 1e-12)
    axes.set_xlim(low - 0.03 * (high - low), high + 0.05 * (high - low))
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=SMALL, length=2)
    if one.low is not None and one.high is not None:
        axes.plot([one.low, one.high], [0, 0], color=INK, linewidth=1)
    for value, mark, colour in ((one.floor, "s", _BLUE), (one.of_half, "D", _ORANGE), (one.value, "o", INK)):
        if value is not None:
            axes.plot([value], [0], mark, color=colour, markersize=4, clip_on=False)
    axes.text(-0.03, 0.5, title, transform=axes.transAxes, ha="right", va="center")


def confusion_figure(evaluation: EvaluationFile) -> Figure:
    """Two matrices: of each class of the masks, the share of pixels that the segmenter gives to each class."""
    scores = evaluation.faithfulness
    assert scores is not None  # noqa: S101 - the caller has looked
    counts = np.array([scores.confusion, scores.real_confusion], dtype=np.float64)
    seen = np.flatnonzero(counts.any(axis=(0, 1)) | counts.any(axis=(0, 2)))  # in a mask, or by the segmenter
    names = [evaluation.classes[label] for label in seen]
    with chart_style():
        side = min(2.4, 0.5 + 0.3 * len(names))
        figure = Figure(figsize=(_WIDTH, side + _NAMES + 0.95))
        wide, high = figure.get_size_inches()
        figure.text(
            0.02, 1 - 0.1 / high, "Masks and segmenter, % of a mask's class", size=HEAD, weight="bold", va="top"
        )
        for place, title in enumerate(("generated images", "real images")):
            axes = figure.add_axes(
                ((1.5 + place * (side + 0.5)) / wide, (_NAMES + 0.35) / high, side / wide, side / high)
            )
            _draw_matrix(axes, counts[place][np.ix_(seen, seen)], names, named=place == 0)
            axes.set_title(title, size=8)
        figure.text(
            0.02,
            0.06 / high,
            "Rows: class of the mask; columns: class by the segmenter.",
            size=SMALL + 1,
            color=GREY,
        )
    return figure


def _draw_matrix(axes: Axes, counts: NDArray[np.float64], names: list[str], *, named: bool) -> None:
    totals = counts.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    colours = LinearSegmentedColormap.from_list("shares", ["#ffffff", _BLUE])
    axes.imshow(shares, cmap=colours, vmin=0, vmax=100, aspect="equal")
    places = range(len(names))
    short = [shortened(name, _NAMES) for name in names]
    axes.set_xticks(places, short, rotation=90, fontsize=SMALL + 1)
    axes.set_yticks(places, short if named else [""] * len(names), fontsize=SMALL + 1)
    axes.tick_params(length=0)
    axes.spines[:].set_color(RULE)
    if len(names) > _MAX_LABELLED:
        return
    for row in places:
        for column in places:
            share = shares[row, column]
            if share >= 0.5:
                text = f"{share:.0f}"
                axes.text(
                    column, row, text, ha="center", va="center", size=SMALL, color="w" if share > 55 else INK
                )
