"""Choose the sample at each position of a training run, as a pure function of (seed, position).

There is no state between calls. A killed run resumes from one integer, the next position; any process can compute
any position on its own, so the order is the same for any number of workers and ranks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.errors import HistodsError
from histods.sampling.philox import below, permute, philox4x64
from histods.sampling.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

BLOCK = 4096
"""Positions per block of the class schedule without replacement; their order within a block is random."""
_PHASES = 1024


class Draws(NamedTuple):
    """The draws for some positions, as arrays of shape [n].

    Attributes:
        samples: rows of the index.
        classes: the class for which each sample was drawn; -1 for none.
        views: index of the dihedral view, 0 to 7; see `dihedral`.
    """

    samples: NDArray[np.int64]
    classes: NDArray[np.int64]
    views: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ClassLists:
    """The samples of each class: class c has `samples[bounds[c]:bounds[c + 1]]`.

    Each class of each sample takes four bytes; both arrays may be memory-mapped. A sample with several classes is
    in several lists; class 0 lists the unconditional samples.
    """

    samples: NDArray[np.uint32]
    bounds: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of samples of each class."""
        return np.diff(self.bounds)


def list_classes(classes: NDArray[np.uint16], offsets: NDArray[np.int64], count: int) -> ClassLists:
    """Invert the classes of each sample into the samples of each class.

    Args:
        classes: classes of all samples, flattened; those of sample i are `classes[offsets[i]:offsets[i + 1]]`.
        offsets: [samples + 1].
        count: number of classes.
    """
    samples = np.repeat(np.arange(len(offsets) - 1, dtype=np.uint32), np.diff(offsets))
    meaningful = classes > 0
    samples, found = samples[meaningful], classes[meaningful]
    conditional = np.zeros(len(offsets) - 1, dtype=bool)
    conditional[samples] = True
    order = np.argsort(found, kind="stable")
    listed = [np.flatnonzero(~conditional).astype(np.uint32), samples[order]]
    sizes = np.bincount(found, minlength=count)
    sizes[0] = len(listed[0])
    return ClassLists(np.concatenate(listed), np.concatenate([[0], np.cumsum(sizes)]))


