"""Averages of weights of any length, made after training from snapshots of two averages.

Karras et al., "Analyzing and improving the training dynamics of diffusion models", CVPR 2024, section 3 and
appendix C. The average with exponent gamma after t steps weights the weights after tau steps with p(tau) =
(gamma + 1) tau^gamma / t^(gamma + 1). Its length sigma_rel is the deviation of p as a share of t. An average of
another length or step is the combination of averages on disk whose profile is closest to its own.

Shapes: S snapshots.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    Array = NDArray[np.float64]

SNAPSHOTS = "snapshots"
LENGTHS = {"ema-0.05": 0.05, "ema-0.10": 0.10}
"""The averages that snapshots hold, by the name of their file, and their lengths."""
MAX_MISFIT = 0.1
"""Difference of the profile of an average, made from snapshots, from which on it is another average."""
MAX_LENGTH = 0.28
"""The longest average: sigma_rel of gamma 0, which weights all steps equally, is 0.289."""


def power_exponent(sigma_rel: float) -> float:
    """The gamma for which the window t^gamma, t from 0 to 1, has the standard deviation `sigma_rel`.

    sigma_rel^2 = (gamma + 1) (gamma + 2)^-2 (gamma + 3)^-1: Karras et al. 2024, eq. 123 to 127; gamma is the one
    positive root of a cubic.
    """
    precision = sigma_rel**-2
    return float(np.roots([1, 7, 16 - precision, 12 - precision]).real.max())


def inner_products(steps_1: ArrayLike, gamma_1: ArrayLike, steps_2: ArrayLike, gamma_2: ArrayLike) -> Array:
    """Integrals of the products of two profiles over all steps, float64; arguments broadcast.

    With m the lower and M the higher step, and gamma that of the higher one in the exponent:
    (gamma_1 + 1) (gamma_2 + 1) / (gamma_1 + gamma_2 + 1) (m / M)^gamma / M.
    """
    steps_1, steps_2 = np.asarray(steps_1, np.float64), np.asarray(steps_2, np.float64)
    gamma_1, gamma_2 = np.asarray(gamma_1, np.float64), np.asarray(gamma_2, np.float64)
    low, high = np.minimum(steps_1, steps_2), np.maximum(steps_1, steps_2)
    exponent = np.where(steps_1 < steps_2, gamma_2, gamma_1)
    share = (gamma_1 + 1) * (gamma_2 + 1) / (gamma_1 + gamma_2 + 1)
    products: Array = share * (low / high) ** exponent / high
    return products


def fit_average(
    steps_S: Sequence[float], lengths_S: Sequence[float], step: float, length: float
) -> tuple[Array, float]:
    """The combination of averages whose profile has the least squared difference to that of another average.

    Args:
        steps_S: the step of each average.
        lengths_S: its sigma_rel.
        step: the step of the average that is wanted.
        length: its sigma_rel.

    Returns:
        A factor for each average, float64 [S], and the norm of the difference as a share of that of the profile.
    """
    steps = np.asarray(steps_S, np.float64)
    gammas = np.array([power_exponent(one) for one in lengths_S])
    gamma = power_exponent(length)
    products_SS = inner_products(steps[:, None], gammas[:, None], steps[None], gammas[None])
    wanted_S = inner_products(steps, gammas, step, gamma)
    factors_S = np.asarray(np.linalg.lstsq(products_SS, wanted_S)[0], np.float64)
    whole = float(inner_products(step, gamma, step, gamma))
    missed = float(whole - 2 * factors_S @ wanted_S + factors_S @ products_SS @ factors_S)
    return factors_S, math.sqrt(max(missed, 0) / whole)


@dataclass(frozen=True, kw_only=True, slots=True)
class Average:
    """An average of weights as a combination of files.

    Attributes:
        terms: folder, part and factor of each file.
        error: the difference of the profiles, from 0 to 1; see `fit_average`.
    """

    terms: tuple[tuple[Path, str, float], ...]
    error: float

    def combine(self, read: Callable[[Path, str], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The weights, float32, summed in float64; `read` reads a part of a folder.

        Raises:
            HistodsError: a file is damaged.
        """
        sums: dict[str, Tensor] = {}
        for folder, part, factor in self.terms:
            for name, tensor in read(folder, part).items():
                term = tensor.double() * factor
                sums[name] = sums[name] + term if name in sums else term
        return {name: tensor.float() for name, tensor in sums.items()}


def plan_average(checkpoint: Path, step: int, length: float) -> Average:
    """How to make the average of a length at a checkpoint, or a snapshot, from it and the snapshots before it.

    Raises:
        HistodsError: the run has no snapshots, or the length is out of range.
    """
    if not 0 < length <= MAX_LENGTH:
        raise HistodsError(
            f"--ema-length is {length}; it must be above 0 and at most {MAX_LENGTH}: 0.05 to 0.15 are usual."
        )
    run = checkpoint.parent.parent
    if not all((checkpoint / f"{part}.safetensors").is_file() for part in LENGTHS):
        raise HistodsError(
            f"--ema-length needs snapshots, which {run} was trained without; omit it, or train another run with "
            "--set ema.snapshots_every=5000."
        )
    folders = [*(folder for at, folder in find_snapshots(run) if at < step), checkpoint]
    steps = [*(at for at, _ in find_snapshots(run) if at < step), step]
    sources = [(folder, at, part) for folder, at in zip(folders, steps, strict=True) for part in LENGTHS]
    factors, error = fit_average(
        [at for _, at, _ in sources], [LENGTHS[part] for *_, part in sources], step, length
    )
    terms = tuple(
        (folder, part, float(factor)) for (folder, _, part), factor in zip(sources, factors, strict=True)
    )
    return Average(terms=terms, error=error)


def find_snapshots(run: Path) -> list[tuple[int, Path]]:
    """The complete snapshots of a run, by step."""
    found = sorted((run / SNAPSHOTS).glob("step-*"))
    return [(int(path.name.removeprefix("step-")), path) for path in found if (path / "state.json").is_file()]


def drop_snapshots(run: Path, after: int) -> None:
    """Remove snapshots of later steps than the one from which a run resumes, which makes them again."""
    for step, path in find_snapshots(run):
        if step > after:
            shutil.rmtree(path)


def as_stored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as snapshots store them: float16, in half of the space."""
    return {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
