"""Layers of the U-Net. Their parameters have the same names as in published checkpoints.

Shapes: B samples, C channels, H and W height and width of the features, E width of an embedding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import conv2d, layer_norm

if TYPE_CHECKING:
    from torch import Tensor


def epsilon(dtype: torch.dtype) -> float:
    """Added to variances to keep divisions finite: 1e-5, and 1e-3 in types narrower than 32 bits.

    The type is that of the parameters: under autocast they stay in float32, so a network computes the same
    function whether it is trained in bf16 or sampled in fp32.
    """
    return 1e-5 if dtype.itemsize >= 4 else 1e-3


class Sinusoid(nn.Module):
    """Time as sines, then cosines, of decreasing frequencies: exp(-ln(10000) i / (half - 1)), half of `dim` each.

    Vaswani et al. 2017, section 3.5, in the variant of Ho et al. 2020.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, t_B: Tensor) -> Tensor:
        """float32 [B, dim] for times of any type; always computed in float32, which represents 999 exactly."""
        half = self.dim // 2
        index = torch.arange(half, device=t_B.device, dtype=torch.float32)
        angle_BE = t_B.float()[:, None] * torch.exp(index * (-math.log(10_000) / (half - 1)))
        return torch.cat([angle_BE.sin(), angle_BE.cos()], dim=1)


class TimeEmbedding(nn.Sequential):
    """A sinusoid and an MLP in the type of its weights."""

    def forward(self, t_B: Tensor) -> Tensor:
        """[B, width] for times [B]."""
        sinusoid, linear, *others = self
        x_BE: Tensor = sinusoid(t_B).to(linear.weight.dtype)
        for layer in (linear, *others):
            x_BE = layer(x_BE)
        return x_BE


class StandardisedConv(nn.Conv2d):
    """A convolution whose filters each have mean 0 and variance 1 (Qiao et al. 2019, "Weight Standardization")."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve with the standardised filters; uses the biased variance."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), correction=0, keepdim=True)
        weight = (self.weight - mean) * (variance + epsilon(self.weight.dtype)).rsqrt()
        return conv2d(x_BCHW, weight, self.bias, self.stride, self.padding)


class ChannelNorm(nn.Module):
    """Normalises channels at each position to mean 0 and variance 1, times a gain (Ba et al. 2016)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, dim, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise; autocast computes this in float32, but the result has the type of x."""
        gain = self.g.flatten()
        x_BHWC = layer_norm(x_BCHW.movedim(1, -1), gain.shape, gain, eps=epsilon(gain.dtype))
        return x_BHWC.movedim(-1, 1).to(x_BCHW.dtype)


class Block(nn.Module):
    """Standardised convolution, group norm, scale and shift, SiLU, dropout."""

    def __init__(self, dim: int, dim_out: int, *, groups: int, dropout: float) -> None:
        super().__init__()
        self.proj = StandardisedConv(dim, dim_out, 3, padding=1)
        self.norm = nn.GroupNorm(groups, dim_out)
        self.act = nn.SiLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCHW: Tensor, scale_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Features of `dim_out` channels, in the type of the convolution's output.

        Args:
            x_BCHW: features of `dim` channels.
            scale_shift: two tensors [B, dim_out, 1, 1]; without them, only the norm's own gain and bias apply.
        """
        x_BCHW = self.proj(x_BCHW)
        dtype = x_BCHW.dtype
        x_BCHW = self.norm(x_BCHW)  # autocast computes this, and what follows, in float32
        if scale_shift is not None:
            scale, shift = scale_shift
            x_BCHW = x_BCHW * (scale + 1) + shift
        out_BCHW: Tensor = self.dropout(self.act(x_BCHW).to(dtype))
        return out_BCHW


class ResnetBlock(nn.Module):
    """Two blocks with a residual path; the time and class embeddings scale and shift the first.

    Dhariwal and Nichol 2021, section 4.3 (adaptive group normalisation).

    Args:
        dim: channels in.
        dim_out: channels out; if they differ, the residual path is a 1x1 convolution.
        condition_dim: total width of the time and class embeddings.
        groups: the number of groups of the group norms.
        dropout: probability.
    """

    def __init__(self, dim: int, dim_out: int, condition_dim: int, *, groups: int, dropout: float) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(condition_dim, 2 * dim_out))
        self.block1 = Block(dim, dim_out, groups=groups, dropout=dropout)
        self.block2 = Block(dim_out, dim_out, groups=groups, dropout=dropout)
        self.res_conv = nn.Identity() if dim == dim_out else nn.Conv2d(dim, dim_out, 1)

    def forward(self, x_BCHW: Tensor, condition_BE: Tensor) -> Tensor:
        """Features of `dim_out` channels."""
        scale_BC11, shift_BC11 = self.mlp(condition_BE)[:, :, None, None].chunk(2, dim=1)
        h_BCHW = self.block2(self.block1(x_BCHW, (scale_BC11, shift_BC11)))
        out_BCHW: Tensor = h_BCHW + self.res_conv(x_BCHW)
        return out_BCHW


class PreNorm(nn.Module):
    """Applies a function to normalised features."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = ChannelNorm(dim)

    def forward(self, x_BCHW: Tensor, region_B1HW: Tensor) -> Tensor:
        """Return fn(norm(x))."""
        out_BCHW: Tensor = self.fn(self.norm(x_BCHW), region_B1HW)
        return out_BCHW


class Residual(nn.Module):
    """Adds a function's output to its input."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x_BCHW: Tensor, region_B1HW: Tensor) -> Tensor:
        """Return x + fn(x)."""
        out_BCHW: Tensor = x_BCHW + self.fn(x_BCHW, region_B1HW)
        return out_BCHW
