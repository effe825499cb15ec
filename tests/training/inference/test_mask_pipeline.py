"""Masks of a network: smooth borders without other classes, and the proportions that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from tests.training.mask_runs import planted
from training.config.model import ModelConfig
from training.config.sections import DiffusionConfig
from training.data.masks import one_hot, reduce_by_majority
from training.diffusion.process import Schedule
from training.evaluation.masks import measure_masks, strip_share
from training.inference.mask_pipeline import (
    SETTLING_ROUNDS,
    MaskPipeline,
    enlarge,
    fill_shares,
    settling_levels,
    tilt,
)
from training.inference.sampling import Sampling
from training.latents.latent_space import LatentSpace
from training.model.unet import UNet

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from training.config.sections import Prediction

NAN = float("nan")
FACTOR = 8


def planes_of(mask: NDArray[np.uint8], num_classes: int = 4) -> Tensor:
    return one_hot(torch.from_numpy(mask)[None, None], num_classes)[0]


def network(num_classes: int = 4) -> UNet:
    torch.manual_seed(0)
    config = ModelConfig(
        image_size=16, dim=8, num_classes=num_classes, channels=num_classes, dim_mults=(1, 2),
        class_conditioning="proportions",
    )  # fmt: skip
    return UNet(config).eval()


def pipeline(model: UNet, *, steps: int = 4, batch: int = 8) -> MaskPipeline:
    diffusion = DiffusionConfig(guidance_scale=1.0)
    return MaskPipeline(
        model=model,
        schedule=Schedule.of(diffusion),
        space=LatentSpace.preset("one_hot"),
        prediction="v",
        sampling=Sampling.of(diffusion, steps=steps),
        device=torch.device("cpu"),
        window=16,
        batch=batch,
    )


def strips(masks: list[NDArray[np.uint8]]) -> float:
    found = strip_share(measure_masks(masks, 4, strip=FACTOR))
    assert found is not None
    return found


def test_enlarged_planes_put_no_other_classes_on_borders_unlike_grey_levels() -> None:
    small = [planted(number) for number in range(20)]
    real = [np.kron(mask, np.ones((FACTOR, FACTOR), np.uint8)) for mask in small]
    ours = [enlarge(planes_of(mask), FACTOR, 256, 256) for mask in small]
    grey = [np.asarray(cv2.resize(mask, (256, 256)), np.uint8) for mask in small]
    assert strips(ours) < strips(real) + 0.02
    assert strips(grey) > 0.15


@pytest.mark.parametrize("slope", [0.1, 0.25, 0.6, 1.0])
def test_borders_are_smooth(slope: float) -> None:
    """Less deviation from a straight border than steps of cells have, above all where the steps are short."""
    rows, columns = np.mgrid[:512, :512]
    line = 200 + slope * (columns[0] - 100)
    mask = (rows > line).astype(np.uint8)
    small = reduce_by_majority(mask, FACTOR)

    def deviation(large: NDArray[np.uint8]) -> float:
        inside = slice(32, -32)
        kept = (line > 32) & (line < 480)
        return float(np.std(((large == 0).sum(axis=0) - line)[kept][inside]) / FACTOR)

    ours = deviation(enlarge(planes_of(small, 2), FACTOR, 512, 512))
    steps = deviation(np.kron(small, np.ones((FACTOR, FACTOR), np.uint8)))
    assert ours < (0.85 if slope < 0.2 else 0.5) * steps


def test_a_strip_of_one_cell_survives() -> None:
    small = np.zeros((16, 16), np.uint8)
    small[8:], small[7] = 2, 1
    assert (enlarge(planes_of(small, 3), 4, 64, 64) == 1).sum(axis=0).min() >= 2


def test_enlarging_in_parts_leaves_no_seams_and_crops() -> None:
    mask = np.kron(planted(1), np.ones((5, 1), np.uint8))  # 160 rows: three parts
    whole = enlarge(planes_of(mask), 2, 319, 61)
    assert whole.shape == (319, 61)
    for top in (0, 30, 96):
        part = enlarge(planes_of(mask[top : top + 64]), 2, 128, 61)
        assert np.array_equal(part[8:-8], whole[2 * top + 8 : 2 * top + 120])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([(0.3, NAN, 0.1, 0.5), (NAN, 0.0, NAN, 0.9), (0.4, 0.0, 0.0, 0.6), (0.02,) + (NAN,) * 3]),
)
def test_tilted_probabilities_have_the_means_asked_for(seed: int, wanted: tuple[float, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    planes = (3 * torch.randn(1, 4, 8, 8, generator=generator)).softmax(dim=1)
    target = torch.tensor([wanted])
    found = tilt(planes, target)
    known = ~target[0].isnan()
    assert torch.allclose(found.sum(dim=1), torch.ones(1, 8, 8), atol=1e-5)
    assert torch.allclose(found.mean(dim=(2, 3))[0][known], target[0][known], atol=0.02)


def test_without_a_wish_nothing_is_tilted_or_filled() -> None:
    planes = torch.rand(1, 4, 8, 8).softmax(dim=1)
    free = torch.full((1, 4), NAN)
    assert torch.allclose(tilt(planes, free), planes)
    assert torch.equal(fill_shares(planes, free), planes)


def test_filled_planes_have_the_shares_asked_for() -> None:
    generator = torch.Generator().manual_seed(3)
    planes = torch.randn(4, 32, 32, generator=generator).mul(0.3).softmax(dim=0)
    planes[2] *= 0.1  # likely nowhere
    wanted = torch.tensor([NAN, 0.0, 0.2, 0.5])
    large = enlarge(fill_shares(planes[None], wanted[None])[0], 2, 64, 64)
    shares = np.bincount(large.ravel(), minlength=4) / large.size
    assert shares[1] == 0
    assert np.abs(shares[2:] - [0.2, 0.5]).max() < 0.03


@pytest.mark.parametrize("prediction", ["v", "flow"])
def test_masks_settle_from_twice_as_much_noise_as_signal_to_a_tenth(prediction: Prediction) -> None:
    schedule = Schedule.of(DiffusionConfig(prediction=prediction))
    levels = settling_levels(schedule)
    ratios = [float(schedule.noise_T[level] / schedule.signal_T[level]) for level in levels]
    assert len(levels) == SETTLING_ROUNDS
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] == pytest.approx(2, rel=0.02)
    assert ratios[-1] == pytest.approx(0.1, rel=0.02)


def test_progress_counts_the_rounds_in_which_masks_settle() -> None:
    told: list[tuple[int, int]] = []
    pipeline(network(), steps=2)(torch.full((1, 4), NAN), (16, 16), [1], lambda *args: told.append(args))
    assert told == [(number, 2 + SETTLING_ROUNDS) for number in range(1, 3 + SETTLING_ROUNDS)]


def test_a_mask_does_not_depend_on_others_of_its_batch() -> None:
    make = pipeline(network())
    wanted = torch.tensor([[0.5, NAN, NAN, 0.1], [NAN] * 4])
    both = make(wanted, (16, 16), [3, 4])
    alone = make(wanted[1:], (16, 16), [4])
    assert torch.allclose(both[1], alone[0], atol=1e-4)
    assert not torch.allclose(both[0], both[1], atol=0.1)


def test_masks_beyond_the_window_are_made_in_windows_of_any_number_at_once() -> None:
    model = network()
    wanted = torch.tensor([[0.5, NAN, 0.25, 0.25]])
    one, many = (pipeline(model, batch=batch)(wanted, (20, 48), [1]) for batch in (1, 8))
    assert one.shape == (1, 4, 20, 48)
    assert torch.allclose(one, many, atol=1e-4)


def test_fifty_five_classes_and_two() -> None:
    for count in (2, 55):
        planes = pipeline(network(count), steps=2)(torch.full((1, count), NAN), (16, 16), [0])
        assert planes.shape == (1, count, 16, 16)
        assert planes.min() >= 0
        assert planes.max() <= 1


def test_diverged_weights_are_said() -> None:
    model = network()
    for weight in model.parameters():
        weight.data.fill_(NAN)
    with pytest.raises(HistodsError, match="not finite: its weights have diverged"):
        pipeline(model)(torch.full((1, 4), NAN), (16, 16), [0])
