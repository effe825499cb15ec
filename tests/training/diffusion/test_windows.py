"""Windows: every cell is predicted once, no border stays in place, and one window is plain sampling."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from training.config.model import ModelConfig
from training.config.sections import DiffusionConfig
from training.diffusion.guidance import guided, one_pass_per_class
from training.diffusion.noise import normal_noise
from training.diffusion.process import Schedule
from training.diffusion.samplers import Denoise, ddim, dpm_solver_2m
from training.diffusion.windows import Plan, cut_axis, grid_offset, in_windows, moving_grid, random_patches
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


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**63 - 1), st.integers(0, 999))
def test_random_patches_cover_everything_at_each_step(
    height: int, width: int, side: int, seed: int, level: int
) -> None:
    found = random_patches(height, width, side, seed, level)
    first = torch.full((height, width), -1)
    for number, (row, column) in enumerate(found):
        for piece, length in ((row, height), (column, width)):
            assert 0 <= piece.start == piece.first < piece.end <= length
            assert piece.end - piece.start == min(side, length)
        first[row.first : row.end, column.first : column.end] = number
    assert (first >= 0).all()
    assert set(first.flatten().tolist()) == set(range(len(found))), (
        "each lies around a cell that none covered before"
    )


def test_random_patches_repeat_and_differ_by_seed_and_level() -> None:
    assert random_patches(40, 40, 8, 1, 5) == random_patches(40, 40, 8, 1, 5)
    assert len({tuple(random_patches(40, 40, 8, seed, level)) for seed in range(3) for level in range(3)}) == 9


def test_the_first_random_patch_lies_around_any_cell_with_the_same_probability() -> None:
    """Side 3 of 5 cells: the cells 0 and 1 give the window at 0, 2 the one at 1, and 3 and 4 the one at 2."""
    starts = np.array([random_patches(5, 5, 3, seed, 0)[-1][0].start for seed in range(2000)])
    counts = np.bincount(starts, minlength=3)
    assert (abs(counts - [800, 400, 800]) < 5 * np.sqrt(480)).all()


def test_a_cell_keeps_the_prediction_of_the_first_patch_around_it() -> None:
    """The network says where its window lies: the number of its first cell, by the mask."""

    def number(masks: Tensor) -> Denoise:
        return lambda x, _t: masks[:, :, :1, :1].expand(-1, 4, *x.shape[2:]).float()

    masks = torch.arange(12 * 12).reshape(1, 1, 12, 12)
    denoise = in_windows(number, masks, [7], side=5, batch=3, plan=random_patches)
    found = denoise(torch.zeros(1, 4, 12, 12), torch.tensor([3]))[0, 0]
    expected = torch.full((12, 12), -1.0)
    for row, column in reversed(random_patches(12, 12, 5, 7, 3)):
        part = expected[row.first : row.end, column.first : column.end]
        part[part < 0] = row.start * 12 + column.start
    assert torch.equal(found, expected)


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
    st.integers(1, 3),
    st.integers(4, 21),
    st.integers(4, 21),
    st.integers(1, 7),
    st.sampled_from(["dpm", "ddim"]),
    st.sampled_from([moving_grid, random_patches]),
)
def test_windows_of_a_local_prediction_are_the_whole(
    images: int, height: int, width: int, batch: int, sampler: str, plan: Plan
) -> None:
    seeds = list(range(images))
    generator = torch.Generator().manual_seed(height * width)
    masks = torch.randint(0, 3, (images, 1, height * 8, width * 8), dtype=torch.uint8, generator=generator)
    noise = normal_noise(seeds, (4, height, width), "cpu")
    whole = solve(guided(Pointwise(), masks, 2.0), noise, sampler, seeds)
    denoise = in_windows(lambda part: guided(Pointwise(), part, 2.0), masks, seeds, side=6, batch=batch, plan=plan)
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


@pytest.mark.parametrize("batch", [1, 3, 64])
@torch.no_grad()
def test_random_patches_of_a_network_do_not_depend_on_the_batch(network: UNet, batch: int) -> None:
    """An image gets the same prediction beside another one and alone, whatever the number of windows at once."""
    double = copy.deepcopy(network).double()
    masks = torch.randint(0, 3, (2, 1, 160, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    noise = normal_noise([1, 2], (4, 20, 20), "cpu").double()

    def made(images: slice, at_once: int) -> Tensor:
        denoise = in_windows(
            lambda part: one_pass_per_class(double, part, 3.0),
            masks[images],
            [1, 2][images],
            side=8,
            batch=at_once,
            plan=random_patches,
        )
        return denoise(noise[images], torch.tensor([50]))

    torch.testing.assert_close(made(slice(0, 2), batch)[1:], made(slice(1, 2), 5), rtol=0, atol=1e-6)


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
