"""What a run shares follows from its settings: the noise schedule, on its device, and the precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from training.config.sections import DiffusionConfig, RunConfig, TrainConfig
from training.diffusion.process import Schedule
from training.distributed import Process
from training.latents.latent_space import LatentSpace
from training.trainer.setup import RunSetup


def setup(device: str = "cpu", **sections: Any) -> RunSetup:
    nothing: Any = None
    return RunSetup(
        config=TrainConfig(**sections),
        process=Process(device=torch.device(device)),
        source=nothing,
        encoder=nothing,
        space=LatentSpace(),
        folder=Path("nowhere"),
    )


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_the_schedule_is_that_of_the_settings_on_the_device(name: str) -> None:
    diffusion = DiffusionConfig(schedule=name, timesteps=50, sampling_timesteps=50)
    x, noise, times = torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), torch.tensor([0, 49])
    expected = Schedule.of(diffusion).add_noise(x, noise, times)
    assert torch.equal(setup(diffusion=diffusion).schedule.add_noise(x, noise, times), expected)
    there = setup("meta", diffusion=diffusion).schedule.add_noise(*(one.to("meta") for one in (x, noise, times)))
    assert there.device.type == "meta"


def test_only_bf16_is_half_precision() -> None:
    assert setup(run=RunConfig(precision="bf16")).half
    assert not setup(run=RunConfig(precision="fp32")).half
