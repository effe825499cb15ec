"""How the network is conditioned on a mask, and the null condition.

To add a conditioning, write a class with the members of `Conditioning` and add it to `CONDITIONINGS`;
`model.class_conditioning` selects it by name.

Shapes: B samples, K classes, H and W pixels of the mask, h and w latents, E width of an embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.nn.functional import max_pool2d

from histods.errors import HistodsError
from training.config.setting import one_of, wrong_setting

if TYPE_CHECKING:
    from torch import Tensor

    from training.config.model import ModelConfig


class Condition(NamedTuple):
    """The condition of a batch.

    Attributes:
        embedding_BE: the embedding of each sample, E = 4 dim, which residual blocks use with the time embedding.
        planes_BChw: additional input channels of the first convolution; None for none.
        regions: bool [B, 1, h, w] at the size of each level, largest first: the masks for attention.
    """

    embedding_BE: Tensor
    planes_BChw: Tensor | None
    regions: tuple[Tensor, ...]


class Conditioning(Protocol):
    """One way to condition the network on a mask.

    It is made with the settings of the network; `num_classes` must be set.

    Attributes:
        channels: number of channels that it adds to the latents.
    """

    channels: int

    def __init__(self, config: ModelConfig) -> None:
        """Prepare for a network."""

    def parts(self) -> dict[str, nn.Module | nn.Parameter]:
        """Its parameters and modules, by the names that they have in the network and in checkpoints."""

    def read(self, net: Any, mask_B1HW: Tensor, dropped_B: Tensor, size: tuple[int, int]) -> Condition:
        """Make the condition of a batch.

        Args:
            net: the network; its parts are attributes.
            mask_B1HW: masks, any integer type.
            dropped_B: bool; where True, the sample gets the null condition regardless of its mask.
            size: h and w; H and W are multiples of them.

        Raises:
            HistodsError: shapes do not fit.
        """


class Reading(NamedTuple):
    """A mask at the size of the latents.

    Attributes:
        distribution_BK: float32, weights of the classes' embeddings, which sum to 1.
        cells_BKhw: float32, the fraction of each class among the pixels under each latent.
        regions: bool [B, 1, h, w] at the size of each level: where the mask, max-pooled to that size, is not zero.
    """

    distribution_BK: Tensor
    cells_BKhw: Tensor
    regions: tuple[Tensor, ...]


class MaskReader(nn.Module):
    """Reads masks once per forward pass, for all levels. It has no parameters.

    Args:
        num_classes: K.
        levels: number of feature sizes, each half of the one before.
        largest: use only the largest class, instead of weighting all by their fractions of the pixels.
    """

    def __init__(self, num_classes: int, levels: int, *, largest: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.levels = levels
        self.largest = largest

    def forward(self, mask_B1HW: Tensor, dropped_B: Tensor, size: tuple[int, int]) -> Reading:
        """Read the mask of each sample.

        Args:
            mask_B1HW: any integer type, values 0 to K - 1. (Other values count as non-zero, but as no class.)
            dropped_B: bool; where True, an all-zero mask is read instead.
            size: h and w; H and W are multiples of them.

        Raises:
            HistodsError: the shape of the mask does not fit.
        """
        counts_BKhw, pixels = _count(mask_B1HW, size, self.num_classes)
        classes_K = torch.arange(self.num_classes, device=mask_B1HW.device)
        empty_1K11 = (classes_K == 0)[None, :, None, None].to(counts_BKhw.dtype)
        cells_BKhw = torch.where(dropped_B[:, None, None, None], empty_1K11, counts_BKhw / pixels)
        distribution_BK = cells_BKhw.mean(dim=(2, 3))
        if self.largest:
            largest_B1 = torch.where(distribution_BK > 0, classes_K, 0).amax(dim=1, keepdim=True)
            distribution_BK = (largest_B1 == classes_K).to(distribution_BK.dtype)
        region_B1hw = (cells_BKhw[:, :1] < 1).to(counts_BKhw.dtype)
        regions = [region_B1hw]
        for _ in range(1, self.levels):
            regions.append(max_pool2d(regions[-1], 2))
        return Reading(distribution_BK, cells_BKhw, tuple(region > 0 for region in regions))


class ClassHistogram:
    """Embeddings of classes, weighted by their fractions of the pixels, after DiffInfinite (Aversa et al. 2023).

    With `model.spatial` the first convolution also gets the location of each class. The null condition is a
    learned embedding (`model.null=learned`) or an all-zero mask (`zero_mask`).
    """

    largest = False

    def __init__(self, config: ModelConfig) -> None:
        assert config.num_classes is not None  # noqa: S101 - the network has refused it
        self._config, self._classes = config, config.num_classes
        self.channels = self._classes if config.spatial else 0

    def parts(self) -> dict[str, nn.Module | nn.Parameter]:
        """The mask reader, the embedding table, the layers that map it, and the null embedding if learned."""
        dim = self._config.dim
        parts: dict[str, nn.Module | nn.Parameter] = {
            "mask_condition": MaskReader(self._classes, len(self._config.dim_mults), largest=self.largest),
            "classes_emb": nn.Embedding(self._classes, dim),
            "classes_mlp": nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 4 * dim)),
        }
        if self._config.null == "learned":
            parts["null_emb"] = nn.Parameter(torch.randn(dim))
        return parts

    def read(self, net: Any, mask_B1HW: Tensor, dropped_B: Tensor, size: tuple[int, int]) -> Condition:
        """The weighted embedding, class planes if `model.spatial`, and the regions where the mask is not zero."""
        learned = self._config.null == "learned"
        mask: Reading = net.mask_condition(mask_B1HW, dropped_B, size)
        table_KE = net.classes_emb.weight
        weighted_BE = mask.distribution_BK.to(table_KE.dtype) @ table_KE
        if learned:
            weighted_BE = torch.where(dropped_B[:, None], net.null_emb, weighted_BE)
        planes_BKhw = mask.cells_BKhw if self._config.spatial else None
        if planes_BKhw is not None and learned:
            planes_BKhw = planes_BKhw.masked_fill(dropped_B[:, None, None, None], 0)
        return Condition(net.classes_mlp(weighted_BE), planes_BKhw, mask.regions)


class LargestClass(ClassHistogram):
    """The embedding of the largest class only, as in DiffInfinite's paper."""

    largest = True


