"""Inpainting: sample latents in one region, and keep those of an image elsewhere.

Shapes: B images, C channels, h and w of latents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from training.config.sections import Prediction
    from training.diffusion.process import Schedule
    from training.diffusion.samplers import Denoise


def keeping(
    denoise: Denoise,
    schedule: Schedule,
    prediction: Prediction,
    *,
    known_BChw: Tensor,
    noise_BChw: Tensor,
    change_B1hw: Tensor,
) -> Denoise:
    """A prediction function that samplers of any kind follow to the known latents outside a region.

    At each level the network gets the known latents with noise of that level outside the region, as in Lugmayr et
    al., "RePaint: Inpainting using denoising diffusion probabilistic models", CVPR 2022, eq. 8. The noise is that
    from which sampling starts, so the known part moves along one straight path. Outside the region the result is
    the prediction whose x0 is the known one.

    Args:
        denoise: the prediction function.
        schedule: the noise schedule, on the device.
        prediction: what `denoise` predicts.
        known_BChw: the latents to keep.
        noise_BChw: the initial noise of the sampler.
        change_B1hw: true in the region to sample.
    """

    def replaced(x_BChw: Tensor, t_B: Tensor) -> Tensor:
        shown_BChw = torch.where(change_B1hw, x_BChw, schedule.add_noise(known_BChw, noise_BChw, t_B))
        found_BChw = denoise(shown_BChw, t_B).float()
        implied_BChw = schedule.to_noise("x0", known_BChw, x_BChw, t_B)
        return torch.where(change_B1hw, found_BChw, schedule.target(prediction, known_BChw, implied_BChw, t_B))

    return replaced
