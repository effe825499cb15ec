"""Turn noise into images for masks with a trained network, its schedule, latent space and autoencoder.

Shapes: B images, C channels, H and W pixels, h and w of latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from histods.errors import HistodsError
from training.diffusion.guidance import autoguided, guided, levels_within, one_pass_per_class, predicting
from training.diffusion.inpainting import keeping
from training.diffusion.noise import normal_noise
from training.diffusion.samplers import ddim, dpm_solver_2m
from training.diffusion.unipc import unipc
from training.diffusion.windows import in_windows, moving_grid, random_patches
from training.inference.kept_images import join
from training.inference.pictures import to_pixels
from training.inference.tiled_decoding import decode_strips
from training.inference.tiled_encoding import encode_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from training.autoencoders.base import Autoencoder
    from training.config.sections import Prediction
    from training.diffusion.process import Schedule
    from training.diffusion.samplers import Denoise
    from training.inference.kept_images import Kept
    from training.inference.sampling import Sampling
    from training.latents.latent_space import LatentSpace

_SOLVERS = {"dpm": dpm_solver_2m, "ddim": ddim, "unipc": unipc}
MIN_TILE = 64
"""Latents along each side of a tile that is decoded at once, at least; 512 pixels at 8 pixels per latent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingPipeline:
    """Makes images for masks.

    Attributes:
        model: the network, in eval mode, on the device.
        autoencoder: the autoencoder, on the device.
        schedule: the noise schedule.
        space: the latent space.
        prediction: what the network predicts.
        sampling: sampler, steps and guidance.
        device: where to compute.
        guide: the network to guide away from, and what it predicts; by default the network without condition.
        half: let the network compute in bfloat16.
        window: side of the latents that the network was trained on; larger ones are sampled in windows of that
            size and decoded in tiles. None: any size in one piece.
        batch: windows at once.
    """

    model: nn.Module
    autoencoder: Autoencoder
    schedule: Schedule
    space: LatentSpace
    prediction: Prediction
    sampling: Sampling
    device: torch.device
    guide: tuple[nn.Module, Prediction] | None = None
    half: bool = False
    window: int | None = None
    batch: int = 8

    def __call__(
        self, masks_B1HW: Tensor, seeds: Sequence[int], progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.uint8]:
        """Make images, uint8 [B, H, W, 3], for masks of classes; one seed per image allows any batch size.

        Args:
            masks_B1HW: classes, any integer type.
            seeds: one per image.
            progress: called with each step and the number of steps.

        Raises:
            HistodsError: the result is not finite.
        """
        return np.concatenate(list(self.strips(masks_B1HW, seeds, progress)), axis=1)

    @torch.no_grad()
    def strips(
        self,
        masks_B1HW: Tensor,
        seeds: Sequence[int],
        progress: Callable[[int, int], None] | None = None,
        kept: Kept | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """Make images as strips of rows from top to bottom, uint8 [B, rows, W, 3]; see `__call__`.

        Args:
            masks_B1HW: classes, any integer type.
            seeds: one per image.
            progress: called with each step and the number of steps.
            kept: images of which a part is kept; they come as one strip.

        Raises:
            HistodsError: the result is not finite.
        """
        masks_B1HW = masks_B1HW.to(self.device)
        if kept is None:
            yield from self._decode(self._solve(masks_B1HW, seeds, progress))
        elif not kept.change_BHW.any():
            yield kept.images_BHW3
        else:
            latents_BChw = self._solve(masks_B1HW, seeds, progress, kept)
            made_BHW3 = np.concatenate(list(self._decode(latents_BChw)), axis=1)
            yield join(made_BHW3, kept, radius=self.autoencoder.factor)

    def _tile(self, height: int, width: int) -> int:
        """Latents along each side of a tile that is encoded or decoded at once."""
        return max(self.window or max(height, width), MIN_TILE)

    def _encode(self, images_BHW3: NDArray[np.uint8]) -> Tensor:
        """Normalised latents of images."""
        low, factor = self.space.image_low, self.autoencoder.factor
        images_B3HW = (
            torch.from_numpy(images_BHW3).to(self.device).permute(0, 3, 1, 2).float() / 255 * (1 - low) + low
        )
        tile = self._tile(*(side // factor for side in images_B3HW.shape[2:]))
        return encode_tiles(
            lambda part_B3HW: self.space.normalise(self.autoencoder.encode(part_B3HW)[0]),
            images_B3HW,
            factor=factor,
            tile=tile,
            overlap=tile // 4,
        )

    def _decode(self, latents_BChw: Tensor) -> Iterator[NDArray[np.uint8]]:
        """Strips of images."""
        tile = self._tile(*latents_BChw.shape[2:])
        for strip_BCHW in decode_strips(
            lambda part_BChw: self.autoencoder.decode(self.space.denormalise(part_BChw)),
            latents_BChw,
            factor=self.autoencoder.factor,
            tile=tile,
            overlap=tile // 4,
        ):
            if not torch.isfinite(strip_BCHW).all():
                raise HistodsError(
                    "The network's images hold numbers that are not finite: its weights have diverged; "
                    "choose an earlier checkpoint (--run RUN/checkpoints/step-N)."
                )
            yield to_pixels(strip_BCHW, self.space.image_low)

    def _solve(
        self,
        masks_B1HW: Tensor,
        seeds: Sequence[int],
        progress: Callable[[int, int], None] | None,
        kept: Kept | None = None,
    ) -> Tensor:
        """Solve for normalised latents from noise."""
        sampling, factor = self.sampling, self.autoencoder.factor
        height, width = (side // factor for side in masks_B1HW.shape[2:])
        noise_BChw = normal_noise(seeds, (self.autoencoder.channels, height, width), self.device)
        guide = self._guide()
        if self.window is None or max(noise_BChw.shape[2:]) <= self.window:
            denoise = guide(masks_B1HW)
        else:
            plan = random_patches if sampling.reference else moving_grid
            denoise = in_windows(guide, masks_B1HW, seeds, side=self.window, batch=self.batch, plan=plan)
        if kept is not None:
            change_BHW = torch.from_numpy(kept.change_BHW).to(self.device)
            denoise = keeping(
                denoise,
                self.schedule,
                self.prediction,
                known_BChw=self._encode(kept.images_BHW3),
                noise_BChw=noise_BChw,
                change_B1hw=max_pool2d(change_BHW[:, None].float(), factor) > 0,
            )
        solve: Callable[..., Tensor] = _SOLVERS[sampling.sampler]
        options = {"eta": sampling.eta, "seeds": seeds} if sampling.sampler == "ddim" else {}
        return solve(
            denoise,
            self.schedule,
            noise_BChw,
            prediction=self.prediction,
            steps=sampling.steps,
            levels=sampling.levels,
            clip=self.space.clip,
            progress=progress,
            **options,
        )

    def _guide(self) -> Callable[[Tensor], Denoise]:
        """Makes the prediction function for masks."""
        model, sampling = InPrecision(self.model, half=self.half), self.sampling
        if sampling.reference:
            return partial(one_pass_per_class, model, scale=sampling.guidance)
        everywhere = sampling.guidance_interval == (0.0, 1.0)
        how: dict[str, Any] = {
            "scale": sampling.guidance,
            "levels_T": () if everywhere else levels_within(self.schedule, *sampling.guidance_interval),
            "rescale": sampling.guidance_rescale,
        }
        if self.guide is None:
            return partial(guided, model, **how)
        network, prediction = self.guide
        weak = predicting(InPrecision(network, half=self.half), self.schedule, prediction, self.prediction)
        return partial(autoguided, model, weak, **how)


class InPrecision(nn.Module):
    """A network that computes in bfloat16 or float32 but returns float32, since guidance takes differences."""

    def __init__(self, model: nn.Module, *, half: bool) -> None:
        super().__init__()
        self._model = model
        self._half = half

    def forward(self, x_BChw: Tensor, *condition: Tensor) -> Tensor:
        """The prediction, float32."""
        with torch.autocast(x_BChw.device.type, torch.bfloat16, enabled=self._half):
            output: Tensor = self._model(x_BChw, *condition)
        return output.float()
