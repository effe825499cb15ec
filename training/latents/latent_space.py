"""Normalisation of latents: scale, shift, mean, deviation, clip and image range, as one convention.

The convention is kept in one place and saved with the weights, so training and sampling cannot differ.
Shapes: B samples, C channels, H and W of latents.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentSpace:
    """An affine map from an autoencoder's latents z to the network's input: x = (z scale + shift - mean) / std.

    Attributes:
        scale: factor on all channels.
        shift: added after scaling.
        mean: the mean of each channel after scale and shift; empty for none.
        std: the standard deviation of each channel after scale and shift; empty for none.
        clip: bound on predicted x0 while sampling; None for no clip.
        image_low: value of black in the autoencoder's input images, -1 or 0; white is 1.

    Raises:
        HistodsError: the map has no inverse, or clip or range is invalid.
    """

    scale: float = 1.0
    shift: float = 0.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    clip: float | None = None
    image_low: float = -1.0

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (self.scale, self.shift, *self.mean, *self.std)))
        if not (finite and self.scale and len(self.mean) == len(self.std) and all(std > 0 for std in self.std)):
            raise HistodsError(
                "A latent space needs a scale other than 0, and a deviation above 0 for each mean, but has "
                f"scale {self.scale}, shift {self.shift}, mean {self.mean}, std {self.std}; run 'histods encode'."
            )
        if (self.clip is not None and not self.clip > 0) or self.image_low not in (-1, 0):
            raise HistodsError(
                "A latent space needs a clip above 0 or none, and images from -1 or 0, but has clip "
                f"{self.clip} and images from {self.image_low}; correct them."
            )

    @classmethod
    def preset(
        cls, name: str, *, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> LatentSpace:
        """One of the named conventions.

        `default` whitens z with its mean and deviation, without a clip. `paper` is z / 50, clipped to +-1.
        `fork` is 2 (0.18215 z) - 1 of images from 0 to 1, clipped to +-1. `one_hot` turns planes of 0 and 1
        into -1 and 1, for masks.

        Raises:
            HistodsError: there is no such preset, or `default` lacks mean and std.
        """
        if name == "paper":
            return cls(scale=1 / 50, clip=1.0)
        if name == "fork":  # as it trains; unlike `denormalise`, its sampling omits the shift
            return cls(scale=2 * 0.18215, shift=-1.0, clip=1.0, image_low=0.0)
        if name == "default" and mean is not None and std is not None:
            return cls(mean=tuple(mean), std=tuple(std))
        if name == "one_hot":
            return cls(scale=2.0, shift=-1.0, clip=1.0)
        raise HistodsError(
            f"There is no latent space {name!r}; choose default (with mean and std), paper or fork."
        )

    def normalise(self, z_BCHW: Tensor) -> Tensor:
        """The network's input for latents, float32."""
        columns = self._columns(z_BCHW)
        return torch.stack([z * factor + offset for z, factor, offset in columns], dim=1)

    def denormalise(self, x_BCHW: Tensor) -> Tensor:
        """The autoencoder's latents for normalised ones, float32; the inverse of `normalise`."""
        columns = self._columns(x_BCHW)
        return torch.stack([(x - offset) / factor for x, factor, offset in columns], dim=1)

    def _columns(self, latents_BCHW: Tensor) -> list[tuple[Tensor, float, float]]:
        """Each channel with its factor and offset, x = z factor + offset; numbers, which need no device sync."""
        channels = latents_BCHW.float().unbind(1)
        means, stds = self.mean or (0.0,) * len(channels), self.std or (1.0,) * len(channels)
        if len(means) != len(channels):
            raise HistodsError(
                f"The latents have {len(channels)} channels, but the latent space has {len(means)}; "
                "use the run's autoencoder."
            )
        return [
            (channel, self.scale / std, (self.shift - mean) / std)
            for channel, mean, std in zip(channels, means, stds, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """The latent space as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> LatentSpace:
        """Restore a latent space from the result of `to_json`.

        Raises:
            HistodsError: the document is invalid.
        """
        try:
            return cls(**document | {"mean": tuple(document["mean"]), "std": tuple(document["std"])})
        except (KeyError, TypeError) as error:
            raise HistodsError(
                f"The checkpoint holds no valid latent space ({error}); use another checkpoint."
            ) from error
