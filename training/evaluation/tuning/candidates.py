"""Ways of sampling to compare, each with as many steps as its passes through the network allow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from histods.errors import HistodsError
from training.diffusion.guidance import levels_within
from training.diffusion.samplers import choose_levels, sound_levels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.config.sections import Prediction
    from training.diffusion.levels import Levels
    from training.diffusion.process import Schedule
    from training.inference.sampling import Sampler, Sampling

GUIDANCES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
INTERVALS = ((0.2, 0.8), (0.0, 0.8), (0.3, 0.7))
"""Shares of noise between which to guide, besides all: Kynkaanniemi et al. (2024) find guidance harmful at high
noise, and largely unnecessary at low noise."""
SOLVERS: tuple[tuple[Sampler, Levels], ...] = tuple(product(("dpm", "unipc"), ("time", "log-snr")))
LENGTHS = (0.03, 0.05, 0.1, 0.15, 0.2)
"""Averages of weights to try where snapshots can make them."""
_EVERYWHERE = (0.0, 1.0)
_LEAST_GUIDANCE = 2.0
"""Guidance to try intervals with where none at all is best so far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A way of sampling.

    Attributes:
        sampling: sampler, steps and guidance.
        ema_length: average of weights of this length; None for the run's own.
    """

    sampling: Sampling
    ema_length: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Passes:
    """Counts passes through the network: two per guided step, one per step without guidance.

    Attributes:
        schedule: the noise schedule.
        prediction: what the network predicts.
        clip: bound on predicted x0, if any.
    """

    schedule: Schedule
    prediction: Prediction
    clip: float | None

    def of(self, sampling: Sampling) -> int:
        """The passes that one image takes."""
        levels = choose_levels(self.schedule, self.prediction, sampling.steps, self.clip, sampling.levels)[:-1]
        if sampling.guidance == 1:
            return len(levels)
        if sampling.guidance_interval == _EVERYWHERE:
            return 2 * len(levels)
        within = levels_within(self.schedule, *sampling.guidance_interval)
        return len(levels) + sum(within[level] for level in levels)

    def fill(self, sampling: Sampling, most: int) -> Sampling:
        """The same with as many steps as `most` passes allow.

        Raises:
            HistodsError: they do not allow a single step.
        """
        for steps in range(min(most, sound_levels(self.schedule, self.prediction, self.clip)), 0, -1):
            tried = replace(sampling, steps=steps)
            if self.of(tried) <= most:
                return tried
        raise HistodsError(f"--forwards is {most}; it must be at least 2, which is one step with guidance.")


def guidances(best: Candidate) -> Iterator[Candidate]:
    """Other scales of guidance."""
    for scale in GUIDANCES:
        interval = best.sampling.guidance_interval if scale != 1 else _EVERYWHERE
        yield replace(best, sampling=replace(best.sampling, guidance=scale, guidance_interval=interval))


def intervals(best: Candidate) -> Iterator[Candidate]:
    """Guidance at some noise levels only."""
    scale = best.sampling.guidance if best.sampling.guidance != 1 else _LEAST_GUIDANCE
    for interval in INTERVALS:
        yield replace(best, sampling=replace(best.sampling, guidance=scale, guidance_interval=interval))


def solvers(best: Candidate) -> Iterator[Candidate]:
    """Other samplers, and levels spaced otherwise."""
    for sampler, levels in SOLVERS:
        yield replace(best, sampling=replace(best.sampling, sampler=sampler, levels=levels))


def stronger(best: Candidate) -> Iterator[Candidate]:
    """Other scales on the interval that was found, where it is not all levels."""
    if best.sampling.guidance_interval != _EVERYWHERE:
        yield from guidances(best)
