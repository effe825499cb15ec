"""How errors at each noise level are weighed, and what that does to the colours of samples.

Run `python -m tests.benchmarks.weighting OUT`; `HISTODS_REAL_DATA` names a folder of real patches, which are tried
beside generated ones. Small networks are trained alike but for the weights of the levels, each from several seeds,
and sample as many images as are compared. OUT gets `weighting.json` and a sheet of samples for each set.

What a network gets wrong at high noise is the mean colour of a whole image, so that is measured, of each image:
the mean (in grey levels) and the spread of brightness against that of the real ones, the distance between the
two distributions of brightness (Wasserstein-1, grey levels), and the Frechet distance between colours of 4x4
cells, which also sees how colours lie in an image.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import histods
from histods.synthetic import make_demo
from training.autoencoders.linear import LinearAutoencoder
from training.config.model import ModelConfig
from training.config.sections import DiffusionConfig, EmaConfig
from training.diffusion.process import Schedule
from training.diffusion.samplers import dpm_solver_2m
from training.latents.latent_space import LatentSpace
from training.model.unet import UNet
from training.trainer.ema import Ema

SIDE = 64
GAMMA = 5.0
CELLS = 4


def weights_of(schedule: Schedule) -> dict[str, Tensor]:
    """Weights [T] of squared errors of v."""
    snr_T = (schedule.signal_T.double() / schedule.noise_T.double()).square()
    hard_T = schedule.loss_weights("v", GAMMA).double()
    soft_T = snr_T * GAMMA / (snr_T + GAMMA) / (snr_T + 1)
    return {
        "min-SNR 5": hard_T.float(),
        "min-SNR 5, floor 0.1": hard_T.clamp_min(0.1).float(),
        "min-SNR 5, floor 0.3": hard_T.clamp_min(0.3).float(),
        "soft min-SNR 5": soft_T.float(),
        "none (plain v)": torch.ones_like(hard_T).float(),
    }


def cut(images: list[Path], side: int, reduce: int) -> Tensor:
    """Patches uint8 [N, 3, side, side], cut with half of each overlapping the next and reduced."""
    patches = []
    for path in images:
        with Image.open(path) as image:
            small = image.convert("RGB").reduce(reduce)
        pixels = np.asarray(small)
        height, width = pixels.shape[:2]
        patches += [
            pixels[y : y + side, x : x + side]
            for y in range(0, height - side + 1, side // 2)
            for x in range(0, width - side + 1, side // 2)
        ]
    return torch.from_numpy(np.stack(patches).transpose(0, 3, 1, 2).copy())


def load(roots: list[Path], out: Path, reduce: int) -> Tensor:
    """Patches of all images of some datasets that an audit has nothing against."""
    images: list[Path] = []
    for root in roots:
        samples = histods.audit(root, workspace=out / root.name).manifest.to_polars()
        used = samples.filter((samples["role"] != "excluded") & samples["image_path"].is_not_null())
        images += [root / path for path in used["image_path"]]
    return cut(images, SIDE, reduce)


class Trial:
    """One set of patches, encoded once."""

    def __init__(self, images_BCHW: Tensor) -> None:
        self.images = images_BCHW
        self.autoencoder = LinearAutoencoder.fit([images_BCHW])
        z_BCHW = self.autoencoder.encode(images_BCHW.float() / 127.5 - 1)[0]
        mean, std = z_BCHW.mean(dim=(0, 2, 3)), z_BCHW.std(dim=(0, 2, 3))
        self.space = LatentSpace.preset("default", mean=mean.tolist(), std=std.tolist())
        self.x_BCHW = self.space.normalise(z_BCHW)
        self.real = self.decode(self.x_BCHW)  # what the autoencoder keeps of them is what can be learnt

    def decode(self, x_BCHW: Tensor) -> Tensor:
        """Images [B, 3, H, W] of 0 to 255."""
        return ((self.autoencoder.decode(self.space.denormalise(x_BCHW)) + 1) * 127.5).clamp(0, 255)

    def train(self, weights_T: Tensor, schedule: Schedule, *, seed: int, steps: int, batch: int) -> UNet:
        """A network trained with these weights, averaged."""
        torch.manual_seed(seed)
        module = UNet(ModelConfig(image_size=SIDE, dim=16, num_classes=1, dim_mults=(1, 2)))
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
        average = Ema(EmaConfig(), module)
        mask_B1HW = torch.zeros(batch, 1, *self.x_BCHW.shape[2:], dtype=torch.long)
        for step in range(1, steps + 1):
            x0_BCHW = self.x_BCHW[torch.randint(len(self.x_BCHW), (batch,))]
            if torch.rand(()) < 0.5:
                x0_BCHW = x0_BCHW.flip(3)
            t_B = torch.randint(len(weights_T), (batch,))
            noise_BCHW = torch.randn_like(x0_BCHW)
            output_BCHW = module(schedule.add_noise(x0_BCHW, noise_BCHW, t_B), t_B, mask_B1HW)
            errors_B = (output_BCHW - schedule.target("v", x0_BCHW, noise_BCHW, t_B)).square().mean(dim=(1, 2, 3))
            (errors_B * weights_T[t_B] / weights_T.mean()).mean().backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            rate.step()
            average.update(module, step)
        average.copy_to(module)
        return module.eval()

    def sample(self, module: UNet, schedule: Schedule, *, seed: int, count: int) -> Tensor:
        """Images [count, 3, H, W] of 0 to 255."""
        generator = torch.Generator().manual_seed(seed)
        noise_BCHW = torch.randn(count, *self.x_BCHW.shape[1:], generator=generator)
        mask_B1HW = torch.zeros(count, 1, *self.x_BCHW.shape[2:], dtype=torch.long)
        x_BCHW = dpm_solver_2m(
            lambda x, t: module(x, t, mask_B1HW), schedule, noise_BCHW, prediction="v", steps=25
        )
        return self.decode(x_BCHW)


def brightness(images_BCHW: Tensor) -> NDArray[np.float64]:
    """Mean of each image [B], grey levels."""
    return images_BCHW.double().mean(dim=(1, 2, 3)).numpy()


def cell_colours(images_BCHW: Tensor) -> NDArray[np.float64]:
    """Mean colours of 4x4 cells, [B, 48]."""
    return torch.nn.functional.adaptive_avg_pool2d(images_BCHW.double(), CELLS).flatten(1).numpy()


def frechet(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Frechet distance of two Gaussians with the moments of two samples [N, D]; its root."""
    gap = one.mean(axis=0) - other.mean(axis=0)
    first, second = np.cov(one.T), np.cov(other.T)
    roots = np.sqrt(np.linalg.eigvals(first @ second).astype(complex)).real.sum()
    return float(np.sqrt(max(gap @ gap + np.trace(first) + np.trace(second) - 2 * roots, 0)))


