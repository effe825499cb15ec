"""Turn noise into masks with a network that was trained on masks, with given proportions of some classes.

The network computes on one-hot planes of masks that were reduced. Planes are enlarged to pixels before the class
with the largest value is taken, so that borders are smooth and no third class lies on a border between two.

Shapes: B masks, K classes, h and w cells of planes, H and W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import conv2d, interpolate, pad

from histods.errors import HistodsError
from training.data.masks import one_hot
from training.diffusion.guidance import guided
from training.diffusion.noise import normal_noise
from training.diffusion.samplers import ddim, dpm_solver_2m
from training.diffusion.windows import in_windows
from training.inference.pipeline import InPrecision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from training.config.sections import Prediction
    from training.diffusion.process import Schedule
    from training.diffusion.samplers import Denoise
    from training.inference.sampling import Sampling
    from training.latents.latent_space import LatentSpace

_BLUR = (0.25, 0.5, 0.25)
"""Weights of a plane's cell and its neighbours along each axis before it is enlarged. Borders of cells are steps,
which linear interpolation alone would round off but keep; a strip of one cell, with half of its value left and a
quarter on either side, still has the largest value."""
_FITTINGS = 20
_FILLING_SWEEPS, _SETTLING_SWEEPS = 10, 2
SETTLING_ROUNDS = 16
_MOST_NOISE, _LEAST_NOISE = 2.0, 0.1  # of the rounds, over the signal
_LEAST_PROBABILITY = 1e-3
_LEAST_SHARE = 1e-6
_ROWS = 64  # of cells, enlarged at once


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskPipeline:
    """Makes masks.

    Attributes:
        model: the network, in eval mode, on the device.
        schedule: the noise schedule.
        space: the space of the planes.
        prediction: what the network predicts.
        sampling: how noise becomes planes.
        device: where to compute.
        window: side of the masks, in cells, that the network was trained on; larger ones are made in windows.
        batch: windows at once.
    """

    model: nn.Module
    schedule: Schedule
    space: LatentSpace
    prediction: Prediction
    sampling: Sampling
    device: torch.device
    window: int
    batch: int = 8

    @torch.no_grad()
    def __call__(
        self,
        wanted_BK: Tensor,
        size: tuple[int, int],
        seeds: Sequence[int],
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Make planes from 0 to 1, float32 [B, K, h, w].

        Args:
            wanted_BK: proportions of the classes; NaN for free ones.
            size: h and w; each at most `window`, or at least, with one mask at a time.
            seeds: one per mask.
            progress: called with each step and the number of steps.

        Raises:
            HistodsError: the result is not finite.
        """
        wanted_BK = wanted_BK.to(self.device)
        total = self.sampling.steps + SETTLING_ROUNDS

        def told(step: int, _steps: int) -> None:
            if progress is not None:
                progress(step, total)

        noise_BKhw = normal_noise(seeds, (wanted_BK.shape[1], *size), self.device)
        denoise = self._steered(self._predict(wanted_BK, size, seeds), wanted_BK)
        sampling = self.sampling
        if sampling.sampler == "dpm":
            x_BKhw = dpm_solver_2m(
                denoise,
                self.schedule,
                noise_BKhw,
                prediction="x0",
                steps=sampling.steps,
                clip=self.space.clip,
                progress=told,
            )
        else:
            x_BKhw = ddim(
                denoise,
                self.schedule,
                noise_BKhw,
                prediction="x0",
                steps=sampling.steps,
                eta=sampling.eta,
                clip=self.space.clip,
                seeds=seeds,
                progress=told,
            )
        if not torch.isfinite(x_BKhw).all():
            raise HistodsError(
                "The network's masks hold numbers that are not finite: its weights have diverged; "
                "choose an earlier checkpoint (--mask-run RUN/checkpoints/step-N)."
            )
        planes_BKhw = self.space.denormalise(x_BKhw).clamp(0, 1)
        for number, level in enumerate(settling_levels(self.schedule), start=1):
            planes_BKhw = self._settle(planes_BKhw, denoise, wanted_BK, level, seeds, number)
            told(sampling.steps + number, total)
        return planes_BKhw

    def _settle(
        self,
        planes_BKhw: Tensor,
        denoise: Denoise,
        wanted_BK: Tensor,
        level: int,
        seeds: Sequence[int],
        number: int,
    ) -> Tensor:
        """Take the most likely class of each cell, add noise, and let the network predict the planes again.

        Sampled planes are soft where the network was not sure, and their largest values leave specks and slivers
        that no training mask has. The network never saw such masks: when they are sharp and noisy again, it
        removes them. Adding noise to what was sampled and denoising it again is how Xu et al. correct errors of
        sampling ("Restart sampling for improving generative processes", NeurIPS 2023). Making values discrete in
        between is particular to masks.
        """
        filled_BKhw = fill_shares(planes_BKhw, wanted_BK, _SETTLING_SWEEPS)
        sharp_BKhw = one_hot(filled_BKhw.argmax(dim=1, keepdim=True), planes_BKhw.shape[1])
        noise_BKhw = normal_noise(seeds, sharp_BKhw.shape[1:], self.device, stream=self.sampling.steps + number)
        level_B = torch.full((len(sharp_BKhw),), level, device=self.device)
        x_BKhw = self.schedule.add_noise(self.space.normalise(sharp_BKhw), noise_BKhw, level_B)
        return self.space.denormalise(denoise(x_BKhw, level_B)).clamp(0, 1)

    def _predict(self, wanted_BK: Tensor, size: tuple[int, int], seeds: Sequence[int]) -> Denoise:
        """The network's prediction, in windows for large masks."""
        model, scale = InPrecision(self.model, half=False), self.sampling.guidance
        if max(size) <= self.window:
            return guided(model, wanted_BK, scale)
        rows_B1hw = torch.arange(len(wanted_BK), device=self.device)[:, None, None, None].expand(-1, 1, *size)
        return in_windows(
            lambda rows_N1nm: guided(model, wanted_BK[rows_N1nm[:, 0, 0, 0]], scale),
            rows_B1hw,  # what windows show of their masks: the number of each
            seeds,
            side=self.window,
            batch=self.batch,
        )

    def _steered(self, predict: Denoise, wanted_BK: Tensor) -> Denoise:
        """A prediction of x0 whose planes of known classes have the means that are asked for.

        A predicted plane holds the probability of its class in each cell; its mean is the proportion of the class.
        """

        def denoise(x_BKhw: Tensor, t_B: Tensor) -> Tensor:
            x0_BKhw = self.schedule.to_x0(self.prediction, predict(x_BKhw, t_B).float(), x_BKhw, t_B)
            return self.space.normalise(tilt(self.space.denormalise(x0_BKhw), wanted_BK))

        return denoise


