"""`rescale`: labels that were multiplied to make a mask visible are divided again.

Proof: all values of the flagged masks are multiples of one factor (rounded, if it is a fraction such as 255 / 2),
and the quotients are explained in one of these ways:

1. A labels file names them all, and the quotients of no other factor.
2. Without such a file: the other masks hold them all and none of the multiplied values, which is true of no other
   factor.
3. Without such a file and other masks: they are 1, 2, ..., n without a gap.

There is no proof if a flagged mask holds nothing but labels of the labels file, or if each mask may have been
stretched to the whole range by itself (`normalize` of OpenCV, `imsave` of Matplotlib): a mask of labels 1 and 2
becomes 0 and 255, as one of 0 and 1 does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from histods.remedies.base import RefusedError, Remedy, Repaired
from histods.remedies.index_mask import read_mask, write_mask
from histods.run_lengths import find_runs, histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

    from numpy.typing import NDArray

    from histods.remedies.base import Dataset, Source

RANGE_ENDS = (255, 65535)
MAX_STEPS = 63  # of a range that a fraction divides
UNPROVEN = "the factor of its labels is not proven"


class Scale(NamedTuple):
    """A proven factor, and the label of each multiplied value."""

    factor: float
    labels: dict[int, int]
    proof: str


def study(dataset: Dataset) -> Scale:
    """Prove the factor of all flagged masks together.

    Raises:
        RefusedError: no factor is proven, or several are possible.
    """
    masks = dataset.manifest.filter(pl.col("mask_path").is_not_null() & pl.col("labels").is_not_null())
    flagged = pl.col("mask_path").is_in(sorted(dataset.flagged))
    sets = {frozenset(labels) for labels in masks.filter(flagged)["labels"].unique().to_list()}
    others = set(masks.filter(~flagged)["labels"].explode().drop_nulls().unique().to_list())
    return prove(sets, named=set(dataset.labels.names) - {0}, others=others - {0})


def prove(sets: Set[frozenset[int]], *, named: Set[int], others: Set[int]) -> Scale:
    """Find the factor of values that were multiplied.

    Args:
        sets: the distinct sets of values that a flagged mask holds, with 0.
        named: labels of the labels file, without 0; empty if there is none.
        others: labels of all other masks, without 0.

    Raises:
        RefusedError: no factor is proven, or several are possible.
    """
    values = set[int]().union(*sets) - {0}
    known, whose = (named, "the labels file") if named else (others, "the other masks")
    if intact := [one for one in sets if one - {0} and one - {0} <= named]:
        shown = ", ".join(map(str, sorted(min(intact, key=sorted) - {0})[:8]))
        raise RefusedError(UNPROVEN, f"{shown} are labels of the labels file as they are")
    if not named and values & others:
        both = ", ".join(map(str, sorted(values & others)[:3]))
        raise RefusedError(UNPROVEN, f"other masks hold {both}, too; name the true labels with --labels FILE")
    possible: dict[tuple[tuple[int, int], ...], Scale] = {}
    for factor in _factors(values):
        labels = {value: round(value / factor) for value in sorted(values)}
        found = set(labels.values())
        if len(found) < len(values) or (known and not found <= known):
            continue
        gapless = found == set(range(1, len(found) + 1))
        if known or gapless:
            alone = "they are 1 to " + str(len(found)) if len(found) > 1 else "it is 1"
            proof = f"divided by {factor:g} " + (f"they are labels of {whose}" if known else alone)
            possible[tuple(labels.items())] = Scale(factor, {0: 0} | labels, proof)
    if len(possible) == 1:
        scale = next(iter(possible.values()))
        if (other := _stretched(sets, scale, known)) is not None:
            raise RefusedError(UNPROVEN, other)
        return scale
    shown = ", ".join(map(str, sorted(values)[:8]))
    if possible:
        factors = " or ".join(f"{scale.factor:g}" for scale in list(possible.values())[:3])
        raise RefusedError(UNPROVEN, f"{shown} may have been multiplied by {factors}")
    missing = f"quotients are not all labels of {whose}" if known else "quotients are not 1, 2, 3, ..."
    raise RefusedError(UNPROVEN, f"values {shown}: {missing}; name the true labels with --labels FILE")


def _factors(values: Set[int]) -> Iterator[float]:
    """All factors above 1 of which all values are multiples, the largest first."""
    if not values:
        return
    divisor = int(np.gcd.reduce(sorted(values)))
    whole = [float(factor) for factor in range(2, divisor + 1) if divisor % factor == 0]
    top = max(values)
    fractions = [top / steps for steps in range(2, MAX_STEPS + 1) if top in RANGE_ENDS and top % steps]
    for factor in sorted(whole + fractions, reverse=True):
        exact = np.array(sorted(values))
        steps = np.rint(exact / factor) * factor
        if ((exact == np.floor(steps + 1e-6)) | (exact == np.floor(steps + 0.5))).all():
            yield factor


def _stretched(sets: Set[frozenset[int]], scale: Scale, known: Set[int]) -> str | None:
    """Other labels of a mask, if all masks may have been stretched from their own smallest and largest label."""
    top = max(scale.labels)
    if top not in RANGE_ENDS or not all({0, top} <= values for values in sets):
        return None
    labels = sorted({0} | known | set(scale.labels.values()))
    for values in sorted(sets, key=sorted):
        shown = sorted(values)
        proven = [scale.labels[value] for value in shown]
        for low in labels:
            for high in labels[labels.index(low) + 1 :]:
                found = [low + round(value * (high - low) / top) for value in shown]
                exact = [(label - low) * top / (high - low) for label in found]
                fits = all(value in (int(x + 1e-6), int(x + 0.5)) for value, x in zip(shown, exact, strict=True))
                if fits and found != proven and set(found) <= set(labels):
                    texts = (", ".join(map(str, row[:8])) for row in (shown, proven, found))
                    return "each mask may have been stretched alone: {} may be {} or {}".format(*texts)
    return None


def repair(source: Source) -> Repaired:
    """Divide the values of a mask by the proven factor."""
    scale: Scale = source.study
    mask = read_mask(source)
    unknown = set(histogram(find_runs(mask.labels))[0].tolist()) - scale.labels.keys()
    if unknown:
        raise RefusedError("it holds values of which the audit did not know", f"such as {min(unknown)}")
    repaired = write_mask(mask, _table(scale)[mask.labels], palette=True)
    return repaired._replace(after=f"{repaired.after} (proof: {scale.proof})")


def _table(scale: Scale) -> NDArray[np.uint16]:
    """[65536] the label of each value."""
    table = np.zeros(1 << 16, dtype=np.uint16)
    table[list(scale.labels)] = list(scale.labels.values())
    return table


REMEDY = Remedy(
    name="rescale",
    repairs=("scaled_mask",),
    summary="Divides labels that were multiplied, if the factor is proven.",
    repair=repair,
    study=study,
)
