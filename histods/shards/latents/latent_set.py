"""A folder of latents, described by `latents.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from histods.errors import StaleFileError
from histods.shards.base import Series

if TYPE_CHECKING:
    from histods.shards.images.shard_set import ShardSet

INDEX = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.string()),
        ("split", pa.string()),
        ("role", pa.string()),
        ("group", pa.string()),
        ("moments_offset", pa.int64()),
        ("moments_crc", pa.list_(pa.uint32())),
        ("lengths_offset", pa.int64()),
        ("labels_offset", pa.int64()),
        ("runs", pa.uint32()),
        ("mask_crc", pa.uint32()),
        ("turned_runs", pa.uint32()),
        ("turned_crc", pa.uint32()),
        ("classes", pa.list_(pa.uint16())),
        ("pixels", pa.list_(pa.uint32())),
    ]
)
"""The location of each sample. Offsets are of bytes in the shard; runs in column-major order (`turned`) follow
those in row-major order. A CRC-32 covers one view's moments, or a mask's run lengths and then labels."""

LINEAR = "linear"
"""Name of the built-in autoencoder, which is stored with the latents."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedBy:
    """The autoencoder that made latents.

    Attributes:
        name: `linear`, a folder or a hub id.
        digest: SHA-256 of its weights and configuration.
        factor: number of pixels per latent along each side.
        channels: number of channels of its latents.
    """

    name: str
    digest: str
    factor: int
    channels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentSet(Series):
    """The contents of `latents.json`.

    Attributes:
        autoencoder: the autoencoder that made the latents, from images with values from -1 to 1.
        views: 8 dihedral views of each sample, or 1.
        channels: the number of channels of a latent.
        height: the height of a latent.
        width: the width of a latent.
        image_height: height of images and masks, pixels.
        image_width: width of images and masks, pixels.
        source_digest: digest of the index of the image shards.
        mean: mean of each channel over all views of the training split.
        std: standard deviation of each channel, including the posterior variance.
    """

    WHAT: ClassVar[str] = "latents"
    SUFFIX: ClassVar[str] = ".safetensors"
    FILE: ClassVar[str] = "latents.json"
    COMMAND: ClassVar[str] = "histods encode"
    INDEX: ClassVar[pa.Schema] = INDEX

    autoencoder: EncodedBy
    views: int
    channels: int
    height: int
    width: int
    image_height: int
    image_width: int
    source_digest: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def autoencoder_source(self) -> str:
        """The argument of `training.autoencoders.base.load_autoencoder` for the autoencoder of these latents."""
        return str(self.folder / "autoencoder") if self.autoencoder.name == LINEAR else self.autoencoder.name

    @property
    def command(self) -> str:
        """The command that makes them again."""
        return f"{self.COMMAND} --vae {self.autoencoder.name} --views {self.views}"

    def check_source(self, shards: ShardSet) -> None:
        """Check that these latents were made from the current state of some shards.

        Raises:
            StaleFileError: they were made from other shards, or the shards have changed.
        """
        if shards.index_digest != self.source_digest:
            raise StaleFileError(
                f"The latents in {self.folder} were made from other shards than those in {shards.folder}, or from "
                f"an earlier state of them; run '{self.command}' again."
            )

    def check_numbers(self) -> None:
        """Check that the sizes are possible, and that the shards are large enough for them.

        Raises:
            ValueError: one is not; the message is a part of a sentence.
        """
        super(LatentSet, self).check_numbers()
        sizes = (self.channels, self.height, self.width, self.autoencoder.factor)
        if self.views not in (1, 8) or min(sizes) < 1 or self.autoencoder.channels != self.channels:
            raise ValueError(f"{self.views} views of {self.channels}x{self.height}x{self.width} latents")
        if (self.image_height // sizes[3], self.image_width // sizes[3]) != (self.height, self.width):
            raise ValueError(f"images of {self.image_width}x{self.image_height} pixels")
        if {len(self.mean), len(self.std)} != {self.channels}:
            raise ValueError("mean and std of another number of channels")
        sample = 4 * self.views * self.channels * self.height * self.width
        if wrong := next((one for one in self.shards if one.samples * sample > one.bytes), None):
            raise ValueError(f"{wrong.samples:,} samples in the {wrong.bytes:,} bytes of {wrong.name}")
