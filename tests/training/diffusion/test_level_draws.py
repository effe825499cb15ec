"""How noise levels are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from histods.sampling.philox import below, philox4x64
from histods.sampling.streams import Stream
from training.config.sections import LevelDraw
from training.diffusion.level_draws import draw_levels, logit_normal

WORDS = philox4x64(5, np.arange(200_000), Stream.NOISE_LEVELS)[:, 0]


@pytest.mark.parametrize("timesteps", [2, 3, 50, 1000])
@pytest.mark.parametrize("levels", ["uniform", "logit_normal"])
def test_every_level_that_is_drawn_exists(timesteps: int, levels: LevelDraw) -> None:
    extremes = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    drawn = draw_levels(np.concatenate([extremes, WORDS[:1000]]), timesteps, levels)
    assert drawn.dtype == np.int64
    assert (drawn[0], drawn[2], drawn[3]) == (0, timesteps // 2, timesteps - 1)
    assert 0 <= drawn.min() <= drawn.max() < timesteps


def test_uniform_levels_are_those_of_earlier_versions() -> None:
    assert np.array_equal(draw_levels(WORDS, 1000, "uniform"), below(WORDS, np.full(len(WORDS), 1000)))


def test_logits_of_logit_normal_levels_are_standard_normal() -> None:
    levels = draw_levels(WORDS, 1000, "logit_normal")
    t = (levels + 0.5) / 1000
    logits = np.log(t / (1 - t))
    assert logits.mean() == pytest.approx(0, abs=0.01)
    assert logits.std() == pytest.approx(1, abs=0.01)
    shares = np.histogram(logits, [-np.inf, -2, -1, 0, 1, 2, np.inf])[0] / len(logits)
    assert shares == pytest.approx([0.0228, 0.1359, 0.3413, 0.3413, 0.1359, 0.0228], abs=0.005)


@pytest.mark.parametrize("timesteps", [2, 7, 1000])
def test_the_distribution_is_that_of_an_independent_implementation(timesteps: int) -> None:
    ends = torch.arange(1, timesteps + 1, dtype=torch.float64) / timesteps
    expected = torch.special.ndtr(torch.logit(ends)).numpy()
    assert logit_normal(timesteps) == pytest.approx(expected, abs=1e-12)
    assert logit_normal(timesteps)[-1] == 1


def test_a_level_is_a_function_of_its_word_alone() -> None:
    whole = draw_levels(WORDS[:100], 1000, "logit_normal")
    one_by_one = [draw_levels(WORDS[place : place + 1], 1000, "logit_normal")[0] for place in range(100)]
    assert whole.tolist() == one_by_one
