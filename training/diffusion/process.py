"""The diffusion process: noise schedules, prediction targets and loss weights, as pure functions.

x_t = signal_t x0 + noise_t e, with signal_t = sqrt(abar_t) and noise_t = sqrt(1 - abar_t), where abar_t is the
product of 1 - beta up to t (Ho, Jain and Abbeel 2020, eq. 4). SNR_t is (signal_t / noise_t)^2.

Shapes: B samples, C channels, H and W of latents; T noise levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from training.config.setting import one_of, wrong_setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from training.config.sections import DiffusionConfig, Prediction


def cosine_betas(timesteps: int, s: float = 0.008, most: float = 0.999) -> Tensor:
    """Betas, float64 [T], of abar(t) = cos^2(((t / T + s) / (1 + s)) pi / 2) / abar(0), none above `most`.

    Nichol and Dhariwal, "Improved denoising diffusion probabilistic models", ICML 2021, eq. 17.
    """
    times = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    bars = torch.cos((times + s) / (1 + s) * math.pi / 2).square()
    return (1 - bars[1:] / bars[:-1]).clamp_max(most)


def linear_betas(timesteps: int, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Betas, float64 [T], rising in equal steps.

    Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020, section 4.
    """
    return torch.linspace(first, last, timesteps, dtype=torch.float64)


def rescale_zero_terminal_snr(betas_T: Tensor) -> Tensor:
    """Rescale betas [T] so that the last level is pure noise; the first is unchanged.

    Lin, Liu, Li and Yang, "Common diffusion noise schedules and sample steps are flawed", WACV 2024, algorithm 1.
    """
    signal_T = (1 - betas_T).cumprod(0).sqrt()
    signal_T = (signal_T - signal_T[-1]) * signal_T[0] / (signal_T[0] - signal_T[-1])
    bars_T = signal_T.square()
    return 1 - torch.cat([bars_T[:1], bars_T[1:] / bars_T[:-1]])


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """A noise schedule that `diffusion.schedule` can name.

    Attributes:
        betas: float64 [T] for T levels.
        diffusers_name: `beta_schedule` of diffusers' schedulers; None if they have no such schedule, in which case
            exports contain the betas themselves.
    """

    betas: Callable[[int], Tensor]
    diffusers_name: str | None = None


NOISE_SCHEDULES = {
    "cosine": NoiseSchedule(cosine_betas, "squaredcos_cap_v2"),
    "linear": NoiseSchedule(linear_betas, "linear"),
}


def find_schedule(name: str) -> NoiseSchedule:
    """Find a noise schedule by name.

    Raises:
        HistodsError: there is none.
    """
    if name not in NOISE_SCHEDULES:
        raise wrong_setting("diffusion.schedule", one_of(NOISE_SCHEDULES), repr(name))
    return NOISE_SCHEDULES[name]


