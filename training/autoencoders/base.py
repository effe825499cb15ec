"""Autoencoders, which turn images into latents and back: one interface for the built-in and published ones.

Latents are not scaled here; `training.latents.latent_space` is the only place that does it.

Shapes: B images, C latent channels, H and W pixels, h and w of latents.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from histods.errors import HistodsError, MissingExtraError
from histods.io.workspace import read_json
from training.autoencoders.linear import NO_VARIANCE, LinearAutoencoder, is_linear
from training.hub import find_folder, one_line

if TYPE_CHECKING:
    from torch import Tensor

_FILES = ("config.json", "diffusion_pytorch_model*.safetensors*")
_KINDS = ("AutoencoderKL", "AutoencoderTiny")


class Autoencoder(Protocol):
    """Turns images into latents and back without gradients; call it outside autocast, which would round them.

    Attributes:
        channels: the number of latent channels.
        factor: the number of pixels per latent along each side.
        name: the name to give to `load_autoencoder`; `linear` for the built-in one.
        digest: SHA-256 of the weights and the configuration.
    """

    channels: int
    factor: int
    name: str
    digest: str

    def to(self, device: torch.device | str) -> Autoencoder:
        """Move to a device and compute there."""

    def encode(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of latents, float32 [B, C, h, w] each, of images [B, 3, H, W] in [-1, 1]."""

    def decode(self, latents_BChw: Tensor) -> Tensor:
        """Images, float32 [B, 3, H, W] in about [-1, 1]."""


class DiffusersAutoencoder:
    """`AutoencoderKL` or `AutoencoderTiny` from diffusers; the latter has no variance.

    Args:
        module: the autoencoder; it is switched to evaluation mode.
        name: the folder or hub id that it was loaded from.
    """

    def __init__(self, module: Any, name: str) -> None:
        self.name = name
        self.module = module.eval().requires_grad_(False)
        self._kind = type(module).__name__
        widths = "block_out_channels" if self._kind == "AutoencoderKL" else "encoder_block_out_channels"
        self.channels = int(module.config["latent_channels"])
        self.factor = 2 ** (len(module.config[widths]) - 1)
        self.digest = _digest(module)

    def to(self, device: torch.device | str) -> DiffusersAutoencoder:
        """Move to a device and compute there."""
        self.module.to(device)
        return self

    @torch.no_grad()
    def encode(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """See `Autoencoder.encode`.

        Raises:
            HistodsError: a side is not a multiple of the factor, so the border would be lost.
        """
        height, width = images_BCHW.shape[-2:]
        if height % self.factor or width % self.factor:
            raise HistodsError(
                f"The images are {width}x{height}, but their sides must be multiples of {self.factor}; "
                "crop or resize them."
            )
        encoded = self.module.encode(images_BCHW.to(self._like()))
        if self._kind == "AutoencoderKL":
            return encoded.latent_dist.mean, encoded.latent_dist.logvar
        return encoded.latents, torch.full_like(encoded.latents, NO_VARIANCE)

    @torch.no_grad()
    def decode(self, latents_BChw: Tensor) -> Tensor:
        """See `Autoencoder.decode`."""
        images_BCHW: Tensor = self.module.decode(latents_BChw.to(self._like())).sample
        return images_BCHW

    def _like(self) -> Tensor:
        """A tensor with the device and precision of the weights."""
        weight: Tensor = next(self.module.parameters())
        return weight


def load_autoencoder(name: str, device: torch.device | str = "cpu") -> Autoencoder:
    """Load the autoencoder from a folder or from a hub id such as `stabilityai/sd-vae-ft-mse`.

    The folder was written by `histods encode` or by `save_pretrained` of diffusers, or belongs to a pipeline with
    the autoencoder in `vae`. Weights are read only from safetensors, never from pickles.

    Raises:
        HistodsError: the folder or hub id does not exist, cannot be downloaded, or holds something else.
        MissingExtraError: diffusers is needed but not installed.
    """
    folder = Path(name)
    if is_linear(folder):
        return LinearAutoencoder.load(folder).to(device)
    folder = _find(name)
    if not (folder / "config.json").is_file() and (folder / "vae" / "config.json").is_file():
        folder = folder / "vae"
    return _load_diffusers(folder, name).to(device)


def _find(name: str) -> Path:
    """The folder, or the one in which the hub's client keeps the files of a hub id."""
    try:
        return find_folder(name, [*_FILES, *(f"vae/{file}" for file in _FILES)], others="'linear' or ")
    except ImportError as error:
        raise _missing(name) from error


def _load_diffusers(folder: Path, name: str) -> DiffusersAutoencoder:
    """The autoencoder in a diffusers folder, which must hold exactly the weights that the network has."""
    if not (folder / "config.json").is_file():
        raise HistodsError(
            f"{name} holds no autoencoder: it has neither autoencoder.json nor config.json; check the folder."
        )
    kind = read_json(folder / "config.json").get("_class_name")
    if kind not in _KINDS:
        raise HistodsError(f"{name} holds {kind}, not {' or '.join(_KINDS)}; choose another folder.")
    try:
        import diffusers
    except ImportError as error:
        raise _missing(name) from error
    try:
        module, told = getattr(diffusers, kind).from_pretrained(
            folder, use_safetensors=True, low_cpu_mem_usage=False, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise HistodsError(
            f"The weights of the {kind} in {name} cannot be loaded: {one_line(error)}; download them again."
        ) from error
    wrong = [
        f"{what.removesuffix('_keys')} {key}" for what, keys in told.items() for key in sorted(map(str, keys))
    ]
    if wrong:
        raise HistodsError(
            f"The weights in {name} do not match its config.json: {len(wrong)} differ "
            f"({wrong[0]}); download them again."
        )
    return DiffusersAutoencoder(module, name)


def _missing(name: str) -> MissingExtraError:
    return MissingExtraError(
        f"The autoencoder {name} needs diffusers, which is not installed; run \"pip install 'histods[train]'\"."
    )


def _digest(module: Any) -> str:
    """SHA-256 of configuration and weights, independent of the files that they came from."""
    config = {key: value for key, value in module.config.items() if not key.startswith("_")}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=list).encode())
    for key, tensor in sorted(module.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
