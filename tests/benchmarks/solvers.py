"""Errors of samplers at equal numbers of predictions, against 1,000 steps.

Run `python -m tests.benchmarks.solvers`, or with `--run RUN --masks FOLDER` for a trained network.

Without a run, data are known distributions in 16 dimensions, for which the best prediction is exact: ten Gaussians
of deviation 0.25 (mixture), 64 points (points), and six Gaussians whose deviations fall from 0.7 to 0.007 over the
dimensions (spectrum), all scaled to variance 1. Guidance leads from all of them to a fifth. The error of a sample
is the root of the mean squared difference to the solution of UniPC over all levels from the same noise; tables
have the median of 256 samples. Heun is the method in lambda = log(signal / noise), with two predictions per step.

Shapes: B samples, K Gaussians, D dimensions.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch

from training.config.sections import DiffusionConfig
from training.diffusion.levels import Levels
from training.diffusion.process import Schedule
from training.diffusion.samplers import choose_levels, ddim, dpm_solver_2m, log_snr, predict
from training.diffusion.unipc import unipc

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from training.diffusion.samplers import Denoise

FORWARDS = 10, 20, 25, 50
SAMPLES, DIMENSIONS = 256, 16


def heun(
    denoise: Denoise, schedule: Schedule, noise: Tensor, *, prediction: Any, steps: int, levels: Levels, clip: Any
) -> Tensor:
    """Heun's method for x0 as a function of lambda: the mean of the predictions at both ends of a step."""
    x, lambdas = noise, log_snr(schedule)
    signals, noises = schedule.signal_T.tolist(), schedule.noise_T.tolist()
    for now, then in pairwise(choose_levels(schedule, prediction, steps, clip, levels)):
        first = predict(denoise, schedule, prediction, x, now, clip)[0]
        if then < 0:
            return first
        kept, share = noises[then] / noises[now], -signals[then] * math.expm1(lambdas[now] - lambdas[then])
        second = predict(denoise, schedule, prediction, kept * x + share * first, then, clip)[0]
        x = kept * x + share * (first + second) / 2
    raise AssertionError("the last level is without noise")


SOLVERS: dict[str, Callable[..., Tensor]] = {"ddim": ddim, "dpm": dpm_solver_2m, "heun": heun, "unipc": unipc}


def gaussians(kind: str) -> tuple[Tensor, Tensor]:
    """Means and deviations [K, D] of a distribution."""
    random = torch.Generator().manual_seed(0)
    count, deviation = {"mixture": (10, 0.25), "points": (64, 0.02), "spectrum": (6, 0.7)}[kind]
    means_KD = torch.randn(count, DIMENSIONS, generator=random, dtype=torch.float64)
    deviations_KD = torch.full((count, DIMENSIONS), deviation, dtype=torch.float64)
    if kind == "spectrum":
        means_KD = means_KD * torch.linspace(1, 0.05, DIMENSIONS)
        deviations_KD = deviations_KD * torch.logspace(0, -2, DIMENSIONS)
    means_KD = means_KD - means_KD.mean(0)
    scale_D = (means_KD.var(0) + deviations_KD.square().mean(0)).sqrt()
    return means_KD / scale_D, deviations_KD / scale_D


def best(schedule: Schedule, means_KD: Tensor, deviations_KD: Tensor) -> Denoise:
    """The best prediction of x0 [B, D, 1, 1]."""
    signals, noises = schedule.signal_T.tolist(), schedule.noise_T.tolist()

    def denoise(x: Tensor, t_B: Tensor) -> Tensor:
        signal, noise, x_BD = signals[int(t_B[0])], noises[int(t_B[0])], x.double().flatten(1)
        variances_KD = signal**2 * deviations_KD**2 + noise**2
        rest_BKD = x_BD[:, None] - signal * means_KD
        shares_BK = (-0.5 * (rest_BKD**2 / variances_KD + variances_KD.log()).sum(-1)).softmax(1)
        x0_BKD = means_KD + signal * deviations_KD**2 / variances_KD * rest_BKD
        mean_BD: Tensor = (shares_BK[..., None] * x0_BKD).sum(1)
        return mean_BD[..., None, None]

    return denoise


def compare(name: str, denoise: Denoise, schedule: Schedule, noise: Tensor, prediction: Any, clip: Any) -> None:
    """Print a line per number of predictions with the median error of each sampler."""

    def solve(solver: str, steps: int, levels: Levels) -> Tensor:
        return SOLVERS[solver](
            denoise, schedule, noise, prediction=prediction, steps=steps, levels=levels, clip=clip
        )

    exact = solve("unipc", len(schedule.signal_T), "time")
    for forwards in FORWARDS:
        errors = []
        for solver, levels in product(SOLVERS, get_args(Levels)):
            made = solve(solver, (forwards + 1) // 2 if solver == "heun" else forwards, levels)
            errors.append((made - exact).square().flatten(1).mean(1).sqrt().median().item())
        print(f"| {name} | {forwards} |", *(f"{error:.4f} |" for error in errors), flush=True)


def guide(null: Denoise, conditional: Denoise, scale: float, x: Tensor, t_B: Tensor) -> Tensor:
    return null(x, t_B) + scale * (conditional(x, t_B) - null(x, t_B))


def compare_exact() -> None:
    noise = torch.randn(SAMPLES, DIMENSIONS, 1, 1, generator=torch.Generator().manual_seed(1))
    for kind, name, scale in product(("cosine", "linear"), ("mixture", "points", "spectrum"), (1, 3)):
        schedule = Schedule.of(DiffusionConfig(schedule=kind))
        means_KD, deviations_KD = gaussians(name)
        part = max(2, len(means_KD) // 5)
        null = best(schedule, means_KD, deviations_KD)
        conditional = best(schedule, means_KD[:part], deviations_KD[:part])

        denoise = partial(guide, null, conditional, scale)
        compare(f"{kind}, {name}, guidance {scale}", denoise, schedule, noise, "x0", None)


def compare_network(run: str, masks: Path, count: int) -> None:
    from histods.images.reader import read_mask
    from training.data.dataset import reduce_mask
    from training.diffusion.guidance import guided
    from training.diffusion.noise import normal_noise
    from training.inference.mask_inputs import find_masks
    from training.runs.checkpoint import load_model, read_run

    read = read_run(run)
    model, autoencoder = load_model(read, device="cpu"), read.load_autoencoder()
    paths = list(find_masks(masks)[0].values())[:count]
    found = [
        torch.from_numpy(reduce_mask(read_mask(path).labels.astype(np.uint8), read.config.data.reduce))
        for path in paths
    ]
    chosen = torch.stack(found)[:, None]
    sides = [side // autoencoder.factor for side in chosen.shape[2:]]
    noise = normal_noise(range(len(chosen)), (autoencoder.channels, *sides), "cpu")
    for scale in (1.0, 3.0):
        denoise = guided(model, chosen, scale)
        with torch.no_grad():
            compare(
                f"network, guidance {scale:g}", denoise, read.schedule, noise,
                read.config.diffusion.prediction, read.space.clip,
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a trained run, instead of exact predictions")
    parser.add_argument("--masks", type=Path, help="masks of its classes")
    parser.add_argument("--count", type=int, default=8)
    options = parser.parse_args()
    print(
        "| predictions of | number |",
        *(f"{name}, {levels} |" for name, levels in product(SOLVERS, get_args(Levels))),
    )
    if options.run:
        compare_network(options.run, options.masks, options.count)
    else:
        compare_exact()


if __name__ == "__main__":
    main()