def recognise_schedule(betas_T: Tensor) -> str | None:
    """The name of the noise schedule with these betas, float64 [T], or None."""
    for name, schedule in NOISE_SCHEDULES.items():
        if torch.allclose(schedule.betas(len(betas_T)), betas_T, rtol=1e-4, atol=1e-7):
            return name
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The amounts of signal and noise at each level.

    Attributes:
        signal_T: float32 [T], sqrt(abar).
        noise_T: float32 [T], sqrt(1 - abar).
    """

    signal_T: Tensor
    noise_T: Tensor

    @classmethod
    def of(cls, config: DiffusionConfig) -> Schedule:
        """The schedule of a configuration."""
        betas_T = find_schedule(config.schedule).betas(config.timesteps)
        if config.zero_terminal_snr:
            betas_T = rescale_zero_terminal_snr(betas_T)
        return cls.from_betas(betas_T)

    @classmethod
    def from_betas(cls, betas_T: Tensor) -> Schedule:
        """The schedule for betas [T], computed in float64."""
        bars_T = (1 - betas_T.double()).cumprod(0)
        return cls(bars_T.sqrt().float(), (1 - bars_T).sqrt().float())

    def to(self, device: torch.device | str) -> Schedule:
        """A copy on a device."""
        return Schedule(self.signal_T.to(device), self.noise_T.to(device))

    def at(self, t_B: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise at levels, each [B, 1, 1, 1]."""
        return self.signal_T[t_B][:, None, None, None], self.noise_T[t_B][:, None, None, None]

    def add_noise(self, x0_BCHW: Tensor, noise_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """Noisy latents [B, C, H, W]: x_t = signal x0 + noise e."""
        signal, noise = self.at(t_B)
        return signal * x0_BCHW + noise * noise_BCHW

    def target(self, prediction: Prediction, x0_BCHW: Tensor, noise_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """The prediction target, [B, C, H, W].

        The velocity is v = signal e - noise x0: Salimans and Ho, "Progressive distillation for fast sampling of
        diffusion models", ICLR 2022, appendix D.
        """
        if prediction == "epsilon":
            return noise_BCHW
        if prediction == "x0":
            return x0_BCHW
        signal, noise = self.at(t_B)
        return signal * noise_BCHW - noise * x0_BCHW

    def to_x0(self, prediction: Prediction, output_BCHW: Tensor, x_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """The x0 that follows from a prediction at x_t; undefined for `epsilon` where there is no signal."""
        signal, noise = self.at(t_B)
        if prediction == "epsilon":
            return (x_BCHW - noise * output_BCHW) / signal
        if prediction == "x0":
            return output_BCHW
        return signal * x_BCHW - noise * output_BCHW

    def to_noise(self, prediction: Prediction, output_BCHW: Tensor, x_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """The noise that follows from a prediction at x_t; every level has noise."""
        signal, noise = self.at(t_B)
        if prediction == "epsilon":
            return output_BCHW
        if prediction == "x0":
            return (x_BCHW - signal * output_BCHW) / noise
        return signal * output_BCHW + noise * x_BCHW

    def loss_weights(self, prediction: Prediction, gamma: float | None, min_v_weight: float = 0.0) -> Tensor:
        """Weights of squared errors at each level, float32 [T]: min-SNR-gamma, or 1 without gamma.

        An error of x0 has the weight min(SNR, gamma); Hang et al., "Efficient diffusion training via min-SNR
        weighting strategy", ICCV 2023, section 3.4. The same error is SNR times as large as one of epsilon and SNR
        + 1 times as large as one of v, hence min(SNR, gamma) / SNR and min(SNR, gamma) / (SNR + 1). The latter is
        never below `min_v_weight`; docs/loss-weights.md describes the experiment.
        """
        if gamma is None:
            return torch.ones_like(self.signal_T)
        # In powers of signal and noise, since the signal may be 0: SNR + 1 = 1 / noise^2.
        signal_T, noise_T = self.signal_T.double().square(), self.noise_T.double().square()
        if prediction == "v":
            return torch.minimum(signal_T, gamma * noise_T).clamp_min(min_v_weight).float()
        if prediction == "x0":
            return (signal_T / noise_T).clamp_max(gamma).float()
        return (gamma * noise_T / signal_T).clamp_max(1).float()


class Loss:
    """Weighted mean squared error of each sample's prediction; the weights are computed once.

    Args:
        schedule: the schedule of the noise, on the device.
        config: the prediction target and the weights of the levels.
    """

    def __init__(self, schedule: Schedule, config: DiffusionConfig) -> None:
        self._schedule = schedule
        self._prediction = config.prediction
        self._weights_T = schedule.loss_weights(config.prediction, config.min_snr_gamma, config.min_v_weight)

    def __call__(self, output_BCHW: Tensor, x0_BCHW: Tensor, noise_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """The error of each sample, float32 [B], for predictions of any type."""
        target_BCHW = self._schedule.target(self._prediction, x0_BCHW, noise_BCHW, t_B)
        errors_B = (output_BCHW.float() - target_BCHW.float()).square().mean(dim=(1, 2, 3))
        return errors_B * self._weights_T[t_B]