def class_cutoffs(
    classes: int, unconditional: float, weights: NDArray[np.float64] | NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Cumulative probabilities of classes 0..n-1: `unconditional` for class 0, the rest divided by weight.

    With 5 classes and 0.5: [0.5, 0.625, 0.75, 0.875, 1]. Classes of weight 0 are never drawn.

    Args:
        classes: the number n of classes.
        unconditional: probability of class 0.
        weights: [n], relative probabilities of the classes from 1 on; equal if None. The weight of class 0 is
            ignored.

    Raises:
        HistodsError: fewer than 2 classes, no weight above 0, or the probability is outside 0..1.
    """
    shares = np.ones(classes) if weights is None else weights.astype(np.float64)
    shares[:1] = 0.0
    if not shares.any() or not 0 <= unconditional <= 1:
        raise HistodsError(
            "Drawing by class needs at least 2 classes and a probability of an unconditional draw from 0 to 1, "
            f"not {1 + np.count_nonzero(shares)} and {unconditional}; change the label map or the setting."
        )
    cutoffs = np.cumsum(shares * ((1 - unconditional) / shares.sum())) + unconditional
    cutoffs[np.flatnonzero(shares)[-1] :] = 1.0  # not 0.9999999
    return cutoffs


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BalancedDraws:
    """Draw a class by its probability, then a sample that has it, without end.

    With `replacement`, positions are independent and identically distributed. Without, each class goes through all
    its samples in random order before any repeats: classes then follow a schedule that matches each probability
    exactly over 4,194,304 positions (4,096 blocks of 1,024 phases) and to within one draw in every block, and the
    k-th draw of a class is the k-th of its shuffled samples.

    Raises:
        HistodsError: the cutoffs do not rise to 1, or a class with a positive probability has no samples.
    """

    seed: int
    lists: ClassLists
    cutoffs: NDArray[np.float64]
    replacement: bool = True
    names: Sequence[str] = ()
    _thresholds: NDArray[np.int64] = field(init=False)
    _before: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        cutoffs, sizes = self.cutoffs, self.lists.sizes
        if len(cutoffs) != len(sizes) or cutoffs[-1] != 1 or (np.diff(cutoffs, prepend=0.0) < 0).any():
            raise HistodsError(
                f"The cutoffs {cutoffs.tolist()} are not {len(sizes)} numbers that rise to 1; correct them."
            )
        missing = np.flatnonzero((np.diff(cutoffs, prepend=0.0) > 0) & (sizes == 0))
        if missing.size:
            named = ", ".join(f"{c} {self.names[c]}" if self.names else str(c) for c in missing.tolist())
            raise HistodsError(
                f"There are no samples of class {named}, which is to be drawn; "
                "give it probability 0, or a label map without it."
            )
        object.__setattr__(self, "_thresholds", np.round(cutoffs * BLOCK * _PHASES).astype(np.int64))
        object.__setattr__(self, "_before", self._count_before())

    def draw(self, positions: ArrayLike) -> Draws:
        """The draws for positions (from 0), an array of shape [n]."""
        places = np.asarray(positions, dtype=np.int64)
        words = philox4x64(self.seed, places, Stream.DRAW)
        if self.replacement:
            uniform = (words[:, 0] >> np.uint64(11)) * 2.0**-53
            classes = np.searchsorted(self.cutoffs, uniform, side="right")
            chosen = below(words[:, 1], self.lists.sizes[classes])
        else:
            classes, turns = self._follow_schedule(places)
            chosen = self._shuffled(classes, turns)
        samples = self.lists.samples[self.lists.bounds[classes] + chosen].astype(np.int64)
        return Draws(samples, classes, _views(words))

    def _count_before(self) -> NDArray[np.int64]:
        """Number of draws of each class in the first 0..1024 blocks, shape [1025, classes].

        Block b has the points i x 1024 + phase(b), i = 0..4095; class c gets those below its threshold and not
        below that of class c - 1.
        """
        phases = _phase(np.arange(_PHASES))[:, None]
        below_threshold = np.clip(-((phases - self._thresholds[None, :]) // _PHASES), 0, BLOCK)
        counts = np.diff(below_threshold, axis=1, prepend=0)
        return np.concatenate([np.zeros((1, counts.shape[1]), np.int64), np.cumsum(counts, axis=0)])

    def _follow_schedule(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Class of each position, and the number of earlier draws of that class."""
        classes, turns = np.empty_like(places), np.empty_like(places)
        blocks = places // BLOCK
        for block in np.unique(blocks).tolist():
            here = blocks == block
            of_block, before = self._schedule(block)
            inside = places[here] % BLOCK
            classes[here], turns[here] = of_block[inside], before[inside]
        return classes, turns

    def _schedule(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Classes of a block's positions in random order, and the number of earlier draws of each."""
        words = philox4x64(self.seed, np.arange(BLOCK // 4), Stream.CLASS_SCHEDULE, block).reshape(-1)
        points = np.argsort(words, kind="stable") * _PHASES + _phase(np.array([block % _PHASES]))
        classes = np.searchsorted(self._thresholds, points, side="right")
        rounds, phase = divmod(block, _PHASES)
        order = np.argsort(classes, kind="stable")
        ranks = np.empty(BLOCK, dtype=np.int64)
        sizes = np.bincount(classes, minlength=len(self.cutoffs))
        ranks[order] = np.arange(BLOCK) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return classes, rounds * self._before[-1][classes] + self._before[phase][classes] + ranks

    def _shuffled(self, classes: NDArray[np.int64], turns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Index in its class's list for each draw; each pass over the list has its own order."""
        sizes = self.lists.sizes[classes]
        passes, places = np.divmod(turns, sizes)
        return permute(places, sizes, philox4x64(self.seed, passes, Stream.ORDER_IN_CLASS, classes))


@dataclass(frozen=True, kw_only=True, slots=True)
class InOrder:
    """Every sample once, in the order of the index, for evaluation. Positions past the end start over."""

    size: int

    def draw(self, positions: ArrayLike) -> Draws:
        """The draws for positions (from 0), an array of shape [n], without a class or a dihedral view."""
        places = np.asarray(positions, dtype=np.int64)
        return Draws(places % self.size, np.full_like(places, -1), np.zeros_like(places))


def rank_positions(step: int, *, global_batch: int, rank: int = 0, ranks: int = 1) -> range:
    """Positions of one rank in one step: its slice of the global batch.

    The slices of all ranks, concatenated, are the global batch, for any number of ranks.

    Raises:
        HistodsError: the global batch cannot be divided evenly.
    """
    if global_batch % ranks or not 0 <= rank < ranks:
        raise HistodsError(
            f"{ranks} processes cannot share a global batch of {global_batch} evenly (process {rank}); "
            f"choose a multiple of {ranks}."
        )
    share = global_batch // ranks
    first = step * global_batch + rank * share
    return range(first, first + share)


def _views(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Choose one of the 8 dihedral views for each row of random words."""
    return (words[:, 2] >> np.uint64(61)).astype(np.int64)


def _phase(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bit-reversed block number of 10 bits: successive blocks' points fill the gaps evenly."""
    phases = np.zeros_like(blocks)
    for bit in range(10):
        phases |= ((blocks >> bit) & 1) << (9 - bit)
    return phases


def dihedral(pixels: NDArray[np.generic], view: int) -> NDArray[np.generic]:
    """One of the 8 views of [height, width, ...] pixels: mirrored if view >= 4, then view % 4 quarter turns."""
    return np.rot90(pixels[:, ::-1] if view >= 4 else pixels, view % 4)
