"""From noise to pixels: what the network predicts comes out as the autoencoder decodes it, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from histods.errors import HistodsError
from training.autoencoders.linear import LinearAutoencoder
from training.config.sections import DiffusionConfig
from training.diffusion.process import Schedule
from training.diffusion.samplers import choose_levels
from training.diffusion.windows import moving_grid, random_patches
from training.inference.pipeline import SamplingPipeline
from training.inference.sampling import Sampling
from training.latents.latent_space import LatentSpace

CONFIG = DiffusionConfig(timesteps=100, sampling_timesteps=20, guidance_scale=2.0)
SPACES = {
    "default": LatentSpace.preset("default", mean=[0.3, -0.1, 0.2, 0.0], std=[2.0, 0.5, 1.0, 3.0]),
    "paper": LatentSpace.preset("paper"),
    "fork": LatentSpace.preset("fork"),
}


class Known(nn.Module):
    """Predicts x0: a value by the mask of each cell; nothing where the condition is dropped."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values
        self.calls: list[tuple[int, torch.dtype]] = []

    def forward(self, x: Tensor, _t: Tensor, mask: Tensor, dropped: Tensor | None = None) -> Tensor:
        multiplied = x[:, :1].mul(0).flatten(1) @ torch.zeros(x[0, 0].numel(), 1)
        self.calls.append((len(x), multiplied.dtype))
        cells = mask[:, 0, ::8, ::8].long()
        answer = self.values[cells].permute(0, 3, 1, 2)
        return answer if dropped is None else answer * ~dropped[:, None, None, None]


@pytest.fixture(scope="module")
def autoencoder() -> LinearAutoencoder:
    generator = torch.Generator().manual_seed(0)
    return LinearAutoencoder.fit([torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8, generator=generator)])


def make(
    model: nn.Module, autoencoder: Any, space: LatentSpace, *, half: bool = False, **options: Any
) -> SamplingPipeline:
    return SamplingPipeline(
        model=model,
        autoencoder=autoencoder,
        schedule=Schedule.of(CONFIG),
        space=space,
        prediction="x0",
        sampling=Sampling.of(CONFIG, **options),
        device=torch.device("cpu"),
        half=half,
    )


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("options", [{}, {"sampler": "ddim"}, {"sampler": "ddim", "eta": 1.0}], ids=str)
def test_predicted_latents_become_the_pixels_that_they_stand_for(
    autoencoder: LinearAutoencoder, name: str, options: dict[str, Any]
) -> None:
    """Guidance 2 over a null of zeros doubles them; scale, shift and image range are undone, in this order."""
    space = SPACES[name]
    values = torch.tensor([[0.0, 0.1, -0.2, 0.05], [0.3, -0.3, 0.2, 0.1], [-0.25, 0.15, 0.0, -0.1]])
    mask = torch.tensor([[0, 1], [2, 1]], dtype=torch.uint8).repeat_interleave(8, 0).repeat_interleave(8, 1)
    model = Known(values)
    images = make(model, autoencoder, space, **options)(mask[None, None], [3])
    x0 = 2 * values[mask[::8, ::8].long()].permute(2, 0, 1)[None]
    mean = torch.tensor(space.mean or [0.0] * 4).reshape(1, 4, 1, 1)
    std = torch.tensor(space.std or [1.0] * 4).reshape(1, 4, 1, 1)
    decoded = autoencoder.decode((x0 * std + mean - space.shift) / space.scale)
    shares = (decoded[0].permute(1, 2, 0).numpy() - space.image_low) / (1 - space.image_low)
    assert images.shape == (1, 16, 16, 3)
    assert images.dtype == np.uint8
    assert np.abs(images[0] - 255 * shares.clip(0, 1)).max() <= 0.51
    assert {count for count, _ in model.calls} == {2}, "condition and null are one batch"
    assert len(model.calls) == Sampling.of(CONFIG, **options).steps


def test_half_precision_is_for_the_network_alone(autoencoder: LinearAutoencoder) -> None:
    model = Known(torch.zeros(3, 4))
    mask = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    full = make(model, autoencoder, SPACES["default"])(mask, [1, 2])
    half = make(model, autoencoder, SPACES["default"], half=True)(mask, [1, 2])
    assert [kind for _, kind in model.calls[:: len(model.calls) - 1]] == [torch.float32, torch.bfloat16]
    assert np.array_equal(full, half)


def test_progress_counts_steps(autoencoder: LinearAutoencoder) -> None:
    told: list[tuple[int, int]] = []
    painter = make(Known(torch.zeros(3, 4)), autoencoder, SPACES["default"], steps=4)
    painter(torch.zeros(1, 1, 16, 16, dtype=torch.uint8), [1], lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_what_is_no_number_is_no_picture(autoencoder: LinearAutoencoder) -> None:
    painter = make(Known(torch.full((3, 4), float("nan"))), autoencoder, SPACES["default"], steps=2)
    with pytest.raises(HistodsError, match="numbers that are not finite"):
        painter(torch.zeros(1, 1, 16, 16, dtype=torch.uint8), [1])


def test_large_images_of_the_reference_are_made_of_random_patches(autoencoder: LinearAutoencoder) -> None:
    """One class only: each window is a condition and a null. Other sampling has as many as the grid."""
    mask = torch.ones(1, 1, 160, 128, dtype=torch.uint8)
    for reference, plan in ((True, random_patches), (False, moving_grid)):
        model = Known(torch.zeros(3, 4))
        painter = make(model, autoencoder, SPACES["default"], reference=reference, sampler="ddim", steps=3)
        levels = choose_levels(painter.schedule, "x0", 3, None, "time")[:-1]
        for batch in (1, 5):
            model.calls.clear()
            replace(painter, window=6, batch=batch)(mask, [7])
            windows = sum(len(plan(20, 16, 6, 7, level)) for level in levels)
            assert sum(count for count, _ in model.calls) == 2 * windows
