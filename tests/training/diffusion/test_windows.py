"""Windows: every cell is predicted once, no border stays in place, and one window is plain sampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from training.config.model import ModelConfig
from training.config.sections import DiffusionConfig
from training.diffusion.guidance import guided
from training.diffusion.noise import normal_noise
from training.diffusion.process import Schedule
from training.diffusion.samplers import Denoise, ddim, dpm_solver_2m
from training.diffusion.windows import cut_axis, grid_offset, in_windows
from training.model.unet import UNet

SCHEDULE = Schedule.of(DiffusionConfig(timesteps=100, sampling_timesteps=20))


@given(st.integers(1, 200), st.integers(1, 64), st.data())
def test_pieces_cover_an_axis_once_and_windows_stay_inside(length: int, side: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, side - 1))
    pieces = cut_axis(length, side, offset)
    covered = [cell for piece in pieces for cell in range(piece.first, piece.end)]
    assert covered == list(range(length))
    for piece in pieces:
        assert 0 <= piece.start <= piece.first < piece.end <= piece.start + min(side, length) <= length


def test_the_mean_number_of_windows_is_hardly_more_than_the_area() -> None:
    """2048 x 2048 px with windows of 512: 16 would cover it, and random offsets need 24.8 on average."""
    along = np.mean([len(cut_axis(256, 64, offset)) for offset in range(64)])
    assert along**2 == pytest.approx(24.8, abs=0.05)


def test_the_grid_moves_evenly_with_level_and_seed() -> None:
    drawn = np.array([grid_offset(seed, level, 8) for seed in range(40) for level in range(100)])
    counts = np.array([np.bincount(axis, minlength=8) for axis in drawn.T])
    assert (abs(counts - 500) < 5 * np.sqrt(500)).all()
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.05


class Pointwise(nn.Module):
    """Predicts each cell from itself and the class under it: windows make no difference."""

    def forward(self, x: Tensor, t: Tensor, mask: Tensor, dropped: Tensor | None = None) -> Tensor:
        classes = mask[:, :, ::8, ::8].float()
        if dropped is not None:
            classes = classes * ~dropped[:, None, None, None]
        return x * 0.5 + classes - t[:, None, None, None] / 100


Solver = Callable[[Denoise, Tensor], Tensor]


def solve(denoise: Denoise, noise: Tensor, sampler: str, seeds: list[int]) -> Tensor:
    if sampler == "dpm":
        return dpm_solver_2m(denoise, SCHEDULE, noise, prediction="v", steps=5)
    return ddim(denoise, SCHEDULE, noise, prediction="v", steps=5, eta=1.0, seeds=seeds)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3), st.integers(4, 21), st.integers(4, 21), st.integers(1, 7), st.sampled_from(["dpm", "ddim"])
)
def test_windows_of_a_local_prediction_are_the_whole(
    images: int, height: int, width: int, batch: int, sampler: str
) -> None:
    seeds = list(range(images))
    generator = torch.Generator().manual_seed(height * width)
    masks = torch.randint(0, 3, (images, 1, height * 8, width * 8), dtype=torch.uint8, generator=generator)
    noise = normal_noise(seeds, (4, height, width), "cpu")
    whole = solve(guided(Pointwise(), masks, 2.0), noise, sampler, seeds)
    denoise = in_windows(lambda part: guided(Pointwise(), part, 2.0), masks, seeds, side=6, batch=batch)
    torch.testing.assert_close(solve(denoise, noise, sampler, seeds), whole)


@pytest.fixture(scope="module")
def network() -> UNet:
    torch.manual_seed(0)
    config = ModelConfig(image_size=64, dim=8, num_classes=3, dim_mults=(1, 2), spatial=True)
    return UNet(config).eval()


@torch.no_grad()
def test_one_window_has_the_bits_of_plain_sampling(network: UNet) -> None:
    masks = torch.randint(0, 3, (2, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    noise = normal_noise([1, 2], (4, 8, 8), "cpu")
    plain = solve(guided(network, masks, 3.0), noise, "dpm", [1, 2])
    denoise = in_windows(lambda part: guided(network, part, 3.0), masks, [1, 2], side=8, batch=2)
    assert torch.equal(solve(denoise, noise, "dpm", [1, 2]), plain)


@torch.no_grad()
def test_borders_of_windows_are_no_seams(network: UNet) -> None:
    """Differences between neighbours on both sides of a border of the last step are those of other neighbours."""
    seeds = list(range(8))
    masks = torch.ones(len(seeds), 1, 256, 256, dtype=torch.uint8)
    noise = normal_noise(seeds, (4, 32, 32), "cpu")
    denoise = in_windows(lambda part: guided(network, part, 1.0), masks, seeds, side=8, batch=64)
    found = dpm_solver_2m(denoise, SCHEDULE, noise, prediction="v", steps=20)
    steps = (found[:, :, :, 1:] - found[:, :, :, :-1]).abs().mean(dim=(1, 2))
    level = SCHEDULE.signal_T.numel() // 20 - 1  # of the last prediction
    crossing = torch.zeros_like(steps, dtype=torch.bool)
    for image, seed in enumerate(seeds):
        _, right = grid_offset(seed, level, 8)
        for piece in cut_axis(32, 8, right)[1:]:
            crossing[image, piece.first - 1] = True
    ratio = steps[crossing].mean() / steps[~crossing].mean()
    assert 0.95 < ratio < 1.05
