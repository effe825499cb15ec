"""The network: the section `model` of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.config.setting import expect_setting

LATENT_FACTOR = 8
"""Pixels per latent along each side."""
AttentionForm = Literal["two_query", "plain"]
Null = Literal["learned", "zero_mask"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The settings of the network.

    Attributes:
        image_size: pixels; the side of the latents is an eighth of it.
        dim: channels of the first level, and width of the class embeddings.
        num_classes: K; None takes it from the label map of the data.
        dim_mults: channels of each level's output, in multiples of `dim`; each level but the last halves the size.
        channels: the number of latent channels.
        resnet_block_groups: the number of groups of the group norms.
        block_per_layer: residual blocks per level; must be 2.
        class_conditioning: one of `training.model.conditioning.CONDITIONINGS`: `histogram` (embeddings
            weighted by fractions of pixels), `max` (only the largest class), or `proportions` (the amount of each
            class, or that it is free), for networks that make masks.
        spatial: also give the first convolution the location of each class. Without it, masks whose classes change
            places are the same to the network, as in DiffInfinite. New runs have it unless a file is read or a
            preset imitates DiffInfinite: see `training.verbs.train_settings`.
        null: what the network gets where the condition is dropped: `learned`, a learned embedding (and no class
            anywhere), or `zero_mask`, a mask of class 0 only.
        attention: `two_query`, or `plain`, which is slower but equivalent.
        dropout: probability, 0 to under 1.

    Raises:
        HistodsError: a value is out of range, or values contradict each other.
    """

    image_size: int = 512
    dim: int = 256
    num_classes: int | None = None
    dim_mults: tuple[int, ...] = (1, 2, 4)
    channels: int = 4
    resnet_block_groups: int = 2
    block_per_layer: int = 2
    class_conditioning: str = "histogram"
    spatial: bool = False
    null: Null = "learned"
    attention: AttentionForm = "two_query"
    dropout: float = 0.05

    def __post_init__(self) -> None:
        _expect(self.dim >= 4 and self.dim % 2 == 0, "dim", "an even number of at least 4", self.dim)
        _expect(self.num_classes is None or self.num_classes >= 1, "num_classes", "at least 1", self.num_classes)
        mults = list(self.dim_mults)
        _expect(bool(mults) and min(mults) >= 1, "dim_mults", "a list of numbers from 1, such as [1, 2, 4]", mults)
        _expect(self.channels >= 1, "channels", "at least 1", self.channels)
        groups = self.resnet_block_groups
        _expect(groups >= 1, "resnet_block_groups", "at least 1", groups)
        fits = all(width % groups == 0 for width in self.widths)
        _expect(fits, "resnet_block_groups", f"a divisor of all the widths {list(self.widths)}", groups)
        _expect(self.block_per_layer == 2, "block_per_layer", "2", self.block_per_layer)
        least = LATENT_FACTOR * self.size_multiple
        fits = self.image_size >= least and self.image_size % least == 0
        of_what = f"{LATENT_FACTOR} pixels per latent, halved {len(mults) - 1} times"
        _expect(fits, "image_size", f"a multiple of {least} ({of_what})", self.image_size)
        _expect(0 <= self.dropout < 1, "dropout", "at least 0 and below 1", self.dropout)
        _expect_one_of("null", self.null, ("learned", "zero_mask"))
        _expect_one_of("attention", self.attention, ("two_query", "plain"))

    @property
    def widths(self) -> tuple[int, ...]:
        """Input channels of the first level, then output channels of each level."""
        return (self.dim, *(self.dim * mult for mult in self.dim_mults))

    @property
    def size_multiple(self) -> int:
        """What height and width of latents must be multiples of."""
        return 1 << (len(self.dim_mults) - 1)


def _expect(fits: bool, name: str, condition: str, found: object) -> None:
    expect_setting(fits, f"model.{name}", condition, found)


def _expect_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    _expect(value in choices, name, " or ".join(choices), repr(value))
