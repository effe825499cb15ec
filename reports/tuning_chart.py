"""The chart of a tuning: distance from real images against faithfulness to masks, of each way of sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from histods.io.atomic import replacing
from histods.palette import INK
from reports.style import GREY, HEAD, SMALL, chart_style
from reports.text_layout import text_width

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from histods.io.tuning_file import TrialScore, TuningFile

_BLUE, _ORANGE = "#2a6f97", "#d98e04"
_WIDTH, _HEIGHT = 7.2, 3.4
_NAMED = 4
"""Trials up to which the best and the untuned one have their names in a panel."""


def draw_tuning(tuning: TuningFile, folder: Path) -> Path:
    """Draw `tuning.png` into a folder; its path."""
    path = folder / "tuning.png"
    figure = tuning_figure(tuning)
    with chart_style(), replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=200)
    return path


def tuning_figure(tuning: TuningFile) -> Figure:
    """Two panels: all trials on the masks of the search, and the best of them on all masks."""
    panels: list[tuple[str, list[tuple[int, TrialScore]]]] = [
        (f"Search: {tuning.search_images:,} masks", [(n, one.search) for n, one in enumerate(tuning.trials)]),
        (
            f"Final comparison: {tuning.images:,} masks",
            [(n, one.final) for n, one in enumerate(tuning.trials) if one.final is not None],
        ),
    ]
    with chart_style():
        figure = Figure(figsize=(_WIDTH, _HEIGHT))
        title = f"Ways of sampling from {tuning.run}, at most {tuning.forwards} passes per image"
        figure.text(0.02, 0.97, title, size=HEAD, weight="bold", va="top")
        for place, (name, scores) in enumerate(panels):
            axes = figure.add_axes((0.09 + 0.49 * place, 0.24, 0.39, 0.54))
            _draw_panel(axes, tuning, scores)
            axes.set_title(name, size=8)
            if not place:
                axes.set_ylabel("Dice of the segmenter")
        for x, (colour, mark, text) in zip(
            (0.09, 0.26, 0.4, 0.56),
            (
                (GREY, "o", "tried"),
                (_ORANGE, "D", "untuned"),
                (_BLUE, "s", "best"),
                (INK, "_", "Dice of real images"),
            ),
            strict=True,
        ):
            legend = figure.add_axes((x, 0.015, 0.02, 0.05))
            legend.axis("off")
            legend.plot([0], [0], mark, color=colour, markersize=5)
            figure.text(x + 0.025, 0.04, text, size=SMALL + 1, va="center")
    return figure


def _draw_panel(axes: Axes, tuning: TuningFile, scores: list[tuple[int, TrialScore]]) -> None:
    axes.axhline(tuning.real_dice, color=INK, linewidth=0.8, linestyle="--")
    for place, score in scores:
        if place == tuning.best:
            axes.plot([score.frechet], [score.dice], "s", color=_BLUE, markersize=6, zorder=3)
        if place == 0:
            axes.plot([score.frechet], [score.dice], "D", color=_ORANGE, markersize=4, zorder=4)
        if place not in (0, tuning.best):
            axes.plot([score.frechet], [score.dice], "o", color=GREY, markersize=4)
    axes.set_xlabel("FD-own: Fréchet distance to real images")
    axes.margins(0.15, 0.2)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    low, high = axes.get_xlim()
    for place, score in scores:
        if len(scores) > _NAMED or place not in (0, tuning.best):
            continue
        name = tuning.trials[place].text
        # The point divides its name as it divides the axis, so that no name reaches out of the panel.
        before = text_width(name, SMALL) * 72 * (score.frechet - low) / (high - low)
        axes.annotate(
            name,
            (score.frechet, score.dice),
            (-before, 6 if place == tuning.best else -11),
            textcoords="offset points",
            size=SMALL,
        )
