"""Settings of the optimizer, and its learning rate as a function of the step: no scheduler to save or restore."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from training.config.setting import expect_setting

OptimizerName = Literal["adamw", "adam"]
RateSchedule = Literal["constant", "onecycle"]
_FIRST, _LAST = 1 / 25, 1 / 25 / 1e4
"""Rates of the first and the last step as shares of the highest: OneCycleLR's div_factor and final_div_factor."""
_CALM, _HURRIED = 0.95, 0.85
"""First betas where the rate is lowest and where it is highest: OneCycleLR's max_momentum and base_momentum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """The optimizer and its learning rate.

    Attributes:
        name: `adamw` or `adam`.
        betas: decay of the two moments.
        weight_decay: of AdamW decoupled, of Adam added to the gradient.
        clip_norm: longest gradient of a step.
        schedule: `constant` after a warm-up, which does not depend on how many steps there will be, so that a run
            can be made longer; or `onecycle` (Smith and Topin 2018), which does.
        warmup_steps: of `constant`.
        pct_start: of `onecycle`, the share of steps in which the rate rises.
        cycle_momentum: of `onecycle`, let the first beta fall and rise against the rate.

    Raises:
        HistodsError: a value is out of range.
    """

    name: OptimizerName = "adamw"
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    schedule: RateSchedule = "constant"
    warmup_steps: int = 100
    pct_start: float = 0.3
    cycle_momentum: bool = False

    def __post_init__(self) -> None:
        two_betas = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        _expect(self.name in get_args(OptimizerName), "name", "adamw or adam", self.name)
        _expect(two_betas, "betas", "two numbers, both at least 0 and below 1", self.betas)
        _expect(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0 and finite", self.weight_decay)
        _expect(self.clip_norm > 0, "clip_norm", "above 0", self.clip_norm)
        _expect(self.schedule in get_args(RateSchedule), "schedule", "constant or onecycle", self.schedule)
        _expect(self.warmup_steps >= 0, "warmup_steps", "at least 0", self.warmup_steps)
        _expect(0 < self.pct_start < 1, "pct_start", "above 0 and below 1", self.pct_start)


def _expect(fits: bool, name: str, condition: str, found: object) -> None:
    expect_setting(fits, f"optimizer.{name}", condition, found)


def rate_at(step: int, total_steps: int, lr: float, config: OptimizerConfig) -> float:
    """Learning rate of a step (from 0) of a run of `total_steps`, at most `lr`."""
    if config.schedule == "onecycle":
        return lr * _one_cycle(step, total_steps, config.pct_start, _FIRST, 1.0, _LAST)
    return lr * min(1.0, (step + 1) / (config.warmup_steps + 1))


def beta1_at(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """First beta of a step (from 0): as configured, unless `cycle_momentum` moves it between 0.95 and 0.85."""
    if config.schedule == "onecycle" and config.cycle_momentum:
        return _one_cycle(step, total_steps, config.pct_start, _CALM, _HURRIED, _CALM)
    return config.betas[0]


def _one_cycle(step: int, total_steps: int, rising: float, first: float, middle: float, last: float) -> float:
    """A value that goes along half a cosine from `first` to `middle`, then along another to `last`, and stays.

    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.
    """
    turn, end = rising * total_steps - 1, total_steps - 1
    if step < turn:
        return _along_cosine(first, middle, step / turn)
    return _along_cosine(middle, last, min(1.0, (step - turn) / (end - turn)))


def _along_cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) / 2 * (1 + math.cos(math.pi * share))
