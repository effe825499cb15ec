"""The built-in autoencoder: principal components of 8x8x3 blocks. It needs no download and can be tested exactly.

Shapes: B images, C latent channels, H and W pixels, h and w blocks (H / 8, W / 8).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import conv2d, conv_transpose2d

from histods.errors import HistodsError
from histods.io.atomic import replacing, write_json
from histods.io.workspace import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor

NO_VARIANCE = -30.0
"""Log-variance reported by an autoencoder that has no variance: the lower bound of diffusers."""
BLOCK = 8
_CHANNELS = 4
_VALUES = 3 * BLOCK * BLOCK  # in a block
_DESCRIPTION, _WEIGHTS = "autoencoder.json", "autoencoder.safetensors"


class LinearAutoencoder:
    """Represents each 8x8 block of an image by 4 numbers: its leading principal components.

    Encoding and decoding projects each block orthogonally onto their span (Pearson, "On lines and planes of
    closest fit", 1901). Components are orthonormal, so latents have the units of pixels.

    Attributes:
        components: float32 [4, 3, 8, 8], orthonormal, by descending variance; the largest entry of each is
            positive.
        mean: float32 [3, 8, 8], the mean block of images in [-1, 1].
        explained: share of the variance of blocks that the components hold, 0 to 1.
        source: digest of the images that it was fitted to, if known.
    """

    channels = _CHANNELS
    factor = BLOCK
    name = "linear"

    def __init__(self, components: Tensor, mean: Tensor, *, explained: float, source: str = "") -> None:
        self.components = components.float().contiguous()
        self.mean = mean.float().contiguous()
        self.explained = explained
        self.source = source
        self.digest = _digest(self.components, self.mean)

    @classmethod
    def fit(cls, batches_BCHW: Iterable[Tensor], source: str = "") -> LinearAutoencoder:
        """Fit the components to the blocks of all images.

        Sums are of integers and stay below 2**53 (for up to 138 billion blocks), so they are exact: neither the
        order of the images nor the batch size can change the result.

        Args:
            batches_BCHW: uint8 [B, 3, H, W]; H and W are multiples of 8.
            source: digest of the data set of the images.

        Raises:
            HistodsError: there are no images, or their sides are not multiples of 8.
        """
        count = 0
        total = np.zeros(_VALUES)
        products = np.zeros((_VALUES, _VALUES))
        for images_BCHW in batches_BCHW:
            _check_sides(images_BCHW)
            for blocks in map(_blocks, images_BCHW):  # one image at a time, to limit memory
                count += len(blocks)
                total += blocks.sum(axis=0)
                products += blocks.T @ blocks
        if count == 0:
            raise HistodsError("There are no images to fit the linear autoencoder to; give at least one.")
        mean = total / count
        covariance = products / count - np.outer(mean, mean)
        variances, vectors = np.linalg.eigh(covariance)
        leading = vectors[:, : -_CHANNELS - 1 : -1].T
        largest = np.abs(leading).argmax(axis=1)
        leading = leading * np.sign(leading[np.arange(_CHANNELS), largest])[:, None]
        variances = np.maximum(variances, 0)
        explained = float(variances[-_CHANNELS:].sum() / variances.sum()) if variances.any() else 1.0
        return cls(
            torch.from_numpy(leading).reshape(_CHANNELS, 3, BLOCK, BLOCK),
            torch.from_numpy(mean / 127.5 - 1).reshape(3, BLOCK, BLOCK),
            explained=explained,
            source=source,
        )

    def to(self, device: torch.device | str) -> LinearAutoencoder:
        """Compute on a device from now on."""
        self.components, self.mean = self.components.to(device), self.mean.to(device)
        return self

    def encode(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of latents, float32 [B, 4, h, w] each, of images in [-1, 1].

        Raises:
            HistodsError: a side is not a multiple of 8.
        """
        _check_sides(images_BCHW)
        images_BCHW = images_BCHW.to(self.components)
        offset = -(self.components * self.mean).sum(dim=(1, 2, 3))
        means_BChw = conv2d(images_BCHW, self.components, offset, stride=BLOCK)
        return means_BChw, torch.full_like(means_BChw, NO_VARIANCE)

    def decode(self, latents_BChw: Tensor) -> Tensor:
        """Images, float32 [B, 3, H, W] in about [-1, 1], of latents [B, 4, h, w]."""
        _, _, height, width = latents_BChw.shape
        blocks = conv_transpose2d(latents_BChw.to(self.components), self.components, stride=BLOCK)
        return blocks + self.mean.tile(1, height, width)

    def save(self, folder: str | Path) -> None:
        """Write `autoencoder.safetensors` and, once that is complete, `autoencoder.json`."""
        from safetensors.torch import save_file

        folder = Path(folder)
        with replacing(folder / _WEIGHTS) as temporary:
            save_file({"components": self.components.cpu(), "mean": self.mean.cpu()}, temporary)
        description = {
            "schema_version": 1,
            "kind": self.name,
            "explained": self.explained,
            "source": self.source,
            "digest": self.digest,
        }
        write_json(folder / _DESCRIPTION, description)

    @classmethod
    def load(cls, folder: str | Path) -> LinearAutoencoder:
        """Load exactly what `save` wrote.

        Raises:
            HistodsError: a file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        description = read_json(Path(folder) / _DESCRIPTION)
        weights = Path(folder) / _WEIGHTS
        try:
            tensors = load_file(weights)
            found = cls(
                tensors["components"],
                tensors["mean"],
                explained=float(description["explained"]),
                source=str(description["source"]),
            )
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise HistodsError(
                f"The linear autoencoder in {folder} cannot be read: {reason}; run 'histods encode' again."
            ) from error
        if found.digest != description.get("digest"):
            raise HistodsError(
                f"{weights} does not hold the weights that {_DESCRIPTION} describes; run 'histods encode' again."
            )
        return found


def is_linear(folder: Path) -> bool:
    """Whether `LinearAutoencoder.save` wrote this folder."""
    return (folder / _DESCRIPTION).is_file()


def _check_sides(images_BCHW: Tensor) -> None:
    height, width = images_BCHW.shape[-2:]
    if height % BLOCK or width % BLOCK:
        raise HistodsError(
            f"The images are {width}x{height}, but their sides must be multiples of {BLOCK}; crop or resize them."
        )


def _blocks(image_CHW: Tensor) -> NDArray[np.float64]:
    """The blocks of an image, [h * w, 192], each in the order channel, row, column."""
    channels, height, width = image_CHW.shape
    split = image_CHW.cpu().numpy().reshape(channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return split.transpose(1, 3, 0, 2, 4).reshape(-1, _VALUES).astype(np.float64)


def _digest(components: Tensor, mean: Tensor) -> str:
    """SHA-256 of everything that determines the latents."""
    digest = hashlib.sha256(json.dumps(["linear", BLOCK, _CHANNELS]).encode())
    for tensor in (components, mean):
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
