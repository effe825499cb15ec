"""An addition is one entry: a toy schedule and a toy conditioning go all the way without another line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch import nn

from histods.errors import HistodsError
from histods.steps.shard import shard
from tests.training.trained_runs import run_tiny
from training import load_model, sample
from training.diffusion.process import NOISE_SCHEDULES, NoisePath, NoiseSchedule, Schedule
from training.exchange.export_diffusers import export, read_scheduler
from training.model.conditioning import CONDITIONINGS, Condition

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from tests.conftest import Site
    from training.config.model import ModelConfig


def quadratic_betas(timesteps: int) -> Tensor:
    return torch.linspace(0.01, 0.14, timesteps, dtype=torch.float64) ** 2


def trigonometric(timesteps: int) -> tuple[Tensor, Tensor]:
    angles = torch.arange(1, timesteps + 1, dtype=torch.float64) / timesteps * torch.pi / 2
    return angles.cos(), angles.sin()


class Brightness:
    """Tells the network one number per sample, the mean label, and where labels are odd."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self.channels = 1

    def parts(self) -> dict[str, nn.Module | nn.Parameter]:
        return {"brightness": nn.Linear(1, 4 * self._config.dim)}

    def read(self, net: Any, mask_B1HW: Tensor, dropped_B: Tensor, size: tuple[int, int]) -> Condition:
        cells = nn.functional.interpolate(mask_B1HW.float(), size=size, mode="nearest")
        cells = cells.masked_fill(dropped_B[:, None, None, None], 0)
        regions = [cells > 0]
        for _ in range(1, len(self._config.dim_mults)):
            regions.append(nn.functional.max_pool2d(regions[-1].float(), 2) > 0)
        return Condition(net.brightness(cells.mean(dim=(1, 2, 3))[:, None]), cells % 2, tuple(regions))


@pytest.fixture
def small(tmp_path: Path, new_site: Callable[..., Site]) -> Site:
    """A dataset with its shards, and masks to sample for in `masks`."""
    site = new_site(tmp_path / "site", pairs=20, size=32)
    shard(workspace=site.workspace, map=site.map, workers=1)
    (tmp_path / "masks").mkdir()
    for number in range(2):
        Image.fromarray(np.full((32, 32), number, np.uint8)).save(tmp_path / "masks" / f"{number}.png")
    return site


def test_a_noise_schedule_is_one_entry(small: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, shards, masks_folder = small, small.workspace / "shards", tmp_path / "masks"
    with pytest.raises(HistodsError, match="is 'quadratic'; it must be cosine, linear or rectified_flow"):
        run_tiny(site.workspace, shards, "diffusion.schedule=quadratic", "run.steps=2")
    monkeypatch.setitem(NOISE_SCHEDULES, "quadratic", NoiseSchedule(quadratic_betas))
    run = run_tiny(site.workspace, shards, "diffusion.schedule=quadratic", "run.steps=2")
    out = export(run.folder, out=tmp_path / "export", workspace=site.workspace)
    theirs = DDIMScheduler.from_pretrained(out / "scheduler")
    ours = Schedule.of(run.config.diffusion)
    torch.testing.assert_close(theirs.alphas_cumprod.sqrt().float(), ours.signal_T, rtol=1e-5, atol=1e-6)
    assert read_scheduler(out).schedule == "quadratic"
    images = sample(run=run.folder, masks=masks_folder, steps=2, out=tmp_path / "images", workspace=site.workspace)
    assert images.written == 2


def test_a_path_is_one_entry(small: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NOISE_SCHEDULES, "trigonometric", NoisePath(trigonometric))
    run = run_tiny(small.workspace, small.workspace / "shards", "diffusion.schedule=trigonometric", "run.steps=2")
    signal, noise = trigonometric(1000)
    schedule = Schedule.of(run.config.diffusion)
    assert torch.equal(schedule.signal_T, signal.float())
    assert torch.equal(schedule.noise_T, noise.float())
    out = tmp_path / "images"
    assert (
        sample(run=run.folder, masks=tmp_path / "masks", steps=2, out=out, workspace=small.workspace).written == 2
    )
    with pytest.raises(
        HistodsError, match="v on the schedule trigonometric, for which diffusers has no scheduler"
    ):
        export(run.folder, out=tmp_path / "export", workspace=small.workspace)


def test_a_conditioning_is_one_class(small: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, shards, masks_folder = small, small.workspace / "shards", tmp_path / "masks"
    asked = "model.class_conditioning=brightness"
    with pytest.raises(
        HistodsError, match="model.class_conditioning is 'brightness'; it must be histogram, max or proportions"
    ):
        run_tiny(site.workspace, shards, asked, "run.steps=2")
    monkeypatch.setitem(CONDITIONINGS, "brightness", Brightness)
    run = run_tiny(site.workspace, shards, asked, "run.steps=6", "run.validate_every=6", "optimizer.lr=0.01")
    model = load_model(run.folder)
    assert not [name for name, _ in model.named_parameters() if name.startswith("classes")]
    weight = dict(model.named_parameters())["brightness.weight"]
    assert weight.shape == (32, 1)
    masks = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    masks[1, :, :16] = 3
    x, times = torch.randn(1, 4, 4, 4).expand(2, -1, -1, -1), torch.full((2,), 500)
    with torch.no_grad():
        told, dropped = model(x, times, masks), model(x, times, masks, torch.tensor([True, True]))
    assert not torch.equal(told[0], told[1])
    torch.testing.assert_close(dropped[0], dropped[1])
    images = sample(run=run.folder, masks=masks_folder, steps=2, out=tmp_path / "images", workspace=site.workspace)
    assert images.written == 2
