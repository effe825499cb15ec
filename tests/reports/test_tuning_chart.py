"""The chart of a tuning shows every trial, the untuned and the best one by name."""

from __future__ import annotations

import numpy as np

from reports.tuning_chart import tuning_figure
from tests.tunings import make_tuning


def test_every_trial_is_drawn_and_the_untuned_and_the_best_have_names() -> None:
    search, final = tuning_figure(make_tuning()).axes[:2]
    assert sorted(np.ravel(line.get_xdata()).tolist() for line in search.lines[1:]) == [[0.2], [0.9], [1.5]]
    assert {text.get_text() for text in final.texts} == {
        "dpm, 25 steps, guidance 3",
        "dpm, 25 steps, no guidance",
    }
