"""Noise levels of samplers: from the last to none, evenly in time or in log SNR."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from training.config.sections import DiffusionConfig
from training.diffusion.levels import log_snr_times, sampling_times
from training.diffusion.process import Schedule
from training.diffusion.samplers import log_snr


def test_times_are_those_of_the_reference() -> None:
    assert sampling_times(1000, 250) == np.linspace(-1, 999, 251).astype(int)[::-1].tolist()


@given(st.integers(1, 2000).flatmap(lambda levels: st.tuples(st.just(levels), st.integers(1, levels))))
@settings(deadline=None)
def test_times_fall_from_the_last_level_to_none(sizes: tuple[int, int]) -> None:
    timesteps, steps = sizes
    times = sampling_times(timesteps, steps)
    assert (times[0], times[-1], len(times)) == (timesteps - 1, -1, steps + 1)
    gaps = -np.diff(times)
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("steps", [0, 1001])
def test_steps_without_levels_are_refused(steps: int) -> None:
    with pytest.raises(HistodsError, match="sampling steps do not fit 1000 timesteps; choose from 1 to 1000"):
        sampling_times(1000, steps)


@given(
    st.sampled_from(["cosine", "linear"]),
    st.booleans(),
    st.integers(3, 300).flatmap(lambda levels: st.tuples(st.just(levels), st.integers(1, levels))),
)
@settings(deadline=None)
def test_times_even_in_log_snr_fall_from_the_last_level_to_none(
    kind: str, zero: bool, sizes: tuple[int, int]
) -> None:
    timesteps, steps = sizes
    config = DiffusionConfig(schedule=kind, zero_terminal_snr=zero, timesteps=timesteps, sampling_timesteps=1)
    times = log_snr_times(log_snr(Schedule.of(config)), steps)
    assert (times[0], times[-1], len(times)) == (timesteps - 1, -1, steps + 1)
    assert np.diff(times).max() < 0
    assert steps <= 1 + zero or times[-2] == 0


def test_steps_in_log_snr_are_even_where_levels_are_dense() -> None:
    lambdas = log_snr(Schedule.of(DiffusionConfig(schedule="linear")))
    times = log_snr_times(lambdas, 10)[:-1]
    gaps = np.diff([lambdas[time] for time in times])
    assert gaps.max() / gaps.min() < 1.2
    even = np.diff([lambdas[time] for time in sampling_times(1000, 10)[:-1]])
    assert even.max() / even.min() > 1.5


def test_too_many_steps_in_log_snr_are_refused() -> None:
    with pytest.raises(HistodsError, match="11 sampling steps do not fit 10 timesteps"):
        log_snr_times(np.linspace(-5, 5, 10)[::-1].tolist(), 11)
