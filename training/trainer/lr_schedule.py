"""The learning rate and first beta as functions of the step, so there is no scheduler state to save."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.config.sections import OptimizerConfig

_FIRST, _LAST = 1 / 25, 1 / 25 / 1e4
"""Rates of the first and the last step as shares of the highest: OneCycleLR's div_factor and final_div_factor."""
_CALM, _HURRIED = 0.95, 0.85
"""First betas where the rate is lowest and where it is highest: OneCycleLR's max_momentum and base_momentum."""


def rate_at(step: int, total_steps: int, lr: float, config: OptimizerConfig) -> float:
    """Learning rate of a step (from 0) in a run of `total_steps`; its peak is `lr`."""
    if config.schedule == "onecycle":
        return lr * _one_cycle(step, total_steps, config.pct_start, _FIRST, 1.0, _LAST)
    return lr * min(1.0, (step + 1) / (config.warmup_steps + 1))


def beta1_at(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """First beta of a step (from 0): as configured, unless `cycle_momentum` varies it between 0.95 and 0.85."""
    if config.schedule == "onecycle" and config.cycle_momentum:
        return _one_cycle(step, total_steps, config.pct_start, _CALM, _HURRIED, _CALM)
    return config.betas[0]


def _one_cycle(step: int, total_steps: int, rising: float, first: float, middle: float, last: float) -> float:
    """A value that follows half a cosine from `first` to `middle`, then another to `last`, and stays there.

    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.
    """
    turn, end = rising * total_steps - 1, total_steps - 1
    if step < turn:
        return _along_cosine(first, middle, step / turn)
    return _along_cosine(middle, last, min(1.0, (step - turn) / (end - turn)))


def _along_cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) / 2 * (1 + math.cos(math.pi * share))