class ClassProportions:
    """The proportion of each class, or that it is free, for a network that makes masks itself.

    A class is known or free: the embedding is the sum over known classes of proportion x value + presence, two
    learned vectors per class. In the null condition all classes are free.

    The condition is float [B, K], with NaN for free classes, or a mask [B, 1, H, W], whose classes are all known.
    """

    channels = 0

    def __init__(self, config: ModelConfig) -> None:
        assert config.num_classes is not None  # noqa: S101 - the network has refused it
        self._config, self._classes = config, config.num_classes

    def parts(self) -> dict[str, nn.Module | nn.Parameter]:
        """Two embedding tables, and the layers that map their sum."""
        dim = self._config.dim
        return {
            "classes_emb": nn.Embedding(self._classes, dim),
            "known_emb": nn.Embedding(self._classes, dim),
            "classes_mlp": nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 4 * dim)),
        }

    def read(self, net: Any, mask_B1HW: Tensor, dropped_B: Tensor, size: tuple[int, int]) -> Condition:
        """The embedding of the proportions; attention sees all of the mask."""
        wanted_BK = mask_B1HW if mask_B1HW.is_floating_point() else proportions_of(mask_B1HW, self._classes)
        known_BK = ~(wanted_BK.isnan() | dropped_B[:, None])
        values_KE, presence_KE = net.classes_emb.weight, net.known_emb.weight
        amounts_BK = torch.where(known_BK, wanted_BK, 0).to(values_KE.dtype)
        sum_BE = amounts_BK @ values_KE + known_BK.to(values_KE.dtype) @ presence_KE
        everywhere = [
            torch.ones(
                len(wanted_BK), 1, size[0] >> level, size[1] >> level, dtype=torch.bool, device=sum_BE.device
            )
            for level in range(len(self._config.dim_mults))
        ]
        return Condition(net.classes_mlp(sum_BE), None, tuple(everywhere))


def proportions_of(masks_B1HW: Tensor, num_classes: int) -> Tensor:
    """The fraction of each class among the pixels of each mask, float32 [B, K]."""
    flat_BN = masks_B1HW.flatten(1)
    return torch.stack([(flat_BN == label).float().mean(dim=1) for label in range(num_classes)], dim=1)


CONDITIONINGS: dict[str, type[Conditioning]] = {
    "histogram": ClassHistogram,
    "max": LargestClass,
    "proportions": ClassProportions,
}
"""The values of `model.class_conditioning`."""


def find_conditioning(name: str) -> type[Conditioning]:
    """Find a conditioning by name.

    Raises:
        HistodsError: there is none.
    """
    if name not in CONDITIONINGS:
        raise wrong_setting("model.class_conditioning", one_of(CONDITIONINGS), repr(name))
    return CONDITIONINGS[name]


def _count(mask_B1HW: Tensor, size: tuple[int, int], num_classes: int) -> tuple[Tensor, int]:
    """Pixel counts of each class under each latent, float32 [B, K, h, w], and the pixels that a latent covers."""
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
