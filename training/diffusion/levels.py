"""Which noise levels a sampler visits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Sequence

Levels = Literal["time", "log-snr"]


def sampling_times(timesteps: int, steps: int) -> list[int]:
    """Noise levels from the last to -1, which means no noise: steps + 1 integers, evenly spaced.

    Raises:
        HistodsError: there are fewer levels than steps.
    """
    if not 1 <= steps <= timesteps:
        raise HistodsError(
            f"{steps} sampling steps do not fit {timesteps} timesteps; choose from 1 to {timesteps}."
        )
    return [step * timesteps // steps - 1 for step in range(steps, -1, -1)]


def log_snr_times(lambdas_T: Sequence[float], steps: int) -> list[int]:
    """Noise levels from the last to the first, then -1, as even in log(signal / noise) as whole levels can be.

    Lu et al., "DPM-Solver: A fast ODE solver for diffusion probabilistic model sampling in around 10 steps",
    NeurIPS 2022. A level of pure noise, whose logarithm is infinite, comes before the even ones.

    Args:
        lambdas_T: log(signal / noise) of each level, falling.
        steps: number of levels.

    Raises:
        HistodsError: there are fewer levels than steps.
    """
    count = len(lambdas_T)
    times = sampling_times(count, steps)[:-1]
    last = count - 1 if math.isfinite(lambdas_T[-1]) else count - 2
    pure = count - 1 - last  # levels of pure noise: 0 or 1
    if steps > 1 + pure:
        low, high = lambdas_T[last], lambdas_T[0]
        wanted = [low + (high - low) * place / (steps - pure - 1) for place in range(steps - pure)]
        times[pure:] = [min(range(count), key=lambda level: abs(lambdas_T[level] - value)) for value in wanted]
    for place in range(1, steps):  # where levels lie far apart, several values have the same nearest one
        times[place] = min(times[place], times[place - 1] - 1)
    return [*(max(time, steps - 1 - place) for place, time in enumerate(times)), -1]
