"""UniPC, a predictor and corrector with one prediction per step.

Shapes: B images, C channels, H and W of latents.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch

from training.diffusion.samplers import choose_levels, log_snr, predict

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from training.config.sections import Prediction
    from training.diffusion.levels import Levels
    from training.diffusion.process import Schedule
    from training.diffusion.samplers import Denoise


class _Step(NamedTuple):
    """A step that was taken: from where, its x0, the change of x0 per lambda before it, and the last two h."""

    level: int
    x_BCHW: Tensor
    x0_BCHW: Tensor
    slope_BCHW: Tensor | None
    h_before: float
    h: float


@torch.no_grad()
def unipc(
    denoise: Denoise,
    schedule: Schedule,
    noise_BCHW: Tensor,
    *,
    prediction: Prediction,
    steps: int,
    levels: Levels = "time",
    clip: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """UniPC of order 2 with B2(h) = exp(h) - 1: deterministic, with one prediction per step.

    Zhao et al., "UniPC: A unified predictor-corrector framework for fast sampling of diffusion models", NeurIPS
    2023, for predictions of x0. Each step begins as one of DPM-Solver++(2M), see `dpm_solver_2m`. The prediction
    at its end, which the next step needs anyway, then corrects where it has led. The last step ends without noise.

    Args:
        denoise: the prediction function.
        schedule: the noise schedule, on the device.
        noise_BCHW: the initial noise.
        prediction: what `denoise` predicts.
        steps: number of predictions.
        levels: how noise levels are spaced: evenly, or evenly in log(signal / noise).
        clip: bound on predicted x0.
        progress: called with each step and the number of steps.

    Returns:
        x0, float32 of the shape of the noise.

    Raises:
        HistodsError: there are more steps than levels.
    """
    taken = None
    signals, noises, lambdas = schedule.signal_T.tolist(), schedule.noise_T.tolist(), log_snr(schedule)
    times = choose_levels(schedule, prediction, steps, clip, levels)
    x_BCHW = schedule.power_T[times[0]].sqrt() * noise_BCHW
    for step, (now, then) in enumerate(pairwise(times), start=1):
        x0_BCHW = predict(denoise, schedule, prediction, x_BCHW, now, clip)[0]
        if then < 0:
            x_BCHW = x0_BCHW
        else:
            slope_BCHW, h_before = None, math.inf
            if taken is not None:
                x_BCHW = _corrected(taken, x_BCHW, x0_BCHW, noises[now] / noises[taken.level], signals[now])
                h_before = taken.h
            if taken is not None and math.isfinite(h_before):
                slope_BCHW = (x0_BCHW - taken.x0_BCHW) / h_before
            h = lambdas[then] - lambdas[now]
            taken = _Step(now, x_BCHW, x0_BCHW, slope_BCHW, h_before, h)
            direction_BCHW = x0_BCHW if slope_BCHW is None else x0_BCHW + h / 2 * slope_BCHW
            x_BCHW = noises[then] / noises[now] * x_BCHW - signals[then] * math.expm1(-h) * direction_BCHW
        if progress is not None:
            progress(step, len(times) - 1)
    return x_BCHW


def _corrected(taken: _Step, reached_BCHW: Tensor, x0_BCHW: Tensor, noise_ratio: float, signal: float) -> Tensor:
    """Where a step leads with the prediction at its end.

    x' = (noise' / noise) x - signal' B (x0 + p h slope + q (x0' - x0)) with B = exp(-h) - 1. The weights p and q
    solve p + q = b1 and r p + q = b2, where r is minus the ratio of the step before to h; without a step
    before, p is 0 and q is 1/2.
    """
    h = taken.h
    if math.isinf(h):  # from pure noise, a step depends on its first prediction alone
        return reached_BCHW
    curve = math.expm1(-h)
    found_BCHW = 0.5 * (x0_BCHW - taken.x0_BCHW)
    if taken.slope_BCHW is not None:
        first = -curve / h - 1
        b1, b2 = first / curve, -2 * (first / h + 0.5) / curve
        p = (b1 - b2) / (1 + taken.h_before / h)
        found_BCHW = p * h * taken.slope_BCHW + (b1 - p) * (x0_BCHW - taken.x0_BCHW)
    return noise_ratio * taken.x_BCHW - signal * curve * (taken.x0_BCHW + found_BCHW)
