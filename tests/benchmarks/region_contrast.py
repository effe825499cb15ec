"""Whether a loss on predictions with and without a class makes images follow the masks of a rare class better.

Run `python -m tests.benchmarks.region_contrast OUT`; docs/decisions/region-contrast.md has the figures. Patches
of 64 px have four frequent classes in blocks of 16 px, and some have one block of a rare class, whose colour
lies between those of two others. Small networks are trained alike but for that loss, and make images for new
masks, all with the rare class. A cell of 8 px looks like the class whose colour is nearest to its mean, without
the hue of its image. Measured are the share of the rare class's cells that look like it (recall), the
intersection over union of these cells with all that look like it, and the share of the other cells that look
like their class.

The loss compares the prediction f for a mask with the prediction g for the mask without one of its classes c,
which becomes 0. Where no pixel is of c, the two should agree: the mean of (g - f)^2. Where most pixels are of c,
they should differ by at least the error of f: max(0, mean of (f - target)^2 - mean of (g - f)^2), which is
bounded by that error. The gradient goes through g only, and c is drawn with a probability of one over its
pixels. A step needs a second forward pass, so runs without the loss have twice as many steps.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from training.autoencoders.linear import LinearAutoencoder
from training.config.model import LATENT_FACTOR, ModelConfig
from training.config.sections import DiffusionConfig, EmaConfig
from training.diffusion.guidance import guided
from training.diffusion.process import Loss, Schedule
from training.diffusion.samplers import dpm_solver_2m
from training.latents.latent_space import LatentSpace
from training.model.unet import UNet
from training.trainer.ema import Ema

SIDE, CELL = 64, 16
COLOURS = np.array(
    [[236, 214, 226], [160, 60, 130], [225, 130, 170], [90, 40, 110], [190, 95, 150]], dtype=np.float64
)
RARE = 4
CONFIG = DiffusionConfig(min_v_weight=0.1)


class Patches(NamedTuple):
    """Images, uint8 [N, 3, H, W], and masks, uint8 [N, 1, H, W]."""

    images: Tensor
    masks: Tensor


def make_patches(count: int, rare: float, seed: int) -> Patches:
    """Patches, of which a share has one block of the rare class."""
    random = np.random.default_rng(seed)
    images, masks = [], []
    for _ in range(count):
        cells = random.integers(0, RARE, (SIDE // CELL, SIDE // CELL), dtype=np.uint8)
        if random.random() < rare:
            cells.flat[random.integers(cells.size)] = RARE
        mask = np.kron(cells, np.ones((CELL, CELL), np.uint8))
        pixels = COLOURS[mask] + random.normal(0, 12, 3) + random.normal(0, 10, (*mask.shape, 3))
        images.append(pixels.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
        masks.append(mask[None])
    return Patches(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks)))


def choose_classes(masks_B1HW: Tensor) -> Tensor:
    """A class of each mask but 0, int64 [B], with a probability of one over its pixels; 0 if there is none."""
    counts_BK = torch.stack([(masks_B1HW == label).sum(dim=(1, 2, 3)) for label in range(RARE + 1)], dim=1)
    weights_BK = torch.where(counts_BK > 0, 1 / counts_BK.clamp_min(1), 0.0)
    weights_BK[:, 0] = 0
    weights_BK[weights_BK.sum(1) == 0, 0] = 1
    return torch.multinomial(weights_BK, 1)[:, 0]


def contrast(output_BCHW: Tensor, without_BCHW: Tensor, target_BCHW: Tensor, share_B1hw: Tensor) -> Tensor:
    """The loss of each sample, [B]; see the head of this file.

    Args:
        output_BCHW: predictions for the masks.
        without_BCHW: predictions for the masks without a class.
        target_BCHW: what to predict.
        share_B1hw: the fraction of pixels of the class under each latent.
    """
    full_BCHW = output_BCHW.detach()
    apart_B1hw = (without_BCHW - full_BCHW).square().mean(dim=1, keepdim=True)
    error_B1hw = (full_BCHW - target_BCHW).square().mean(dim=1, keepdim=True)
    inside_B1hw, outside_B1hw = (share_B1hw >= 0.5).float(), (share_B1hw == 0).float()
    agree_B = (apart_B1hw * outside_B1hw).sum(dim=(1, 2, 3)) / outside_B1hw.sum(dim=(1, 2, 3)).clamp_min(1)
    missing_B = ((error_B1hw - apart_B1hw) * inside_B1hw).sum(dim=(1, 2, 3))
    return agree_B + missing_B.clamp_min(0) / inside_B1hw.sum(dim=(1, 2, 3)).clamp_min(1)


class Trial:
    """Patches, encoded once."""

    def __init__(self, patches: Patches) -> None:
        self.masks = patches.masks
        self.autoencoder = LinearAutoencoder.fit([patches.images])
        z_BCHW = self.autoencoder.encode(patches.images.float() / 127.5 - 1)[0]
        mean, std = z_BCHW.mean(dim=(0, 2, 3)), z_BCHW.std(dim=(0, 2, 3))
        self.space = LatentSpace.preset("default", mean=mean.tolist(), std=std.tolist())
        self.x_BCHW = self.space.normalise(z_BCHW)
        self.schedule = Schedule.of(CONFIG)

    def train(self, weight: float, *, seed: int, steps: int, batch: int) -> UNet:
        """A network trained with this weight of the loss, averaged."""
        torch.manual_seed(seed)
        model = ModelConfig(image_size=SIDE, dim=16, num_classes=RARE + 1, dim_mults=(1, 2), spatial=True)
        module = UNet(model)
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
        average, loss_of = Ema(EmaConfig(), module), Loss(self.schedule, CONFIG)
        weights_T = self.schedule.loss_weights(CONFIG.prediction, CONFIG.min_snr_gamma, CONFIG.min_v_weight)
        for step in range(1, steps + 1):
            rows = torch.randint(len(self.x_BCHW), (batch,))
            x0_BCHW, masks_B1HW = self.x_BCHW[rows], self.masks[rows]
            t_B, noise_BCHW = torch.randint(CONFIG.timesteps, (batch,)), torch.randn_like(x0_BCHW)
            noisy_BCHW = self.schedule.add_noise(x0_BCHW, noise_BCHW, t_B)
            dropped_B = torch.rand(batch) < CONFIG.null_probability
            output_BCHW = module(noisy_BCHW, t_B, masks_B1HW, dropped_B)
            loss_B = loss_of(output_BCHW, x0_BCHW, noise_BCHW, t_B)
            if weight:
                gone_B1HW = masks_B1HW == choose_classes(masks_B1HW)[:, None, None, None]
                without_BCHW = module(noisy_BCHW, t_B, masks_B1HW.masked_fill(gone_B1HW, 0), dropped_B)
                target_BCHW = self.schedule.target(CONFIG.prediction, x0_BCHW, noise_BCHW, t_B)
                share_B1hw = avg_pool2d((gone_B1HW & (masks_B1HW > 0)).float(), LATENT_FACTOR)
                extra_B = contrast(output_BCHW, without_BCHW, target_BCHW, share_B1hw) * weights_T[t_B]
                loss_B = loss_B + weight * torch.where(dropped_B, 0, extra_B)
            torch.autograd.backward(loss_B.mean())
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            rate.step()
            average.update(module, step)
        average.copy_to(module)
        return module.eval()

    def sample(self, module: UNet, masks_B1HW: Tensor, *, guidance: float, seed: int) -> NDArray[np.float64]:
        """Images [B, H, W, 3] of 0 to 255 for masks."""
        generator = torch.Generator().manual_seed(seed)
        noise_BCHW = torch.randn(len(masks_B1HW), *self.x_BCHW.shape[1:], generator=generator)
        denoise = guided(module, masks_B1HW, guidance)
        x_BCHW = dpm_solver_2m(denoise, self.schedule, noise_BCHW, prediction="v", steps=20)
        images_BCHW = (self.autoencoder.decode(self.space.denormalise(x_BCHW)) + 1) * 127.5
        return images_BCHW.clamp(0, 255).permute(0, 2, 3, 1).double().numpy()


def compare(images: NDArray[np.float64], masks: NDArray[np.uint8]) -> dict[str, float]:
    """How well images [B, H, W, 3] follow masks [B, H, W]; see the head of this file."""
    blocks = images.reshape(len(images), SIDE // 8, 8, SIDE // 8, 8, 3).mean(axis=(2, 4))
    cells = masks[:, 4::8, 4::8]
    rare = cells == RARE
    hues = [
        (block - COLOURS[cell])[~there].mean(axis=0)
        for block, cell, there in zip(blocks, cells, rare, strict=True)
    ]
    colours = blocks - np.stack(hues)[:, None, None]
    looks = np.linalg.norm(colours[..., None, :] - COLOURS, axis=-1).argmin(axis=-1)
    seen = looks == RARE
    return {
        "recall": float(seen[rare].mean()),
        "iou": float((seen & rare).sum() / (seen | rare).sum()),
        "others": float((looks == cells)[~rare].mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=400, help="of runs with the loss")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--rare", type=float, default=0.1, help="share of patches with the rare class")
    parser.add_argument("--only", default="", metavar="REGEX", help="for example 'weight 0.1'")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    trial = Trial(make_patches(1500, options.rare, seed=0))
    masks_B1HW = make_patches(options.count, 1.0, seed=1).masks
    trials = {
        "without": (0.0, 2 * options.steps),
        "without, half of the steps": (0.0, options.steps),
        "weight 0.1": (0.1, options.steps),
        "weight 0.5": (0.5, options.steps),
    }
    results = []
    for seed in options.seeds:
        for title in filter(re.compile(options.only).search, trials):
            started = time.perf_counter()
            weight, steps = trials[title]
            module = trial.train(weight, seed=seed, steps=steps, batch=options.batch)
            for guidance in (1.0, 3.0):
                images = trial.sample(module, masks_B1HW, guidance=guidance, seed=seed)
                found = compare(images, masks_B1HW[:, 0].numpy())
                results.append({"trial": title, "seed": seed, "guidance": guidance, **found})
                took = time.perf_counter() - started
                shown = {key: round(value, 3) for key, value in found.items()}
                print(title, seed, guidance, shown, f"{took:.0f} s", flush=True)
            (options.out / "region_contrast.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
