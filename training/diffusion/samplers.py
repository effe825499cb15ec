"""Samplers, which turn noise into latents with a prediction function; independent of files and networks.

Shapes: B images, C channels, H and W of latents.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from histods.errors import HistodsError
from training.diffusion.levels import log_snr_times, sampling_times
from training.diffusion.noise import normal_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from training.config.sections import Prediction
    from training.diffusion.levels import Levels
    from training.diffusion.process import Schedule

Denoise = Callable[["Tensor", "Tensor"], "Tensor"]
"""Prediction for noisy latents [B, C, H, W] at noise levels [B]."""
_MIN_SIGNAL = 0.05
"""Signal of the level at which sampling from predicted noise begins if x0 is not clipped.

There x0 = (x - noise e) / signal, and the signal is only 4.9e-5 at the last level of the cosine schedule. With an
error of 1 % in the noise, 25 steps of DPM-Solver++ from the last level end in latents with a deviation of 12.06,
and from this level in 1.003; 1 is right. Pure noise replaces x here, although 1/400 of its variance would be
signal.
"""


def sound_levels(schedule: Schedule, prediction: Prediction, clip: float | None) -> int:
    """Number of levels, from the first, that can be sampled: all, unless the signal is too small to divide by."""
    if prediction != "epsilon" or clip is not None:
        return len(schedule.signal_T)
    share_T = schedule.signal_T / schedule.power_T.sqrt()
    return max(int((share_T >= _MIN_SIGNAL).sum()), 1)


@torch.no_grad()
def ddim(
    denoise: Denoise,
    schedule: Schedule,
    noise_BCHW: Tensor,
    *,
    prediction: Prediction,
    steps: int,
    levels: Levels = "time",
    eta: float = 0.0,
    clip: float | None = None,
    seeds: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """DDIM: deterministic with eta 0, as stochastic as DDPM with eta 1.

    Song, Meng and Ermon, "Denoising diffusion implicit models", ICLR 2021, eq. 12 and 16.

    Args:
        denoise: the prediction function.
        schedule: the noise schedule, on the device.
        noise_BCHW: the initial noise: stream 0 of `normal_noise`; step n draws from stream n.
        prediction: what `denoise` predicts.
        steps: number of predictions.
        levels: how noise levels are spaced: evenly, or evenly in log(signal / noise).
        eta: share of DDPM's noise.
        clip: bound on predicted x0. The noise is then recomputed from it, unless the noise is what is predicted.
        seeds: one seed per image, for the noise that eta adds.
        progress: called with each step and the number of steps.

    Returns:
        x0, float32 of the shape of the noise.

    Raises:
        HistodsError: there are more steps than levels, or eta is above 0 and an image has no seed.
    """
    if eta and len(seeds) != len(noise_BCHW):
        raise HistodsError(
            f"eta {eta} needs a seed for each of {len(noise_BCHW)} images, but there are {len(seeds)}; give seeds."
        )
    signals, noises = schedule.signal_T.tolist(), schedule.noise_T.tolist()
    times = choose_levels(schedule, prediction, steps, clip, levels)
    x_BCHW = schedule.power_T[times[0]].sqrt() * noise_BCHW
    for step, (now, then) in enumerate(pairwise(times), start=1):
        x0_BCHW, epsilon_BCHW = predict(denoise, schedule, prediction, x_BCHW, now, clip)
        if then < 0:
            x_BCHW = x0_BCHW
        else:
            # eq. 16, which is noise' sqrt(1 - SNR / SNR'), the deviation of x' given x and x0, on any schedule
            ratio = signals[now] * noises[then] / (signals[then] * noises[now])
            sigma = eta * noises[then] * math.sqrt(max(1 - ratio**2, 0))
            kept = math.sqrt(max(noises[then] ** 2 - sigma**2, 0))
            x_BCHW = signals[then] * x0_BCHW + kept * epsilon_BCHW
            if eta:
                x_BCHW = x_BCHW + sigma * normal_noise(seeds, x_BCHW.shape[1:], x_BCHW.device, stream=step)
        if progress is not None:
            progress(step, len(times) - 1)
    return x_BCHW


@torch.no_grad()
def dpm_solver_2m(
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
    """DPM-Solver++(2M): deterministic, good from about 20 steps.

    Lu et al., "DPM-Solver++: Fast solver for guided sampling of diffusion probabilistic models", arXiv 2211.01095,
    2022, algorithm 2.
    With lambda = log(signal / noise), h the step in lambda and r the ratio of the previous step to h,
    x' = (noise' / noise) x - signal' (exp(-h) - 1) D, where D = (1 + 1 / 2r) x0 - (1 / 2r) x0 of the previous
    step. The first step is of first order, and so is the last, which ends without noise.

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
    signals, noises = schedule.signal_T.tolist(), schedule.noise_T.tolist()
    # Pure noise is at lambda = minus infinity. The step from there is x' = noise' x + signal' x0, and the next
    # one, whose r is infinite, is of first order too: both follow from the formulas.
    lambdas = log_snr(schedule)
    before_BCHW, h_before = None, math.inf
    times = choose_levels(schedule, prediction, steps, clip, levels)
    x_BCHW = schedule.power_T[times[0]].sqrt() * noise_BCHW
    for step, (now, then) in enumerate(pairwise(times), start=1):
        x0_BCHW, _ = predict(denoise, schedule, prediction, x_BCHW, now, clip)
        if then < 0:
            x_BCHW = x0_BCHW
        else:
            h = lambdas[then] - lambdas[now]
            direction_BCHW = x0_BCHW
            if before_BCHW is not None:
                direction_BCHW = x0_BCHW + h / (2 * h_before) * (x0_BCHW - before_BCHW)
            x_BCHW = noises[then] / noises[now] * x_BCHW - signals[then] * math.expm1(-h) * direction_BCHW
            before_BCHW, h_before = x0_BCHW, h
        if progress is not None:
            progress(step, len(times) - 1)
    return x_BCHW


