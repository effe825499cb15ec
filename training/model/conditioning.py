"""What the network is told of a mask: how much of each class there is, and where it is not zero.

Shapes: B samples, K classes, H and W pixels of the mask, h and w latents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn.functional import max_pool2d

from histods.errors import HistodsError

if TYPE_CHECKING:
    from torch import Tensor

    from training.config.model import ClassConditioning


class Condition(NamedTuple):
    """A mask as the network sees it.

    Attributes:
        distribution_BK: float32, weights of the classes' embeddings; they add up to 1.
        cells_BKhw: float32, fractions of the pixels under each latent that are of each class.
        regions: bool [B, 1, h, w] at the size of each level: where the mask, max-pooled to that size, is not zero.
    """

    distribution_BK: Tensor
    cells_BKhw: Tensor
    regions: tuple[Tensor, ...]


class MaskCondition(nn.Module):
    """Reads masks: once a forward pass, for all levels. It has no parameters.

    Args:
        num_classes: K.
        levels: how many sizes of features there are; each halves the one before.
        kind: `histogram` weighs classes by their fractions of the pixels; `max` takes the largest class alone.
    """

    def __init__(self, num_classes: int, levels: int, kind: ClassConditioning) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.levels = levels
        self.kind = kind

    def forward(self, mask_B1HW: Tensor, dropped_B: Tensor, size: tuple[int, int]) -> Condition:
        """The condition of each sample.

        Args:
            mask_B1HW: of any integer type, values 0 to K - 1. (Others count as not zero, and as no class.)
            dropped_B: bool; where True, an all-zero mask is read instead.
            size: h and w; H and W are multiples of them.

        Raises:
            HistodsError: the mask has no such shape.
        """
        counts_BKhw, pixels = _count(mask_B1HW, size, self.num_classes)
        classes_K = torch.arange(self.num_classes, device=mask_B1HW.device)
        empty_1K11 = (classes_K == 0)[None, :, None, None].to(counts_BKhw.dtype)
        cells_BKhw = torch.where(dropped_B[:, None, None, None], empty_1K11, counts_BKhw / pixels)
        distribution_BK = cells_BKhw.mean(dim=(2, 3))
        if self.kind == "max":
            largest_B1 = torch.where(distribution_BK > 0, classes_K, 0).amax(dim=1, keepdim=True)
            distribution_BK = (largest_B1 == classes_K).to(distribution_BK.dtype)
        region_B1hw = (cells_BKhw[:, :1] < 1).to(counts_BKhw.dtype)
        regions = [region_B1hw]
        for _ in range(1, self.levels):
            regions.append(max_pool2d(regions[-1], 2))
        return Condition(distribution_BK, cells_BKhw, tuple(region > 0 for region in regions))


def _count(mask_B1HW: Tensor, size: tuple[int, int], num_classes: int) -> tuple[Tensor, int]:
    """Pixels of each class under each latent, float32 [B, K, h, w], and how many pixels a latent covers."""
    h, w = size
    height, width = mask_B1HW.shape[-2:]
    if mask_B1HW.ndim != 4 or mask_B1HW.shape[1] != 1 or height % h or width % w or not height or not width:
        raise HistodsError(
            f"The masks are {list(mask_B1HW.shape)}; they must be [B, 1, H, W] with H and W multiples of the "
            f"latents' {h} and {w}: give each latent the same number of pixels."
        )
    pixels_BhHwW = mask_B1HW.reshape(-1, h, height // h, w, width // w)
    counts = [(pixels_BhHwW == label).sum(dim=(2, 4), dtype=torch.float32) for label in range(num_classes)]
    return torch.stack(counts, dim=1), (height // h) * (width // w)
