"""A tuning as `tuning.json` holds it, for tests of what reads it."""

from __future__ import annotations

from typing import Any

from histods.io.tuning_file import Trial, TrialScore, TuningFile


def make_trial(guidance: float, frechet: float, *, final: bool) -> Trial:
    """A way of sampling with a scale of guidance, and its distance."""
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


def make_tuning(**changes: Any) -> TuningFile:
    """A tuning of three trials, of which the second is best."""
    values: dict[str, Any] = {
        "run": "x",
        "step": 1,
        "split": "val",
        "slides": 5,
        "images": 80,
        "search_images": 20,
        "forwards": 50,
        "seed": 0,
        "segmenter_steps": 1,
        "real_dice": 0.9,
        "trials": (
            make_trial(3, 0.9, final=True),
            make_trial(1, 0.2, final=True),
            make_trial(6, 1.5, final=False),
        ),
        "best": 1,
        "better": 1.0,
        "changed": True,
    }
    return TuningFile(**(values | changes))
