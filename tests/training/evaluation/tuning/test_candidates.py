"""The cost of a way of sampling is the passes that its sampler makes, and steps fill what it may cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from histods.errors import HistodsError
from training.config.sections import DiffusionConfig
from training.diffusion.guidance import guided, levels_within
from training.diffusion.process import Schedule
from training.diffusion.samplers import dpm_solver_2m
from training.diffusion.unipc import unipc
from training.evaluation.tuning.candidates import GUIDANCES, INTERVALS, Candidate, Passes, guidances, intervals
from training.inference.sampling import Sampling

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = DiffusionConfig(timesteps=100, sampling_timesteps=50)
SCHEDULE = Schedule.of(CONFIG)
PASSES = Passes(schedule=SCHEDULE, prediction="v", clip=None)


class Counting(nn.Module):
    """Counts predictions for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, latents: Tensor, *_: Tensor) -> Tensor:
        self.count += len(latents)
        return torch.zeros_like(latents)


def _made(sampling: Sampling) -> int:
    network = Counting()
    denoise = guided(
        network,
        torch.zeros(1, 1, 8, 8, dtype=torch.uint8),
        sampling.guidance,
        levels_T=levels_within(SCHEDULE, *sampling.guidance_interval),
    )
    solve: Any = {"dpm": dpm_solver_2m, "unipc": unipc}[sampling.sampler]
    noise = torch.zeros(1, 1, 2, 2)
    solve(denoise, SCHEDULE, noise, prediction="v", steps=sampling.steps, levels=sampling.levels)
    return network.count


@settings(max_examples=25, deadline=None)
@given(
    guidance=st.sampled_from(GUIDANCES),
    interval=st.sampled_from([(0.0, 1.0), *INTERVALS]),
    sampler=st.sampled_from(["dpm", "unipc"]),
    levels=st.sampled_from(["time", "log-snr"]),
    most=st.integers(2, 40),
)
def test_passes_are_those_that_the_sampler_makes_and_one_step_more_would_be_too_many(
    guidance: float, interval: tuple[float, float], sampler: Any, levels: Any, most: int
) -> None:
    how = Sampling.of(CONFIG, guidance=guidance, sampler=sampler, levels=levels)
    filled = PASSES.fill(how if guidance == 1 else replace(how, guidance_interval=interval), most)
    assert PASSES.of(filled) == _made(filled) <= most
    assert PASSES.of(replace(filled, steps=filled.steps + 1)) > most


def test_one_pass_is_no_guided_step() -> None:
    with pytest.raises(HistodsError, match="--forwards is 1; it must be at least 2"):
        PASSES.fill(Sampling.of(CONFIG), 1)


def test_no_guidance_has_no_interval_and_intervals_have_guidance() -> None:
    best = Candidate(sampling=Sampling.of(CONFIG, guidance_interval=(0.2, 0.8)))
    assert [one.sampling.guidance_interval for one in guidances(best) if one.sampling.guidance == 1] == [(0, 1)]
    alone = Candidate(sampling=Sampling.of(CONFIG, guidance=1.0))
    assert {one.sampling.guidance for one in intervals(alone)} == {2.0}
