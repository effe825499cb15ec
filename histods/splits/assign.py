"""Which split each sample goes to: whole units together, exact sizes, labels balanced.

A unit is what must not straddle: samples that share a group or the bytes of their image, directly or through
others. Nothing here depends on the order of the samples; ties are broken by hashes of key and seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from histods.errors import HistodsError
from histods.splits.balance import PAIRS, Content, fill_empty, improve, list_content, place, swap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

DEFAULT_TEST = 0.1
_MAX_SEED = 2**64 - 1
_MAX_SWAPPED = 6000
"""Single samples that are swapped to balance labels: those that hold most of any label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The splits to make: their names, and the share that each should get of the samples of each role."""

    names: tuple[str, ...]
    fractions: tuple[float, ...]
    folds: int | None

    def sizes(self, conditional: int, unconditional: int) -> Integers:
        """Samples of each role that each split should get, [2, splits]: exact to the nearest sample.

        The first split, train, gets what is left. Folds differ by at most one, within a role and in all.
        """
        if self.folds is not None:
            # The second role's remainder goes on where the first one's ended, so that totals are level too.
            turns = np.arange(self.folds), (np.arange(self.folds) - conditional) % self.folds
            counts = conditional, unconditional
            return np.array(
                [(count - turn + self.folds - 1) // self.folds for count, turn in zip(counts, turns, strict=True)]
            )
        rows = []
        for count in (conditional, unconditional):
            others = [floor(fraction * count + 0.5) for fraction in self.fractions[1:]]
            rows.append([count - sum(others), *others])
        return np.array(rows)


def parse_plan(test: float | None, val: float, folds: int | None) -> Plan:
    """The splits that were asked for: train, test and perhaps val, or folds.

    Raises:
        HistodsError: a fraction is not between 0 and 1, nothing is left for train, or both ways are mixed.
    """
    if folds is not None:
        if test is not None or val:
            raise HistodsError(
                "--folds does not go together with --test or --val, because every fold is a test in its turn; "
                "leave them out."
            )
        if folds < 2:
            raise HistodsError(f"--folds {folds} is below 2; give more, or --test instead.")
        return Plan(names=tuple(f"fold_{i}" for i in range(folds)), fractions=(1 / folds,) * folds, folds=folds)
    test = DEFAULT_TEST if test is None else test
    if not 0 < test < 1:
        raise HistodsError(f"--test {test:g} is not between 0 and 1; 0.1 is a tenth.")
    if not 0 <= val < 1:
        raise HistodsError(f"--val {val:g} is not between 0 and 1; 0.1 is a tenth, 0 is none.")
    if test + val >= 1:
        raise HistodsError(
            f"--test and --val make {test + val:g} together, which is not below 1; leave samples for train."
        )
    if val:
        return Plan(names=("train", "val", "test"), fractions=(1 - test - val, val, test), folds=None)
    return Plan(names=("train", "test"), fractions=(1 - test, test), folds=None)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """What is known of the samples to split, in any order.

    Attributes:
        hashes: [samples] of key and seed.
        units: [samples] number of the unit.
        conditional: [samples] the role.
        fixed: [samples] split that was given, -1 where it is free; the same throughout a unit (`spread_splits`).
        labels: labels of all samples, flattened.
        pixels: pixels of each.
        offsets: [samples + 1]; sample i has the entries `offsets[i]` up to `offsets[i + 1]`.
    """

    hashes: NDArray[np.uint64]
    units: Integers
    conditional: NDArray[np.bool_]
    fixed: Integers
    labels: NDArray[np.uint16]
    pixels: NDArray[np.uint32]
    offsets: Integers


def keyed_hashes(keys: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """XXH3-64 of each key with the seed: an order that only the seed decides.

    Raises:
        HistodsError: the seed is not a number of 64 bits.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise HistodsError(f"--seed {seed} is not between 0 and 2**64-1; give such a number.")
    return np.fromiter((xxhash.xxh3_64_intdigest(key.encode(), seed=seed) for key in keys), np.uint64)


def join_units(*memberships: Integers) -> Integers:
    """Number of the unit of each sample: connected components of samples that share a code.

    Each sample takes the smallest number that it meets, and the number of that one, until nothing changes.

    Args:
        memberships: [samples] each, such as codes of groups and of digests; -1 for none.
    """
    units = np.arange(len(memberships[0]))
    while True:
        before = units
        for codes in memberships:
            inside = codes >= 0
            smallest = np.full(codes.max(initial=-1) + 1, len(units))
            np.minimum.at(smallest, codes[inside], units[inside])
            units = units.copy()
            units[inside] = smallest[codes[inside]]
        units = units[units]
        if np.array_equal(units, before):
            return units


def find_conflict(fixed: Integers, codes: Integers) -> tuple[int, int] | None:
    """Two samples that share a code but not the split that was given to them; None where there are none."""
    rows = np.flatnonzero((fixed >= 0) & (codes >= 0))
    rows = rows[np.lexsort((rows, fixed[rows], codes[rows]))]
    apart = (codes[rows[1:]] == codes[rows[:-1]]) & (fixed[rows[1:]] != fixed[rows[:-1]])
    first = np.flatnonzero(apart)[:1]
    return (int(rows[first[0]]), int(rows[first[0] + 1])) if first.size else None


def spread_splits(fixed: Integers, units: Integers) -> Integers:
    """The split of each sample's unit: what was given to any of its samples, -1 where it is free."""
    of_unit = np.full(units.max(initial=-1) + 1, -1)
    np.maximum.at(of_unit, units, fixed)
    return of_unit[units]