def settling_levels(schedule: Schedule) -> list[int]:
    """Noise levels of the rounds in which masks settle, the noisiest first.

    They are even in the logarithm of noise over signal.
    """
    ratios_T = (schedule.noise_T / schedule.signal_T).log()
    wanted = torch.linspace(math.log(_MOST_NOISE), math.log(_LEAST_NOISE), SETTLING_ROUNDS)
    return [int((ratios_T - value).abs().argmin()) for value in wanted.to(ratios_T)]


def tilt(planes_BKhw: Tensor, wanted_BK: Tensor) -> Tensor:
    """Probabilities of classes with the mean proportions that are asked for; NaN leaves a class free.

    p_k becomes p_k exp(b_k) / sum of p_j exp(b_j), with one b for free classes: of all probabilities with these
    means, those with the least Kullback-Leibler divergence from the given ones (Csiszar, "I-divergence geometry of
    probability distributions and minimization problems", Annals of Probability, 1975, theorem 3.1). So a class
    gains cells where it is likely already. The b_k are found by proportional fitting.
    """
    known_BK = ~wanted_BK.isnan()
    target_BK = wanted_BK.nan_to_num().clamp_min(_LEAST_SHARE)
    rest_B1 = (1 - wanted_BK.nan_to_num().sum(dim=1, keepdim=True)).clamp_min(_LEAST_SHARE)
    planes_BKhw = planes_BKhw.clamp(_LEAST_PROBABILITY, 1)
    for _ in range(_FITTINGS):
        planes_BKhw = planes_BKhw / planes_BKhw.sum(dim=1, keepdim=True)
        shares_BK = planes_BKhw.mean(dim=(2, 3))
        free_B1 = torch.where(known_BK, 0, shares_BK).sum(dim=1, keepdim=True).clamp_min(_LEAST_SHARE)
        factors_BK = torch.where(known_BK, target_BK / shares_BK, rest_B1 / free_B1)
        planes_BKhw = planes_BKhw * factors_BK[:, :, None, None]
    return planes_BKhw / planes_BKhw.sum(dim=1, keepdim=True)


