"""The chart of a tuning shows every trial, the untuned and the best one by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.tuning_chart import tuning_figure
from tests.tunings import make_trial, make_tuning


def test_every_trial_is_drawn_and_the_untuned_and_the_best_have_names() -> None:
    search, final = tuning_figure(make_tuning()).axes[:2]
    assert sorted(np.ravel(line.get_xdata()).tolist() for line in search.lines[1:]) == [[0.2], [0.9], [1.5]]
    assert {text.get_text() for text in final.texts} == {
        "dpm, 25 steps, guidance 3",
        "dpm, 25 steps, no guidance",
    }


@pytest.mark.parametrize("places", [(0.1, 0.2), (0.2, 0.1), (0.1, 0.15)])
def test_names_of_trials_stay_in_their_panel(places: tuple[float, float]) -> None:
    """The longest name is almost as wide as the panel, wherever its point is."""
    first, last = places
    best = replace(
        make_trial(1.5, last, final=True),
        sampler="unipc",
        levels="log-snr",
        guidance_interval=(0.2, 0.8),
        ema_length=0.15,
    )
    figure = tuning_figure(
        make_tuning(trials=(make_trial(3, first, final=True), best, make_trial(3, 0.2, final=True)))
    )
    figure.draw_without_rendering()
    panel = figure.axes[1].get_window_extent()
    for text in figure.axes[1].texts:
        extent = text.get_window_extent()
        assert panel.x0 <= extent.x0
        assert extent.x1 <= panel.x1
