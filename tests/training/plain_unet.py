"""The U-Net once more, from its formulas: plain operations on a dictionary of tensors, no module of the trainer.

Slow and literal on purpose. Every position asks for itself in attention, histograms are counted label by label,
and all structure (levels, classes, what is spatial, whether there is a null embedding) is read from names and
shapes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone uses
from torch import Tensor

HEADS, HEAD_DIM = 4, 32


@dataclass(frozen=True)
class PlainUNet:
    """A network's tensors by name, and what these cannot say."""

    state: dict[str, Tensor]
    groups: int = 2
    largest_class_alone: bool = False
    channels: int = 4

    def __call__(self, x: Tensor, t: Tensor, mask: Tensor, dropped: list[bool] | None = None) -> Tensor:
        """Sample by sample, so that nothing can leak from one to another."""
        dropped = dropped or [False] * len(x)
        return torch.cat(
            [self.one(x[i : i + 1], int(t[i]), mask[i, 0].long(), dropped=dropped[i]) for i in range(len(x))]
        )

    def one(self, x: Tensor, t: int, mask: Tensor, *, dropped: bool) -> Tensor:
        """One sample: x [1, C, h, w], a time, a mask [H, W]."""
        learned = "null_emb" in self.state
        if dropped:
            mask = torch.zeros_like(mask)
        condition = torch.cat([self.time(t), self.classes(mask, null=dropped and learned)])
        if self.state["init_conv.weight"].shape[1] > self.channels:
            cells = self.cells(mask, x.shape[2])
            x = torch.cat([x, torch.zeros_like(cells) if dropped and learned else cells], dim=1)
        return self.denoise(x, condition, mask)

    def time(self, t: int) -> Tensor:
        """time_mlp of the sinusoid."""
        dim = self.state["time_mlp.1.weight"].shape[1]
        half = dim // 2
        angles = [t * math.exp(-math.log(10_000) * i / (half - 1)) for i in range(half)]
        x = torch.tensor([*map(math.sin, angles), *map(math.cos, angles)], dtype=torch.float32)
        return self.linear("time_mlp.3", gelu(self.linear("time_mlp.1", x)))

    def classes(self, mask: Tensor, *, null: bool) -> Tensor:
        """classes_mlp of the embeddings, weighted by fractions of pixels, or of the largest class's."""
        table = self.state["classes_emb.weight"]
        if null:
            x = self.state["null_emb"]
        elif self.largest_class_alone:
            x = table[int(mask.max())]
        else:
            x = cast("Tensor", sum((mask == c).sum() / mask.numel() * table[c] for c in range(len(table))))
        return self.linear("classes_mlp.2", gelu(self.linear("classes_mlp.0", x)))

    def cells(self, mask: Tensor, size: int) -> Tensor:
        """Fractions of each latent's pixels that are of each class, [1, n, h, w]."""
        planes = [(mask == c).float()[None, None] for c in range(len(self.state["classes_emb.weight"]))]
        return F.interpolate(torch.cat(planes, dim=1), size=(size, size), mode="area")

    def denoise(self, x: Tensor, condition: Tensor, mask: Tensor) -> Tensor:
        """The U-Net proper."""
        levels = 1 + max(int(name.split(".")[1]) for name in self.state if name.startswith("downs."))
        x = r = self.conv("init_conv", x, padding=3)
        skips = []
        for i in range(levels):
            x = self.resnet(f"downs.{i}.0", x, condition)
            skips.append(x)
            x = self.resnet(f"downs.{i}.1", x, condition)
            x = self.attention(f"downs.{i}.2", x, mask)
            skips.append(x)
            last = i == levels - 1
            x = self.conv(f"downs.{i}.3", x, padding=1, stride=1 if last else 2)
        x = self.resnet("mid_block1", x, condition)
        x = self.attention("mid_attn", x, mask)
        x = self.resnet("mid_block2", x, condition)
        for i in range(levels):
            for block in (0, 1):
                x = self.resnet(f"ups.{i}.{block}", torch.cat([x, skips.pop()], dim=1), condition)
            x = self.attention(f"ups.{i}.2", x, mask)
            if i < levels - 1:
                x = self.conv(f"ups.{i}.3.1", x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), padding=1)
            else:
                x = self.conv(f"ups.{i}.3", x, padding=1)
        x = self.resnet("final_res_block", torch.cat([x, r], dim=1), condition)
        return self.conv("final_conv", x)

    def resnet(self, name: str, x: Tensor, condition: Tensor) -> Tensor:
        """Two blocks, the first with scale and shift, and the residual."""
        scale, shift = self.linear(f"{name}.mlp.1", silu(condition)).view(2, -1, 1, 1)
        h = silu(
            self.norm(f"{name}.block1.norm", self.standardised(f"{name}.block1.proj", x)) * (scale + 1) + shift
        )
        h = silu(self.norm(f"{name}.block2.norm", self.standardised(f"{name}.block2.proj", h)))
        return h + (self.conv(f"{name}.res_conv", x) if f"{name}.res_conv.weight" in self.state else x)

    def attention(self, name: str, x: Tensor, mask: Tensor) -> Tensor:
        """Pre-norm attention from every position of the mask to every position of x, and the residual."""
        height, width = x.shape[2:]
        mean = x.mean(dim=1, keepdim=True)
        variance = (x - mean).square().mean(dim=1, keepdim=True)
        normal = (x - mean) / (variance + 1e-5).sqrt() * self.state[f"{name}.fn.norm.g"].view(1, -1, 1, 1)
        pooled = F.max_pool2d(mask.float()[None, None], mask.shape[0] // height)
        seen = (pooled > 0).float().repeat(1, x.shape[1], 1, 1)
        q = self.conv(f"{name}.fn.fn.to_q", seen)[0].flatten(1) * HEAD_DIM**-0.5
        k, v = torch.split(self.conv(f"{name}.fn.fn.to_kv", normal)[0].flatten(1), HEADS * HEAD_DIM)
        heads = [
            (q_head.T @ k_head).softmax(dim=1) @ v_head.T
            for q_head, k_head, v_head in zip(*(torch.split(part, HEAD_DIM) for part in (q, k, v)), strict=True)
        ]
        out = torch.cat(heads, dim=1).T.reshape(1, HEADS * HEAD_DIM, height, width)
        return x + self.conv(f"{name}.fn.fn.to_out", out)

    def standardised(self, name: str, x: Tensor) -> Tensor:
        """A 3x3 convolution with filters of mean 0 and variance 1."""
        w = self.state[f"{name}.weight"]
        filters = [(one - one.mean()) / ((one - one.mean()).square().mean() + 1e-5).sqrt() for one in w]
        return F.conv2d(x, torch.stack(filters), self.state[f"{name}.bias"], padding=1)

    def norm(self, name: str, x: Tensor) -> Tensor:
        """Group normalisation."""
        parts = x.chunk(self.groups, dim=1)
        normal = [(p - p.mean()) / ((p - p.mean()).square().mean() + 1e-5).sqrt() for p in parts]
        weight, bias = (self.state[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
        return torch.cat(normal, dim=1) * weight + bias

    def conv(self, name: str, x: Tensor, *, padding: int = 0, stride: int = 1) -> Tensor:
        """A convolution, with a bias if there is one."""
        bias = self.state.get(f"{name}.bias")
        return F.conv2d(x, self.state[f"{name}.weight"], bias, padding=padding, stride=stride)

    def linear(self, name: str, x: Tensor) -> Tensor:
        """A linear layer on a vector."""
        return self.state[f"{name}.weight"] @ x + self.state[f"{name}.bias"]


def silu(x: Tensor) -> Tensor:
    """Return x sigmoid(x)."""
    return x * torch.sigmoid(x)


def gelu(x: Tensor) -> Tensor:
    """Return x times the normal distribution function of x."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
