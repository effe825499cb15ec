"""Images to encode."""

from __future__ import annotations

import torch


def patches(count: int = 6, height: int = 48, width: int = 64, seed: int = 0) -> torch.Tensor:
    """Smooth colours with grain, so that few components hold much: uint8 [count, 3, height, width]."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, height // 16, width // 16, generator=random) * 255
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (smooth + torch.randn(smooth.shape, generator=random) * 8).clamp(0, 255).to(torch.uint8)


def in_range(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 127.5 - 1