def log_snr(schedule: Schedule) -> list[float]:
    """Half of the logarithm of SNR, lambda = log(signal / noise), at each level; minus infinity for pure noise."""
    pairs = zip(schedule.signal_T.tolist(), schedule.noise_T.tolist(), strict=True)
    return [math.log(signal / noise) if signal else -math.inf for signal, noise in pairs]


def choose_levels(
    schedule: Schedule, prediction: Prediction, steps: int, clip: float | None, levels: Levels
) -> list[int]:
    """Noise levels of a sampler, down to -1 for none; fewer than `steps` if some levels cannot be sampled.

    Raises:
        HistodsError: there are more steps than levels.
    """
    count, sound = len(schedule.signal_T), sound_levels(schedule, prediction, clip)
    chosen = steps if steps > count else min(steps, sound)
    if levels == "log-snr" and chosen <= sound:
        return log_snr_times(log_snr(schedule)[:sound], chosen)
    return sampling_times(sound, chosen)


def predict(
    denoise: Denoise, schedule: Schedule, prediction: Prediction, x_BCHW: Tensor, level: int, clip: float | None
) -> tuple[Tensor, Tensor]:
    """The x0 and the noise that follow from the prediction at a noise level, float32."""
    t_B = torch.full((len(x_BCHW),), level, device=x_BCHW.device)
    output_BCHW = denoise(x_BCHW, t_B).float()
    x0_BCHW = schedule.to_x0(prediction, output_BCHW, x_BCHW, t_B)
    if clip is None:
        return x0_BCHW, schedule.to_noise(prediction, output_BCHW, x_BCHW, t_B)
    x0_BCHW = x0_BCHW.clamp(-clip, clip)
    if prediction == "epsilon":
        return x0_BCHW, output_BCHW
    return x0_BCHW, schedule.to_noise("x0", x0_BCHW, x_BCHW, t_B)