def fill_shares(planes_BKhw: Tensor, wanted_BK: Tensor, sweeps: int = _FILLING_SWEEPS) -> Tensor:
    """Weigh planes so that as many cells as are asked for have the largest value in the plane of a known class.

    Planes of a network that is not sure are soft, and a class that is likely nowhere would win no cell, although
    its plane has the right mean. A weight per class moves borders to the cells that are the next most likely.

    Args:
        planes_BKhw: probabilities of the classes.
        wanted_BK: proportions; NaN for free classes.
        sweeps: how often to find the weight of each class, given those of the others.

    Returns:
        The planes times a weight for each class; 1 for free ones.
    """
    values_BKhw = _blur(planes_BKhw)[..., 1:-1, 1:-1].clamp_min(_LEAST_PROBABILITY**2).log()
    cells = values_BKhw[0, 0].numel()
    counts_BK = (wanted_BK.nan_to_num().double() * cells).round().long()
    offsets_BK = torch.where(wanted_BK.isnan() | (counts_BK > 0), 0.0, -torch.inf).to(values_BKhw)
    fitted_BK = ~wanted_BK.isnan() & (counts_BK > 0) & (counts_BK < cells)
    for label in list(range(values_BKhw.shape[1])) * sweeps:
        rivals_BKhw = values_BKhw + offsets_BK[:, :, None, None]
        rivals_BKhw[:, label] = -torch.inf
        lacking_BN = (rivals_BKhw.amax(dim=1) - values_BKhw[:, label]).flatten(1).sort(dim=1).values
        count_B1 = counts_BK[:, label, None].clamp(1, cells - 1)
        next_two_B2 = lacking_BN.gather(1, torch.cat([count_B1 - 1, count_B1], dim=1))
        offsets_BK[:, label] = torch.where(fitted_BK[:, label], next_two_B2.mean(dim=1), offsets_BK[:, label])
    return planes_BKhw * offsets_BK.exp()[:, :, None, None]


def _blur(planes_BKhw: Tensor) -> Tensor:
    """Planes with a little blur, [B, K, h + 2, w + 2]: with one more cell on each side."""
    weights = torch.tensor(_BLUR, device=planes_BKhw.device)
    kernel = (weights[:, None] * weights)[None, None]
    padded_N1hw = pad(planes_BKhw.flatten(0, 1)[:, None], (2, 2, 2, 2), mode="replicate")
    blurred_N1hw = conv2d(padded_N1hw, kernel)
    return blurred_N1hw.reshape(*planes_BKhw.shape[:2], *blurred_N1hw.shape[-2:])


def enlarge(planes_Khw: Tensor, factor: int, height: int, width: int) -> NDArray[np.uint8]:
    """The class of each pixel, uint8 [H, W]: planes interpolated linearly, then the largest.

    Args:
        planes_Khw: values of the classes in cells of factor x factor pixels.
        factor: pixels per cell along each side.
        height: H, at most that of the cells.
        width: W.
    """
    if factor == 1:
        return planes_Khw.argmax(dim=0)[:height, :width].to(torch.uint8).cpu().numpy()
    smooth_Khw = _blur(planes_Khw[None])[0]
    strips = []
    for top in range(0, planes_Khw.shape[1], _ROWS):
        rows_1Khw = smooth_Khw[None, :, top : top + _ROWS + 2]
        large_KHW = interpolate(rows_1Khw, scale_factor=factor, mode="bilinear", align_corners=False)[0]
        inside_KHW = large_KHW[:, factor:-factor, factor:-factor]
        strips.append(inside_KHW.argmax(dim=0).to(torch.uint8).cpu().numpy())
    return np.concatenate(strips)[:height, :width]