def assign(samples: Samples, targets: Integers) -> Integers:
    """Give each sample a split: what is fixed stays, whole units are balanced, single samples fill the sizes.

    Args:
        samples: what is known of them.
        targets: [2, splits] conditional and unconditional samples that each open split should get. A fixed split
            may also be one beyond these, to which nothing is added.

    Returns:
        [samples] split of each.
    """
    units = _in_hash_order(samples)
    splits = samples.fixed.copy()
    alone = (np.bincount(units)[units] == 1) & (splits < 0)
    content = list_content(units, samples.conditional, samples.labels, samples.pixels, samples.offsets)
    fractions = np.maximum(targets.sum(axis=0), 0) / max(np.maximum(targets.sum(axis=0), 0).sum(), 1)
    together = (splits < 0) & ~alone
    if together.any():
        _place_units(units, together, splits, content, fractions, singles=int(alone.sum()))
    for role, mine in enumerate((samples.conditional, ~samples.conditional)):
        rows = np.flatnonzero(alone & mine)
        settled = (splits >= 0) & (splits < len(fractions)) & mine
        missing = targets[role] - np.bincount(splits[settled], minlength=len(fractions))
        if not rows.size:
            continue
        rows = rows[_strata_order(samples, rows)]
        splits[rows] = _deal(_apportion(len(rows), np.maximum(missing, 0)))
        if role == 0:
            largest = np.argsort(-content.squares()[rows], kind="stable")[:_MAX_SWAPPED]
            _swap_singles(rows[largest], splits, content, fractions)
    return splits


def _in_hash_order(samples: Samples) -> Integers:
    """Units numbered by the smallest hash of their samples, so that their numbers know nothing of rows."""
    smallest = np.full(samples.units.max(initial=-1) + 1, _MAX_SEED, dtype=np.uint64)
    np.minimum.at(smallest, samples.units, samples.hashes)
    return np.unique(smallest[samples.units], return_inverse=True)[1]


def _place_units(
    units: Integers,
    together: NDArray[np.bool_],
    splits: Integers,
    content: Content,
    fractions: NDArray[np.float64],
    *,
    singles: int,
) -> None:
    """Give the units of several samples their splits; no split stays empty that single samples cannot fill."""
    names, numbers = np.unique(units[together], return_inverse=True)
    bins = np.full(len(units), -1)
    bins[together] = numbers
    vectors = content.sum_by(bins, len(names))
    there = np.where(splits < len(fractions), splits, -1)
    deviations = content.sum_by(there, len(fractions))
    pool = deviations.sum(axis=0) + vectors.sum(axis=0)
    deviations -= np.rint(np.outer(fractions, pool))
    occupied = np.bincount(there[there >= 0], minlength=len(fractions)) > 0
    occupied |= singles >= len(fractions)
    chosen = place(vectors, deviations, fractions)
    fill_empty(vectors, chosen, deviations, occupied)
    improve(vectors, chosen, deviations, np.where(occupied, 0, 1))
    splits[together] = chosen[numbers]


def _strata_order(samples: Samples, rows: Integers) -> Integers:
    """Order of single samples: rarest label that each has, halvings of its pixels, hash.

    Dealt in this order, every split gets its share of the samples with each rare label, of those with much of
    it as of those with little: systematic sampling with implicit strata.
    """
    images = np.bincount(samples.labels[samples.pixels > 0], minlength=1)
    rank = np.empty(len(images), dtype=np.int64)
    rank[np.argsort(images, kind="stable")] = np.arange(len(images))
    sample = np.repeat(np.arange(len(samples.units)), np.diff(samples.offsets))
    filled = samples.pixels > 0
    sample, ranks, pixels = sample[filled], rank[samples.labels[filled]], samples.pixels[filled]
    rarest = np.full(len(samples.units), len(images))
    np.minimum.at(rarest, sample, ranks)
    amount = np.zeros(len(samples.units), dtype=np.int64)
    is_rarest = ranks == rarest[sample]
    amount[sample[is_rarest]] = np.frexp(pixels[is_rarest].astype(np.float64))[1]
    return np.lexsort((samples.hashes[rows], amount[rows], rarest[rows]))


def _apportion(count: int, shares: Integers) -> Integers:
    """Whole parts of `count` in proportion to `shares`, by largest remainders; `shares` where they add up."""
    total = max(int(shares.sum()), 1)
    parts, remainders = np.divmod(count * shares, total)
    more = np.argsort(-remainders, kind="stable")[: count - parts.sum()]
    parts[more] += 1
    return parts


def _deal(sizes: Integers) -> Integers:
    """Splits in the order in which they are dealt: split s `sizes[s]` times, spread as evenly as may be."""
    splits = np.repeat(np.arange(len(sizes)), sizes)
    places = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    return splits[np.argsort(places, kind="stable")]


def _swap_singles(rows: Integers, splits: Integers, content: Content, fractions: NDArray[np.float64]) -> None:
    """Swap single samples of one role, which leaves the sizes as they are, while that balances labels better."""
    bins = np.full(len(splits), -1)
    bins[rows] = np.arange(len(rows))
    vectors = content.sum_by(bins, len(rows))
    settled = np.where(splits < len(fractions), splits, -1)
    deviations = content.sum_by(settled, len(fractions))
    deviations -= np.rint(np.outer(fractions, deviations.sum(axis=0)))
    chosen, left, swapped = splits[rows], PAIRS, True
    while swapped:
        swapped, left = swap(vectors, chosen, deviations, left)
    splits[rows] = chosen