def compare(samples_BCHW: Tensor, real_BCHW: Tensor) -> dict[str, float]:
    """Samples against real images; see the head of this file."""
    made, real = brightness(samples_BCHW), brightness(real_BCHW)
    levels = np.linspace(0, 1, 1001)
    return {
        "mean": float(made.mean() - real.mean()),
        "spread": float(made.std() / real.std()),
        "distance": float(np.abs(np.quantile(made, levels) - np.quantile(real, levels)).mean()),
        "frechet": frechet(cell_colours(samples_BCHW), cell_colours(real_BCHW)),
        "contrast": float(samples_BCHW.std(dim=(2, 3)).mean() / real_BCHW.std(dim=(2, 3)).mean()),
    }


def draw(rows: list[Tensor], path: Path) -> None:
    """A sheet with a row of images for each set."""
    tiles = [np.concatenate([image.permute(1, 2, 0).byte().numpy() for image in row[:14]], axis=1) for row in rows]
    Image.fromarray(np.concatenate(tiles)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--only", default="", metavar="REGEX", help="patches and weights, for example 'real none'")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    schedule = Schedule.of(DiffusionConfig())
    sets = {}
    with tempfile.TemporaryDirectory() as folder:
        make_demo(Path(folder) / "demo", size=256)
        sets["generated"] = load([Path(folder) / "demo"], options.out, reduce=2)
    real = os.environ.get("HISTODS_REAL_DATA")
    if real:
        folders = sorted(path for path in Path(real).iterdir() if path.is_dir())
        sets["real"] = load(folders, options.out, reduce=2)
    results = []
    for name, images in sets.items():
        trial = Trial(images)
        half = len(images) // 2
        floor = compare(trial.real[torch.randperm(len(images))[:half]], trial.real)
        print(f"{name}: {len(images)} patches; half of them against all: {floor}", flush=True)
        rows = [trial.real[torch.linspace(0, len(images) - 1, 14).long()]]
        for title, weights_T in weights_of(schedule).items():
            for seed in range(options.seeds) if re.search(options.only, f"{name} {title}") else ():
                started = time.perf_counter()
                module = trial.train(weights_T, schedule, seed=seed, steps=options.steps, batch=options.batch)
                samples = trial.sample(module, schedule, seed=seed, count=options.count)
                found = compare(samples, trial.real)
                results.append({"patches": name, "weights": title, "seed": seed, **found})
                took = time.perf_counter() - started
                print(name, title, seed, {k: round(v, 3) for k, v in found.items()}, f"{took:.0f} s", flush=True)
                if seed == 0:
                    rows.append(samples)
        draw(rows, options.out / f"{name}.png")
        (options.out / "weighting.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
