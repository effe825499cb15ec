"""The U-Net, which predicts noise (or v, or x0) in latents, given the time and a mask.

A U-Net of residual blocks (Ho et al. 2020) whose attention takes its queries from the mask, after DiffInfinite
(Aversa et al. 2023). Parameters have the same names as in its published checkpoints.

Shapes: B samples, C channels, H and W height and width (of latents for x, pixels for masks), E width of an
embedding, K classes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from histods.errors import HistodsError
from training.model.attention import MaskAttention
from training.model.conditioning import find_conditioning
from training.model.layers import PreNorm, Residual, ResnetBlock, Sinusoid, TimeEmbedding

if TYPE_CHECKING:
    from torch import Tensor

    from training.config.model import ModelConfig


class _Down(nn.ModuleList):
    """Two residual blocks, attention, and downsampling by 2 (in the last level: a 3x3 convolution)."""

    def forward(self, x_BCHW: Tensor, condition_BE: Tensor, region_B1HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features for the next level, and two skips."""
        block1, block2, attention, down = self
        first_BCHW = block1(x_BCHW, condition_BE)
        second_BCHW = attention(block2(first_BCHW, condition_BE), region_B1HW)
        return down(second_BCHW), first_BCHW, second_BCHW


class _Up(nn.ModuleList):
    """Two residual blocks with a skip each, attention, and upsampling by 2 (not in the last level)."""

    def forward(
        self, x_BCHW: Tensor, skips: tuple[Tensor, Tensor], condition_BE: Tensor, region_B1HW: Tensor
    ) -> Tensor:
        """Features for the next level."""
        block1, block2, attention, up = self
        for block, skip_BCHW in zip((block1, block2), skips, strict=True):
            x_BCHW = block(torch.cat([x_BCHW, skip_BCHW], dim=1), condition_BE)
        out_BCHW: Tensor = up(attention(x_BCHW, region_B1HW))
        return out_BCHW


def _halve(dim: int, dim_out: int) -> nn.Module:
    return nn.Conv2d(dim, dim_out, 4, stride=2, padding=1)


def _double(dim: int, dim_out: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(dim, dim_out, 3, padding=1))


def _keep(dim: int, dim_out: int) -> nn.Module:
    return nn.Conv2d(dim, dim_out, 3, padding=1)


