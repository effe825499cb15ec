"""Distances between real and generated images, each beside how much real images differ from other real images.

Shapes: N images, D features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.errors import HistodsError
from histods.io.evaluation_file import METRICS, Distance
from training.evaluation.metrics.cmmd import cmmd
from training.evaluation.metrics.frechet import frechet_distance
from training.evaluation.metrics.intervals import bootstrap, halves
from training.evaluation.metrics.kernel import kernel_distance
from training.evaluation.metrics.precision_recall import precision_recall
from training.evaluation.metrics.resampled import (
    resampled_cmmd,
    resampled_frechet,
    resampled_kernel,
    resampled_precision,
    resampled_recall,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from histods.records import Progress
    from training.evaluation.metrics.intervals import Prepare
    from training.evaluation.metrics.matrices import Matrix

DRAWS = 200
"""Bootstrap samples of an interval."""
_RANGES = {"frechet": (0.0, math.inf), "cmmd": (0.0, math.inf), "precision": (0.0, 1.0), "recall": (0.0, 1.0)}
"""The least and the greatest values of metrics, beyond which no interval goes. That of KID may be below zero."""


class _Metric(NamedTuple):
    """One computation that gives a metric or several, and what the interval of each needs."""

    compare: Callable[[Matrix, Matrix], Sequence[float]]
    prepare: dict[str, Prepare]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """Features of a set of images.

    Attributes:
        values_ND: one row per image.
        groups: the slide of each image.
        half_N: the half of the slides, 0 or 1, that each image belongs to, the same for a real image and for the
            one generated for its mask; None where there is only one slide.
    """

    values_ND: NDArray[np.float64]
    groups: Sequence[str]
    half_N: NDArray[np.int64] | None

    def of_half(self, half: int) -> NDArray[np.float64]:
        """The rows of one half."""
        assert self.half_N is not None  # noqa: S101 - whoever asks has looked
        return self.values_ND[np.flatnonzero(self.half_N == half)]


def cut_in_halves(groups: Sequence[str], seed: int) -> NDArray[np.int64] | None:
    """The half, 0 or 1, of each image by its slide; None if all images come from one slide."""
    if len(set(groups)) < 2:
        return None
    _, second = halves(groups, seed=seed)
    half_N = np.zeros(len(groups), dtype=np.int64)
    half_N[second] = 1
    return half_N


def distances(real: Features, generated: Features, *, seed: int, progress: Progress) -> dict[str, Distance]:
    """All metrics of `METRICS`, by name.

    Args:
        real: features of real images.
        generated: features of generated images.
        seed: the seed of the subsets and of the bootstrap.
        progress: called with the name of the stage, the metrics done, and all.
    """
    metrics = (
        _Metric(lambda first, second: (frechet_distance(first, second),), {"frechet": resampled_frechet}),
        _Metric(
            lambda first, second: (kernel_distance(first, second, seed=seed).mean,), {"kernel": resampled_kernel}
        ),
        _Metric(lambda first, second: (cmmd(first, second),), {"cmmd": resampled_cmmd}),
        _Metric(precision_recall, {"precision": resampled_precision, "recall": resampled_recall}),
    )
    found: dict[str, Distance] = {}
    for metric in metrics:
        progress("comparing", len(found), len(METRICS))
        found |= _compare(metric, real, generated, seed)
    progress("comparing", len(METRICS), len(METRICS))
    return found


def _compare(metric: _Metric, real: Features, generated: Features, seed: int) -> dict[str, Distance]:
    try:
        values = _finite(metric.compare(real.values_ND, generated.values_ND))
    except HistodsError as error:
        return dict.fromkeys(metric.prepare, Distance(reason=str(error)))
    if real.half_N is None or generated.half_N is None:
        reason = "All images come from one slide: no interval, and no halves to compare."
        return {
            name: Distance(value=value, reason=reason) for name, value in zip(metric.prepare, values, strict=True)
        }
    of_half: Sequence[float | None] = [None] * len(values)
    floor, missing = of_half, None
    try:
        floor = _finite(metric.compare(real.of_half(0), real.of_half(1)))
        of_half = _finite(metric.compare(real.of_half(0), generated.of_half(1)))
    except HistodsError as error:
        missing = f"No floor: {error}"
    found = {}
    for place, (name, prepare) in enumerate(metric.prepare.items()):
        interval = bootstrap(
            prepare,
            real.values_ND,
            real.groups,
            generated.values_ND,
            generated.groups,
            seed=seed,
            draws=DRAWS,
        )
        low, high = _within(name, _finite(interval))
        found[name] = Distance(
            value=values[place], low=low, high=high, of_half=of_half[place], floor=floor[place], reason=missing
        )
    return found


def _within(name: str, interval: Sequence[float]) -> list[float]:
    """An interval, which is one of the spread around the value, within the range of its metric."""
    least, greatest = _RANGES.get(name, (-math.inf, math.inf))
    return [min(max(end, least), greatest) for end in interval]


def _finite(numbers: Sequence[float]) -> list[float]:
    for number in numbers:
        if not math.isfinite(number):
            raise HistodsError(f"The distance is {number}: the features are too large to compare.")
    return [float(number) for number in numbers]
