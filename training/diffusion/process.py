"""The diffusion process: noise schedules, prediction targets and loss weights, as pure functions.

x_t = signal_t x0 + noise_t e. A schedule gives the amounts of signal and noise directly or by betas, which mean
signal_t = sqrt(abar_t) and noise_t = sqrt(1 - abar_t), where abar_t is the product of 1 - beta up to t (Ho, Jain
and Abbeel 2020, eq. 4). With betas signal^2 + noise^2 is 1, but formulas hold for any sum. SNR_t is
(signal_t / noise_t)^2.

Shapes: B samples, C channels, H and W of latents; T noise levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from training.config.setting import expect_setting, one_of, wrong_setting

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


def rectified_flow(timesteps: int) -> tuple[Tensor, Tensor]:
    """Signal 1 - t and noise t, float64 [T], at t = 1 / T, 2 / T, ..., 1: straight lines from x0 to noise.

    Liu, Gong and Liu, "Flow straight and fast: learning to generate and transfer data with rectified flow", ICLR
    2023, section 2; Lipman et al., "Flow matching for generative modeling", ICLR 2023, section 4.1, optimal
    transport paths with sigma_min = 0. Both count t from noise to data; from data to noise, as here: Esser et al.,
    "Scaling rectified flow transformers for high-resolution image synthesis", ICML 2024, section 3.
    """
    noise_T = torch.arange(1, timesteps + 1, dtype=torch.float64) / timesteps
    return 1 - noise_T, noise_T


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """A noise schedule by its betas, which `diffusion.schedule` can name.

    Attributes:
        betas: float64 [T] for T levels.
        diffusers_name: `beta_schedule` of diffusers' schedulers; None if they have no such schedule, in which case
            exports contain the betas themselves.
    """

    betas: Callable[[int], Tensor]
    diffusers_name: str | None = None


@dataclass(frozen=True, slots=True)
class NoisePath:
    """A noise schedule by its amounts of signal and noise, which `diffusion.schedule` can name.

    Attributes:
        levels: signal and noise, each float64 [T], for T levels; the ratio of signal to noise falls, every level
            has noise, and only the last may have no signal.
    """

    levels: Callable[[int], tuple[Tensor, Tensor]]


NOISE_SCHEDULES: dict[str, NoiseSchedule | NoisePath] = {
    "cosine": NoiseSchedule(cosine_betas, "squaredcos_cap_v2"),
    "linear": NoiseSchedule(linear_betas, "linear"),
    "rectified_flow": NoisePath(rectified_flow),
}


def find_schedule(name: str) -> NoiseSchedule | NoisePath:
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
        if isinstance(schedule, NoiseSchedule) and torch.allclose(
            schedule.betas(len(betas_T)), betas_T, rtol=1e-4, atol=1e-7
        ):
            return name
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The amounts of signal and noise at each level.

    Attributes:
        signal_T: float32 [T]; sqrt(abar) where the schedule has betas.
        noise_T: float32 [T]; sqrt(1 - abar) where the schedule has betas.
        power_T: float32 [T], signal^2 + noise^2, which is the variance of x_t for data of variance 1; exactly 1
            where the schedule has betas.
    """

    signal_T: Tensor
    noise_T: Tensor
    power_T: Tensor

    @classmethod
    def of(cls, config: DiffusionConfig) -> Schedule:
        """The schedule of a configuration.

        Raises:
            HistodsError: there is no such schedule, or other settings do not fit it.
        """
        found = find_schedule(config.schedule)
        if isinstance(found, NoiseSchedule):
            betas_T = found.betas(config.timesteps)
            return cls.from_betas(rescale_zero_terminal_snr(betas_T) if config.zero_terminal_snr else betas_T)
        schedule = cls.from_path(*found.levels(config.timesteps))
        expect_setting(
            not config.zero_terminal_snr,
            "diffusion.zero_terminal_snr",
            f"false with schedule {config.schedule}, which has no betas to rescale",
            config.zero_terminal_snr,
        )
        expect_setting(
            config.prediction != "epsilon" or schedule.signal_T[-1].item() > 0,
            "diffusion.prediction",
            f"flow, v or x0 with schedule {config.schedule}, which ends in pure noise",
            config.prediction,
        )
        return schedule

    @classmethod
    def from_betas(cls, betas_T: Tensor) -> Schedule:
        """The schedule for betas [T], computed in float64."""
        bars_T = (1 - betas_T.double()).cumprod(0)
        return cls.from_path(bars_T.sqrt(), (1 - bars_T).sqrt())

    @classmethod
    def from_path(cls, signal_T: Tensor, noise_T: Tensor) -> Schedule:
        """The schedule for amounts of signal and noise, each float64 [T]."""
        return cls(signal_T.float(), noise_T.float(), (signal_T.square() + noise_T.square()).float())

    def to(self, device: torch.device | str) -> Schedule:
        """A copy on a device."""
        return Schedule(self.signal_T.to(device), self.noise_T.to(device), self.power_T.to(device))

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
        diffusion models", ICLR 2022, appendix D. The flow is e - x0, which is dx_t / dt on a straight line from x0
        to noise (see `rectified_flow`), and which is the target on any other schedule, too.
        """
        if prediction == "epsilon":
            return noise_BCHW
        if prediction == "x0":
            return x0_BCHW
        if prediction == "flow":
            return noise_BCHW - x0_BCHW
        signal, noise = self.at(t_B)
        return signal * noise_BCHW - noise * x0_BCHW

    def to_x0(self, prediction: Prediction, output_BCHW: Tensor, x_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """The x0 that follows from a prediction at x_t; undefined for `epsilon` where there is no signal.

        Like `to_noise`, it solves x_t = signal x0 + noise e and the definition of the target for x0 and e.
        """
        signal, noise = self.at(t_B)
        if prediction == "epsilon":
            return (x_BCHW - noise * output_BCHW) / signal
        if prediction == "x0":
            return output_BCHW
        if prediction == "flow":
            return (x_BCHW - noise * output_BCHW) / (signal + noise)
        return (signal * x_BCHW - noise * output_BCHW) / self._power_at(t_B)

    def to_noise(self, prediction: Prediction, output_BCHW: Tensor, x_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """The noise that follows from a prediction at x_t; every level has noise."""
        signal, noise = self.at(t_B)
        if prediction == "epsilon":
            return output_BCHW
        if prediction == "x0":
            return (x_BCHW - signal * output_BCHW) / noise
        if prediction == "flow":
            return (x_BCHW + signal * output_BCHW) / (signal + noise)
        return (signal * output_BCHW + noise * x_BCHW) / self._power_at(t_B)

    def _power_at(self, t_B: Tensor) -> Tensor:
        """signal^2 + noise^2 at levels, [B, 1, 1, 1]."""
        return self.power_T[t_B][:, None, None, None]

    def loss_weights(self, prediction: Prediction, gamma: float | None, min_v_weight: float = 0.0) -> Tensor:
        """Weights of squared errors at each level, float32 [T]: min-SNR-gamma, or 1 without gamma.

        An error of x0 has the weight min(SNR, gamma); Hang et al., "Efficient diffusion training via min-SNR
        weighting strategy", ICCV 2023, section 3.4. By `to_x0`, it is an error of epsilon of signal / noise times
        its size, of v of (signal^2 + noise^2) / noise times, and of flow of (signal + noise) / noise times; their
        weights are divided by the squares of these ratios, which for betas are SNR for epsilon and SNR + 1 for v.
        The weight of an error of v is never below `min_v_weight`; docs/loss-weights.md describes the experiment.
        """
        if gamma is None:
            return torch.ones_like(self.signal_T)
        # In powers of signal and noise, since the signal may be 0.
        signal_T, noise_T = self.signal_T.double().square(), self.noise_T.double().square()
        least_T = torch.minimum(signal_T, gamma * noise_T)  # min(SNR, gamma) noise^2
        if prediction == "v":
            return (least_T / self.power_T.double().square()).clamp_min(min_v_weight).float()
        if prediction == "flow":
            return (least_T / (self.signal_T.double() + self.noise_T.double()).square()).float()
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
