"""Checkpoints laid out as published ones are, with random weights: what imports are tested on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from training.config.model import ModelConfig
from training.diffusion.process import cosine_betas
from training.model.unet import UNet

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

SMALL = ModelConfig(image_size=64, dim=8, num_classes=3, dim_mults=(1, 2), null="zero_mask")


def random_weights(config: ModelConfig, seed: int) -> dict[str, Tensor]:
    """Weights of a network, none of which is what it begins with."""
    torch.manual_seed(seed)
    return {name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in UNet(config).state_dict().items()}


def buffers(timesteps: int = 1000) -> dict[str, Tensor]:
    """What a diffusion process in the manner of lucidrains registers beside its network."""
    betas = cosine_betas(timesteps)
    bars = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), bars[:-1]])
    variance = betas * (1 - before) / (1 - bars)
    named = {
        "betas": betas,
        "alphas_cumprod": bars,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": bars.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - bars).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - bars).log(),
        "sqrt_recip_alphas_cumprod": bars.rsqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / bars - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp_min(1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - bars),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - bars),
        "p2_loss_weight": torch.ones(timesteps, dtype=torch.float64),
    }
    return {name: tensor.float() for name, tensor in named.items()}


def published(config: ModelConfig = SMALL, *, timesteps: int = 1000) -> dict[str, Any]:
    """All entries of a checkpoint, those that an import leaves aside too."""
    raw, averaged = random_weights(config, 0), random_weights(config, 1)

    def process(weights: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
        named = {**buffers(timesteps), **{f"model.{name}": tensor for name, tensor in weights.items()}}
        return {prefix + name: tensor for name, tensor in named.items()}

    module = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, betas=(0.9, 0.99))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-4, total_steps=100)
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler.step()
    return {
        "step": 12_000,
        "loss": 0.03,
        "lr": scheduler.get_last_lr(),
        "model": process(raw),
        "opt": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "ema": {
            "initted": torch.tensor([True]),
            "step": torch.tensor([12_000]),
            **process(averaged, "ema_model."),
            **process(raw, "online_model."),
        },
        "scaler": None,
    }


def write(path: Path, document: Any) -> Path:
    """Save a checkpoint as the reference does."""
    torch.save(document, path)
    return path
