"""Inpainting: the network sees the known part with the noise of its level, and sampling ends there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch

from training.config.sections import DiffusionConfig
from training.diffusion.inpainting import keeping
from training.diffusion.noise import normal_noise
from training.diffusion.process import Schedule
from training.diffusion.samplers import ddim, dpm_solver_2m
from training.diffusion.unipc import unipc

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from training.config.sections import Prediction

SHAPE, SEEDS = (4, 6, 8), [1, 2]
SOLVERS: dict[str, Callable[..., Tensor]] = {
    "ddim": ddim,
    "ddpm": partial(ddim, eta=1.0, seeds=SEEDS),
    "dpm": dpm_solver_2m,
    "unipc": unipc,
}
LEVELS = Schedule.of(DiffusionConfig())
CHANGE = torch.zeros(2, 1, 6, 8, dtype=torch.bool)
CHANGE[0, :, 2:4, 3:], CHANGE[1, :, :, :2] = True, True


def network(x: Tensor, t: Tensor) -> Tensor:
    return torch.sin(x + 0.5 * x.roll(1, -1) + t[:, None, None, None] / 300) * 0.8


def solve(solver: str, prediction: Prediction, change: Tensor, denoise: Any = network) -> tuple[Tensor, Tensor]:
    """What was sampled, and what was to be kept."""
    noise, known = normal_noise(SEEDS, SHAPE, "cpu"), 0.7 * normal_noise([8, 9], SHAPE, "cpu")
    filled = keeping(denoise, LEVELS, prediction, known_BChw=known, noise_BChw=noise, change_B1hw=change)
    return SOLVERS[solver](filled, LEVELS, noise, prediction=prediction, steps=12), known


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_not_to_change_ends_as_it_is_known(solver: str, prediction: Prediction) -> None:
    found, known = solve(solver, prediction, CHANGE)
    kept = ~CHANGE.expand_as(known)
    torch.testing.assert_close(found[kept], known[kept], rtol=0, atol=2e-3)
    assert (found - known)[~kept].abs().mean() > 0.1


@pytest.mark.parametrize("solver", SOLVERS)
def test_where_all_is_to_change_the_bits_are_those_of_plain_sampling(solver: str) -> None:
    found, _ = solve(solver, "v", torch.ones_like(CHANGE))
    plain = SOLVERS[solver](network, LEVELS, normal_noise(SEEDS, SHAPE, "cpu"), prediction="v", steps=12)
    assert torch.equal(found, plain)


def test_the_network_sees_the_known_part_with_the_noise_of_each_level() -> None:
    seen: list[tuple[int, Tensor]] = []

    def noted(x: Tensor, t: Tensor) -> Tensor:
        seen.append((int(t[0]), x))
        return network(x, t)

    _, known = solve("dpm", "v", CHANGE, noted)
    noise, kept = normal_noise(SEEDS, SHAPE, "cpu"), ~CHANGE.expand_as(known)
    assert len(seen) == 12
    for level, x in seen:
        expected = LEVELS.signal_T[level] * known + LEVELS.noise_T[level] * noise
        assert torch.equal(x[kept], expected[kept])
