"""`rescale`: labels that were multiplied to make a mask visible are divided again.

Proof: all values of the flagged masks are multiples of one factor (rounded, if it is a fraction such as 255 / 2),
and the quotients are explained in one of these ways:

1. They are 1, 2, ..., n without a gap, n at least 2, and a labels file, or else the other masks, have them all.
2. A labels file names them all, and the quotients of no other factor.
3. Without such a file: the other masks hold them all and none of the multiplied values, which is true of no other
   factor.
4. Without such a file and other masks: there is one value, which was 1.
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
    values, others = _labels(masks.filter(flagged)), _labels(masks.filter(~flagged))
    named = set(dataset.labels.names) - {0}
    return prove(values, named=named, others=others)


def prove(values: Set[int], *, named: Set[int], others: Set[int]) -> Scale:
    """Find the factor of values that were multiplied.

    Args:
        values: values of the flagged masks, without 0.
        named: labels of the labels file, without 0; empty if there is none.
        others: labels of all other masks, without 0.

    Raises:
        RefusedError: no factor is proven, or several are possible.
    """
    known, whose = (named, "the labels file") if named else (others, "the other masks")
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
        if gapless and len(found) > 1:
            return Scale(factor, {0: 0} | labels, f"divided by {factor:g} they are 1 to {len(found)}")
        if known or gapless:
            proof = (
                f"divided by {factor:g} they are labels of {whose}" if known else f"{factor:g} is the only value"
            )
            possible[tuple(labels.items())] = Scale(factor, {0: 0} | labels, proof)
    if len(possible) == 1:
        return next(iter(possible.values()))
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


def _labels(masks: pl.DataFrame) -> set[int]:
    return set(masks["labels"].explode().drop_nulls().unique().to_list()) - {0}


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
