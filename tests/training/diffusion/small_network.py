"""A small network with the U-Net's call, and masks for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """A small network with the U-Net's call; it keeps what it was called with."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv = nn.Conv2d(4 + 1, 4, 3, padding=1)
        self.calls: list[tuple[Tensor, Tensor | None]] = []

    @torch.no_grad()
    def forward(self, x: Tensor, t: Tensor, mask: Tensor, dropped: Tensor | None = None) -> Tensor:
        self.calls.append((mask, dropped))
        seen = mask.float() if dropped is None else mask.float() * ~dropped[:, None, None, None]
        cells = nn.functional.adaptive_avg_pool2d(seen, (x.shape[-2], x.shape[-1]))
        answer: Tensor = torch.tanh(self.conv(torch.cat([x, cells], 1)) + t[:, None, None, None] / 1000)
        return answer


def masks(*classes: tuple[int, int]) -> Tensor:
    """Masks [B, 1, 64, 64] of two classes each, side by side."""
    made = torch.zeros(len(classes), 1, 64, 64, dtype=torch.uint8)
    for mask, (left, right) in zip(made, classes, strict=True):
        mask[:, :, :24], mask[:, :, 24:] = left, right
    return made
