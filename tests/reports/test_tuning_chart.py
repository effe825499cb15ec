"""The chart of a tuning shows every trial, the untuned and the best one by name."""

from __future__ import annotations

import numpy as np

from histods.io.tuning_file import Trial, TrialScore, TuningFile
from reports.tuning_chart import tuning_figure


def _trial(guidance: float, frechet: float, *, final: bool) -> Trial:
    score = TrialScore(frechet=frechet, dice=0.8)
    return Trial(
        sampler="dpm",
        levels="time",
        steps=25,
        guidance=guidance,
        guidance_interval=(0.0, 1.0),
        ema_length=None,
        forwards=50,
        search=score,
        final=score if final else None,
    )


def test_every_trial_is_drawn_and_the_untuned_and_the_best_have_names() -> None:
    trials = (_trial(3, 0.9, final=True), _trial(1, 0.2, final=True), _trial(6, 1.5, final=False))
    tuning = TuningFile(
        run="x", step=1, split="val", slides=5, images=80, search_images=20, forwards=50, seed=0,
        segmenter_steps=1, real_dice=0.9, trials=trials, best=1, better=1.0, changed=True,
    )  # fmt: skip
    search, final = tuning_figure(tuning).axes[:2]
    assert sorted(np.ravel(line.get_xdata()).tolist() for line in search.lines[1:]) == [[0.2], [0.9], [1.5]]
    assert {text.get_text() for text in final.texts} == {
        "dpm, 25 steps, guidance 3",
        "dpm, 25 steps, no guidance",
    }
