"""Intervals of metrics, and halves of a set: both take whole groups (slides, patients), never single images.

Images of one slide are alike: 10,000 images of 20 slides say little more about other slides than 20 images would.

Shapes: N real and M generated samples, D features, G groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from histods.errors import HistodsError
from histods.sampling.philox import below, choose, philox4x64
from histods.sampling.streams import Stream
from training.evaluation.metrics.matrices import feature_matrices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from training.evaluation.metrics.matrices import Matrix

    Counts = NDArray[np.int64]

Groups: TypeAlias = "Sequence[str | None]"
"""The group of each sample; a sample without one (None) is a group of its own."""

MOST_GROUPS = 1000
"""More groups of a side than this are merged at random, so that memory and time are bounded."""
_LEAST_DRAWS = 40
"""With fewer, 2.5 % are not one draw."""


class GroupedSet(NamedTuple):
    """The features of a set.

    Attributes:
        features_ND: float64.
        groups_N: int64, the number of each sample's group, from 0.
        groups: number of groups G.
    """

    features_ND: Matrix
    groups_N: NDArray[np.int64]
    groups: int

    def rows(self, counts_G: Counts) -> NDArray[np.int64]:
        """The rows of a draw: each sample as often as its group was drawn."""
        return np.repeat(np.arange(len(self.groups_N)), counts_G[self.groups_N])


Resampled: TypeAlias = "Callable[[Counts, Counts], float]"
"""A metric of drawn sets, as a function of how often each group of the real and of the generated set was drawn."""
Prepare: TypeAlias = "Callable[[GroupedSet, GroupedSet], Resampled]"
"""Computes once what all draws of a real and a generated set need; see `training.evaluation.metrics.resampled`."""


class Interval(NamedTuple):
    """An interval of 95 %."""

    low: float
    high: float


def bootstrap(
    prepare: Prepare,
    real_ND: ArrayLike,
    real_groups: Groups,
    generated_MD: ArrayLike,
    generated_groups: Groups,
    *,
    seed: int,
    draws: int = 200,
) -> Interval:
    """How much a metric would vary with other slides: groups are drawn with replacement, on each side by itself.

    Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979; of whole groups: Davison
    and Hinkley, "Bootstrap methods and their application", 1997, section 3.8. A draw repeats some groups and lacks
    others, which shifts every metric that depends on the number of different samples: a Fréchet distance of a draw
    is nearly always larger than that of the whole sets. So the quantiles of the draws are moved by the difference
    of the metric of the whole sets and the mean of the draws: the interval describes spread at this number of
    groups. It is wider than need be where sets are alike, as squared distances near zero vary less than their
    draws; it is too small for precision and recall of few groups that are far apart.

    Args:
        prepare: the metric, for example `resampled_frechet`.
        real_ND: features, one row per image.
        real_groups: the group of each real image.
        generated_MD: features of generated images.
        generated_groups: the group of each generated image: the slide of its mask.
        seed: seed of the draws.
        draws: number of draws, at least 40.

    Raises:
        HistodsError: all samples of a side are of one group, groups or features do not fit, or too few draws.
    """
    if draws < _LEAST_DRAWS:
        raise HistodsError(f"An interval of 95 % needs at least {_LEAST_DRAWS} draws, not {draws}; take more.")
    real_features, generated_features = feature_matrices(real=real_ND, generated=generated_MD)
    real = grouped("real", real_features, real_groups, seed)
    generated = grouped("generated", generated_features, generated_groups, seed)
    metric = prepare(real, generated)
    counts = draw_groups(real.groups, draws, seed, 0), draw_groups(generated.groups, draws, seed, 1)
    values = [metric(real_G, generated_G) for real_G, generated_G in zip(*counts, strict=True)]
    whole = metric(np.ones(real.groups, dtype=np.int64), np.ones(generated.groups, dtype=np.int64))
    low, high = np.quantile(values, [0.025, 0.975]) + (whole - np.mean(values))
    return Interval(float(low), float(high))


def halves(groups: Groups, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut a set at random into two halves without a common group, and as equal in size as groups permit.

    A metric of the halves of a real set shows which value to expect of a perfect generator.

    Args:
        groups: the group of each sample.
        seed: seed of the order of groups.

    Returns:
        The indices of the samples of each half, ascending.

    Raises:
        HistodsError: all samples are of one group.
    """
    numbers_N, count = _number_groups("real", groups, len(groups))
    order_G = choose(count, count, philox4x64(seed, 0, Stream.HALVES))
    sizes_G = np.bincount(numbers_N, minlength=count)
    first_G = np.zeros(count, dtype=bool)
    first_G[order_G[_half_of(sizes_G[order_G].tolist())]] = True
    in_first_N = first_G[numbers_N]
    return np.flatnonzero(in_first_N), np.flatnonzero(~in_first_N)


def _half_of(sizes: list[int]) -> list[int]:
    """Places of sizes whose sum is nearest to half of all, from below: subset sums by dynamic programming.

    Bit s of `reached[i]` says whether some of the first i sizes have the sum s.
    """
    half = sum(sizes) // 2
    mask = (1 << (half + 1)) - 1
    reached = [1]
    for size in sizes:
        reached.append((reached[-1] | (reached[-1] << size)) & mask)
    left, chosen = reached[-1].bit_length() - 1, []
    for place in reversed(range(len(sizes))):
        if not reached[place] >> left & 1:
            chosen.append(place)
            left -= sizes[place]
    return chosen


def draw_groups(groups: int, draws: int, seed: int, side: int) -> list[Counts]:
    """How often each of G groups is in each draw, [G]: a draw has as many groups as there are, some repeated."""
    words = philox4x64(seed, np.arange(draws * groups), Stream.BOOTSTRAP, side)[:, 0]
    drawn = below(words, np.full(len(words), groups)).reshape(draws, groups)
    return [np.bincount(row, minlength=groups) for row in drawn]


def grouped(name: str, features_ND: Matrix, groups: Groups, seed: int) -> GroupedSet:
    """A set with its groups numbered; of more than `MOST_GROUPS`, some are merged, alike for alike groups."""
    numbers_N, count = _number_groups(name, groups, len(features_ND))
    if count > MOST_GROUPS:
        merged_G = choose(count, count, philox4x64(seed, 1, Stream.HALVES)) % MOST_GROUPS
        numbers_N, count = merged_G[numbers_N], MOST_GROUPS
    return GroupedSet(features_ND, numbers_N, count)


def _number_groups(name: str, groups: Groups, samples: int) -> tuple[NDArray[np.int64], int]:
    """The number of each sample's group in alphabetical order, and the number of groups."""
    if len(groups) != samples:
        raise HistodsError(
            f"The {name} set has {samples:,} samples and {len(groups):,} groups; give one per sample."
        )
    names = [f"sample {place}" if group is None else f"group {group}" for place, group in enumerate(groups)]
    distinct, numbers_N = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    if len(distinct) < 2:
        raise HistodsError(
            f"The {samples:,} samples of the {name} set are of {len(distinct)} group, and this needs at least 2; "
            "add images of other slides, or give groups as with 'histods audit --group-regex'."
        )
    return numbers_N.astype(np.int64), len(distinct)
