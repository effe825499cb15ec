"""Guidance: samples are pushed away from a weaker prediction, such as one without the condition.

Shapes: B images, C channels, H and W of latents (of masks: pixels); T noise levels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from training.config.sections import Prediction
    from training.diffusion.process import Schedule
    from training.diffusion.samplers import Denoise

Network = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]
"""Prediction for noisy latents [B, C, H, W] at noise levels [B] with masks [B, 1, H', W']."""


def guided(
    module: nn.Module,
    mask_B1HW: Tensor,
    scale: float,
    *,
    levels_T: Sequence[bool] = (),
    rescale: float = 0.0,
) -> Denoise:
    """Classifier-free guidance: null + scale (conditional - null), both from one batch of size 2 B.

    Ho and Salimans 2022, eq. 6, where the scale is written 1 + w. One condition holds all classes of a mask; with
    scale 1 the null prediction is not computed.

    Args:
        module: the network.
        mask_B1HW: the condition.
        scale: how strongly to guide; 1 is not at all.
        levels_T: whether to guide at each noise level; empty for all. At others the null is not computed.
        rescale: see `rescaled`.
    """
    count = len(mask_B1HW)
    masks = torch.cat([mask_B1HW, mask_B1HW])
    dropped = torch.arange(2 * count, device=mask_B1HW.device) >= count

    def conditional(x_BCHW: Tensor, t_B: Tensor) -> Tensor:
        prediction_BCHW: Tensor = module(x_BCHW, t_B, mask_B1HW)
        return prediction_BCHW

    def both(x_BCHW: Tensor, t_B: Tensor) -> tuple[Tensor, Tensor]:
        pair: Tensor = module(torch.cat([x_BCHW, x_BCHW]), torch.cat([t_B, t_B]), masks, dropped)
        with_mask, null = pair.chunk(2)
        return with_mask, null

    return _extrapolated(conditional, both, scale, levels_T, rescale)


def autoguided(
    module: nn.Module,
    guide: Network,
    mask_B1HW: Tensor,
    scale: float,
    *,
    levels_T: Sequence[bool] = (),
    rescale: float = 0.0,
) -> Denoise:
    """Autoguidance: guide + scale (prediction - guide), both with the same condition.

    Karras et al., "Guiding a diffusion model with a bad version of itself", NeurIPS 2024. The guide is a smaller
    or less trained network: where both err in the same direction, the difference leads away from the error.
    Predictions are affine in x0 at a given x_t, so this is the same as guidance of x0.

    Args:
        module: the network.
        guide: the guide; it must predict the same as the network, see `predicting`.
        mask_B1HW: the condition.
        scale: how strongly to guide; 1 is not at all.
        levels_T: whether to guide at each noise level; empty for all. At others the guide is not asked.
        rescale: see `rescaled`.
    """

    def strong(x_BCHW: Tensor, t_B: Tensor) -> Tensor:
        prediction_BCHW: Tensor = module(x_BCHW, t_B, mask_B1HW)
        return prediction_BCHW

    def both(x_BCHW: Tensor, t_B: Tensor) -> tuple[Tensor, Tensor]:
        return strong(x_BCHW, t_B), guide(x_BCHW, t_B, mask_B1HW)

    return _extrapolated(strong, both, scale, levels_T, rescale)


def predicting(module: Network, schedule: Schedule, own: Prediction, wanted: Prediction) -> Network:
    """A network whose predictions are converted into another kind, for example of x0 into one of v.

    Args:
        module: the network.
        schedule: its noise schedule, on the device.
        own: what it predicts; not `epsilon`, which says nothing about x0 where there is hardly any signal.
        wanted: what is wanted instead.
    """
    if own == wanted:
        return module

    def converted(x_BCHW: Tensor, t_B: Tensor, mask_B1HW: Tensor) -> Tensor:
        output_BCHW = module(x_BCHW, t_B, mask_B1HW)
        x0_BCHW = schedule.to_x0(own, output_BCHW, x_BCHW, t_B)
        noise_BCHW = schedule.to_noise(own, output_BCHW, x_BCHW, t_B)
        return schedule.target(wanted, x0_BCHW, noise_BCHW, t_B)

    return converted


def _extrapolated(
    strong: Denoise,
    both: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    scale: float,
    levels_T: Sequence[bool],
    rescale: float,
) -> Denoise:
    """Predict weak + scale (strong - weak), or strong alone at levels that are not guided."""
    if scale == 1:
        return strong

    def denoise(x_BCHW: Tensor, t_B: Tensor) -> Tensor:
        if levels_T and not levels_T[int(t_B[0])]:  # samplers ask for one level at once
            return strong(x_BCHW, t_B)
        strong_BCHW, weak_BCHW = both(x_BCHW, t_B)
        found_BCHW = weak_BCHW + scale * (strong_BCHW - weak_BCHW)
        return rescaled(found_BCHW, strong_BCHW, rescale) if rescale else found_BCHW

    return denoise


def rescaled(guided_BCHW: Tensor, strong_BCHW: Tensor, share: float) -> Tensor:
    """Give guided predictions back part of the deviation that they had without guidance, image by image.

    Guidance makes predictions, and so images, too rich in contrast. Lin, Liu, Li and Yang, "Common diffusion noise
    schedules and sample steps are flawed", WACV 2024, section 3.4, eq. 14 to 16.

    Args:
        guided_BCHW: guided predictions.
        strong_BCHW: the same without guidance.
        share: the paper's phi: 0 changes nothing, and 1 gives back all of the deviation.
    """
    wanted_B111 = strong_BCHW.std(dim=(1, 2, 3), keepdim=True)
    found_B111 = guided_BCHW.std(dim=(1, 2, 3), keepdim=True)
    factor_B111 = torch.where(found_B111 > 0, wanted_B111 / found_B111, 1)
    return guided_BCHW * (share * factor_B111 + (1 - share))


def levels_within(schedule: Schedule, low: float, high: float) -> list[bool]:
    """Whether the share of noise at each of T levels, noise / (noise + signal), is from `low` to `high`.

    The share is 0 without noise, 1/2 where there is as much noise as signal, and 1 for pure noise. It is the same
    function of the ratio of noise to signal for all schedules, and so does not depend on them, nor on the steps.
    Guidance on an interval: Kynkaanniemi et al., "Applying guidance in a limited interval improves sample and
    distribution quality in diffusion models", NeurIPS 2024.
    """
    share_T = schedule.noise_T / (schedule.noise_T + schedule.signal_T)
    within: list[bool] = ((share_T >= low) & (share_T <= high)).tolist()
    return within


def one_pass_per_class(module: nn.Module, mask_B1HW: Tensor, scale: float) -> Denoise:
    """Sample like the reference: one guided pass per class, with other classes zeroed, composed by the mask.

    The mask is reduced to the size of the latents by nearest neighbour. Class 0 is treated like the others; its
    pass gets a mask of zeros. An image takes part only in the passes of its own classes.
    """

    @cache
    def passes(height: int, width: int) -> list[tuple[Tensor, Tensor, Denoise]]:
        cells_B1hw = interpolate(mask_B1HW.float(), (height, width), mode="nearest").to(mask_B1HW.dtype)
        found = []
        for index in cells_B1hw.unique().tolist():  # type: ignore[no-untyped-call]
            here_B1hw = cells_B1hw == index
            rows = here_B1hw.flatten(1).any(1).nonzero()[:, 0]
            alone = torch.where(here_B1hw, cells_B1hw, 0)[rows]
            found.append((rows, here_B1hw[rows], guided(module, alone, scale)))
        return found

    def denoise(x_BCHW: Tensor, t_B: Tensor) -> Tensor:
        result = torch.zeros_like(x_BCHW)
        for rows, here, predict in passes(x_BCHW.shape[2], x_BCHW.shape[3]):
            result[rows] = torch.where(here, predict(x_BCHW[rows], t_B[rows]), result[rows])
        return result

    return denoise