class UNet(nn.Module):
    """The denoiser.

    Attributes:
        config: its settings.

    Raises:
        HistodsError: the configuration does not set `num_classes`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.num_classes is None:
            raise HistodsError("model.num_classes is not set; set it to the number of classes of the label map.")
        self.config = config
        dim = config.dim
        pairs = list(pairwise(config.widths))
        last, widest = len(pairs) - 1, config.widths[-1]
        self._conditioning = find_conditioning(config.class_conditioning)(config)
        self.init_conv = nn.Conv2d(config.channels + self._conditioning.channels, dim, 7, padding=3)
        self.time_mlp = TimeEmbedding(
            Sinusoid(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 4 * dim)
        )
        for name, part in self._conditioning.parts().items():
            setattr(self, name, part)
        self.downs = nn.ModuleList(
            _Down([*self._level(width, width), (_halve if level < last else _keep)(width, width_out)])
            for level, (width, width_out) in enumerate(pairs)
        )
        self.mid_block1 = self._block(widest, widest)
        self.mid_attn = self._attention(widest)
        self.mid_block2 = self._block(widest, widest)
        self.ups = nn.ModuleList(
            _Up([*self._level(width_out + width, width_out), (_double if level else _keep)(width_out, width)])
            for level, (width, width_out) in reversed(list(enumerate(pairs)))
        )
        self.final_res_block = self._block(2 * dim, dim)
        self.final_conv = nn.Conv2d(dim, config.channels, 1)

    def _block(self, dim: int, dim_out: int) -> ResnetBlock:
        config = self.config
        return ResnetBlock(dim, dim_out, 8 * config.dim, groups=config.resnet_block_groups, dropout=config.dropout)

    def _level(self, dim: int, dim_out: int) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Two residual blocks and attention."""
        return self._block(dim, dim_out), self._block(dim, dim_out), self._attention(dim_out)

    def _attention(self, dim: int) -> Residual:
        return Residual(PreNorm(dim, MaskAttention(dim, self.config.attention)))

    def forward(self, x_BCHW: Tensor, t_B: Tensor, mask_B1HW: Tensor, dropped_B: Tensor | None = None) -> Tensor:
        """The prediction, of the shape of x.

        Args:
            x_BCHW: noisy latents.
            t_B: noise levels, integers from 0.
            mask_B1HW: classes, any integer type, of the size of the latents or a multiple of it.
            dropped_B: bool; where True, the sample gets the null condition regardless of its mask.

        Raises:
            HistodsError: shapes do not fit.
        """
        height, width = x_BCHW.shape[-2:]
        _check_latents(x_BCHW, self.config)
        if dropped_B is None:
            dropped_B = torch.zeros(len(x_BCHW), dtype=torch.bool, device=x_BCHW.device)
        time_BE = self.time_mlp(t_B)
        condition = self._conditioning.read(self, mask_B1HW, dropped_B, (height, width))
        condition_BE = torch.cat([time_BE, condition.embedding_BE], dim=1)
        if condition.planes_BChw is not None:
            x_BCHW = torch.cat([x_BCHW, condition.planes_BChw.to(x_BCHW.dtype)], dim=1)
        return self._denoise(x_BCHW, condition_BE, condition.regions)

    def _denoise(self, x_BCHW: Tensor, condition_BE: Tensor, regions: tuple[Tensor, ...]) -> Tensor:
        x_BCHW = start_BCHW = self.init_conv(x_BCHW)
        skips: list[tuple[Tensor, Tensor]] = []
        for down, region_B1HW in zip(self.downs, regions, strict=True):
            x_BCHW, first_BCHW, second_BCHW = down(x_BCHW, condition_BE, region_B1HW)
            skips.append((second_BCHW, first_BCHW))
        x_BCHW = self.mid_block1(x_BCHW, condition_BE)
        x_BCHW = self.mid_attn(x_BCHW, regions[-1])
        x_BCHW = self.mid_block2(x_BCHW, condition_BE)
        for up, region_B1HW in zip(self.ups, reversed(regions), strict=True):
            x_BCHW = up(x_BCHW, skips.pop(), condition_BE, region_B1HW)
        x_BCHW = self.final_res_block(torch.cat([x_BCHW, start_BCHW], dim=1), condition_BE)
        out_BCHW: Tensor = self.final_conv(x_BCHW)
        return out_BCHW


def _check_latents(x_BCHW: Tensor, config: ModelConfig) -> None:
    multiple = config.size_multiple
    if x_BCHW.ndim != 4 or x_BCHW.shape[1] != config.channels or any(side % multiple for side in x_BCHW.shape[2:]):
        raise HistodsError(
            f"The latents are {list(x_BCHW.shape)}; they must be [B, {config.channels}, H, W] with H and W "
            f"multiples of {multiple}: make them with the autoencoder of the run."
        )


def shapes(module: UNet, x_BCHW: Tensor, t_B: Tensor, mask_B1HW: Tensor) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the tensors in the network, in the order of computation, recorded by hooks.

    Args:
        module: the network, on any device (on `meta` nothing is computed).
        x_BCHW: latents.
        t_B: noise levels.
        mask_B1HW: masks.

    Returns:
        Latents, mask, time embedding, class distribution, embedding table, weighted embedding, conditional
        embedding, then the output of each block and the prediction.
    """
    seen: list[tuple[str, tuple[int, ...]]] = []
    names = {
        "time_mlp": "time embedding",
        "mask_condition": "class distribution",
        "classes_mlp": "conditional embedding",
        "final_conv": "prediction",
    }

    def note(name: str, value: Tensor | tuple[Tensor, ...]) -> None:
        seen.append((name, tuple((value if isinstance(value, torch.Tensor) else value[0]).shape)))

    def before_classes_mlp(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        note("embedding table", module.get_parameter("classes_emb.weight"))
        note("weighted embedding", inputs)

    handles = []
    if hasattr(module, "classes_mlp"):
        handles.append(module.get_submodule("classes_mlp").register_forward_pre_hook(before_classes_mlp))
    for name, part in module.named_modules():
        if name and name.count(".") == name.startswith(("downs.", "ups.")):
            shown = names.get(name, name)
            handles.append(part.register_forward_hook(lambda _, __, out, shown=shown: note(shown, out)))
    note("latents", x_BCHW)
    note("mask", mask_B1HW)
    try:
        with torch.no_grad():
            module(x_BCHW, t_B, mask_B1HW)
    finally:
        for handle in handles:
            handle.remove()
    return seen
