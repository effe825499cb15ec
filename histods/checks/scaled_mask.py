"""`scaled_mask`: labels were multiplied, usually to make a mask visible: 0, 1 became 0, 255.

There are four kinds of evidence, none of which valid label sets ({0, 28}, {10, 20}, {0, 15, 255}) produce:

1. *A full range.* The labels are only 255 or 65535, or lie on a grid of even steps up to it (0, 85, 170, 255).
   If 255 occurs with unrelated labels in most masks, it is a void label and proves nothing.
2. *A step beyond the others.* The labels are even steps (0, 60, 120) that reach well past the labels of masks that
   are not on these steps. If the largest also occurs in one of those, it is a real label. If there are too few
   other masks to compare with, the steps must fill the 8 bits (0, 60, 120, 180, 240), in one mask or in the whole
   dataset.
3. *A known step.* All labels lie on steps that another mask of the dataset proves.
4. *One step for all.* Nearly all masks of the dataset lie on the same steps from 0 (0, 50, 100), and all steps are
   used. Two labels suffice if they are high; {14, 28} can be two classes of a longer list.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from histods.checks.base import Check, Context, found, has_off_palette_pixels, measured_mask
from histods.checks.speckled_mask import speckled

RANGE_ENDS = (255, 65535)  # white in 8 and 16 bits; both also serve as a void label
WIDENING_STEPS = (256, 257)  # 8 bits moved to the high byte of 16, or repeated in both bytes
MAX_STEPS = 63  # finer grids up to 255 contain every value
SMALLEST_STEP = 10  # smaller factors would not make labels visible, and small real labels share small divisors
MIN_FILLED = 0.5  # share of a grid's non-zero values that a mask must hold: {15, 255} is not a grid of 17
MIN_OTHERS = 3  # fewer masks do not show which labels are ordinary
MIN_VOID = 3  # masks with 255 and other labels; fewer can be planted or stray pixels
ORDINARY_QUANTILE = 0.9  # of the other masks' largest labels: a stray label must not hide scaled masks
OUTREACH = 1.5  # times that quantile: a label a little above the rest is just a rare class
MIN_ALIKE = 6  # masks on one step; fewer may hold a few labels of a longer list
MIN_ALIKE_HIGH = 3  # the same for three or more labels on a high step
SHARE_ALIKE = 0.95  # of all masks: one edited mask must not hide the rest
MIN_HIGH_STEP = 32  # from here on two labels prove a step: lists of classes rarely go beyond 64
LISTED = 8

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Masks:
    """The non-zero labels of all masks that have any, and what follows from them.

    `values` and `owners` have one entry per label of each mask; `starts` has the start of each mask's labels.
    Everything else has one entry per mask: its row in the table, the number of labels, the largest one, the
    largest that is not the end of a range (0 for none), and the greatest common divisor. `intact` masks are
    neither lossy nor speckled; the largest label of `unnamed` masks is not in the labels file.
    """

    values: Ints
    owners: Ints
    starts: Ints
    rows: Ints
    counts: Ints
    tops: Ints
    ordinary_tops: Ints
    divisors: Ints
    intact: Bools
    unnamed: Bools

    def on_steps(self, step: float) -> Bools:
        """Which masks hold only multiples of `step`, rounded down or to the nearest."""
        exact = np.rint(self.values / step) * step
        fits = (self.values == np.floor(exact + 1e-6)) | (self.values == np.floor(exact + 0.5))
        return np.logical_and.reduceat(fits, self.starts)

    def fill(self, steps: Ints | float) -> Bools:
        """Which masks hold at least two values and enough of all multiples of `steps` up to their largest."""
        return (self.counts >= 2) & (self.counts >= MIN_FILLED * self.tops / steps)


def _collect(samples: pl.DataFrame, context: Context) -> _Masks | None:
    """Flatten the non-zero labels of all measured masks; None if there are none."""
    damaged = speckled(samples) | samples["mask_format"].eq_missing("jpeg")
    reserved = has_off_palette_pixels() & (pl.col("labels") == context.off_palette_label)
    flat = (
        samples.with_row_index("row")
        .filter(measured_mask())
        .select("row", "labels", "off_palette")
        .explode("labels", empty_as_null=False)
        .filter((pl.col("labels") != 0) & ~reserved)
    )
    if flat.is_empty():
        return None
    values = flat["labels"].cast(pl.Int64).to_numpy()
    row_of_value = flat["row"].cast(pl.Int64).to_numpy()
    starts = np.flatnonzero(np.diff(row_of_value, prepend=-1))
    counts = np.diff(starts, append=values.size)
    tops = np.maximum.reduceat(values, starts)
    return _Masks(
        values=values,
        owners=np.repeat(np.arange(starts.size), counts),
        starts=starts,
        rows=row_of_value[starts],
        counts=counts,
        tops=tops,
        ordinary_tops=np.maximum.reduceat(np.where(np.isin(values, RANGE_ENDS), 0, values), starts),
        divisors=np.gcd.reduceat(values, starts),
        intact=~damaged.to_numpy()[row_of_value[starts]],
        unnamed=~np.isin(tops, sorted(context.labels or ())),
    )


def _full_range_steps(masks: _Masks) -> Floats:
    """The step of each mask that spreads evenly up to 255 or 65535; 0 for all others."""
    steps = np.zeros(masks.rows.size)
    gaps = np.diff(masks.values, prepend=0)
    gaps[masks.starts] = masks.values[masks.starts]
    narrowest = np.minimum.reduceat(gaps, masks.starts)
    for end in RANGE_ENDS:
        ending = masks.unnamed & (masks.tops == end)
        # Rounding brings neighbours at most 2 closer than the step, so most masks need no search below.
        possible = ending & (masks.counts <= MAX_STEPS) & (narrowest + 2 >= MIN_FILLED * end / masks.counts)
        if not possible.any():
            continue
        finest = int(masks.counts[possible].max() / MIN_FILLED)
        for number in range(1, min(finest, MAX_STEPS) + 1):
            filled = (masks.counts == 1) if number == 1 else masks.fill(end / number)
            untold = possible & (steps == 0) & filled & (masks.counts <= number)
            if untold.any():
                steps[untold & masks.on_steps(end / number)] = end / number
        spread = ending & (steps > 0)
        void = ending & (steps == 0) & masks.intact
        if void.sum() >= MIN_VOID and void.sum() > spread.sum():
            steps[ending] = 0
    return steps


def _common_step(masks: _Masks) -> float | None:
    """The step on which all labels of the dataset lie, if they fill the 8 bits."""
    values = np.unique(masks.values[masks.intact[masks.owners]])
    values = values[~np.isin(values, RANGE_ENDS)]
    if values.size < 2:
        return None
    step = int(np.gcd.reduce(values))
    filled = values.size >= MIN_FILLED * values[-1] / step and _fill_byte(values[-1:], step).all()
    return float(step) if step >= SMALLEST_STEP and filled else None


def _steps_of_all(masks: _Masks) -> set[float]:
    """Steps on which nearly all masks lie; see the fourth kind of evidence."""
    divisors = masks.divisors[masks.intact]
    if divisors.size < MIN_ALIKE_HIGH or (divisors >= SMALLEST_STEP).mean() < SHARE_ALIKE:
        return set()
    several = masks.divisors[masks.intact & (masks.counts >= 2)]
    steps = set()
    for step in np.unique([*several, np.gcd.reduce(divisors), *WIDENING_STEPS]):
        members = masks.intact & (masks.divisors % step == 0)
        if step < SMALLEST_STEP or members.sum() < SHARE_ALIKE * divisors.size:
            continue
        values = np.unique(masks.values[members[masks.owners]])
        values = values[~np.isin(values, RANGE_ENDS)]
        least, filled = (2, MIN_FILLED) if step >= MIN_HIGH_STEP else (3, 1)
        high_bytes = any(step % widening == 0 for widening in WIDENING_STEPS)
        clear = values.size >= 3 and step >= MIN_HIGH_STEP
        if divisors.size < MIN_ALIKE and not clear:
            continue
        if values.size and (high_bytes or values.size >= max(least, filled * values[-1] / step)):
            steps.add(float(step))
    return steps


def _fill_byte(tops: Ints, step: float) -> Bools:
    """Which largest labels end steps near 255; those of 255 // n, counted from 0, leave room for one more."""
    return (tops <= RANGE_ENDS[0]) & (tops + 2 * step > RANGE_ENDS[0])


def _members(masks: _Masks, unjudged: Bools, step: float, context: Context, *, proven: bool) -> Bools:
    """Which `unjudged` masks were multiplied by `step`; none, unless it is `proven` or one of them proves it."""
    on_steps = masks.on_steps(step)
    others = unjudged & ~on_steps
    ordinary = masks.ordinary_tops[others]
    ordinary = ordinary[ordinary > 0]
    real = np.unique(masks.values[others[masks.owners]])
    members = on_steps & unjudged & masks.unnamed & ~np.isin(masks.tops, [*RANGE_ENDS, *real])
    proof = members & masks.fill(step)
    if context.labels is not None:
        beyond = masks.tops >= OUTREACH * max(context.labels - set(RANGE_ENDS), default=0)
    elif ordinary.size >= MIN_OTHERS:
        beyond = masks.tops >= OUTREACH * np.quantile(ordinary, ORDINARY_QUANTILE)
    else:
        beyond = np.ones(masks.rows.size, dtype=np.bool_)
        proof &= _fill_byte(masks.tops, step)
    return members & beyond & (proven or bool((proof & beyond).any()))


def _steps(masks: _Masks, context: Context) -> Floats:
    """The step by which each mask was multiplied; 0 for masks that were not."""
    steps = _full_range_steps(masks)
    several = masks.intact & (masks.counts >= 2)
    proven = {float(step) for step in np.unique(steps[several & (steps > 0)])}
    proven |= {float(step) for step in WIDENING_STEPS if (several & (masks.divisors % step == 0)).any()}
    proven |= _steps_of_all(masks)
    if (common := _common_step(masks)) is not None:
        proven.add(common)
    # Masks with a small divisor are not on any step: their labels are real, which ends most searches here.
    small = masks.intact & (masks.divisors < SMALLEST_STEP) & (steps == 0)
    real = np.unique(masks.values[small[masks.owners]])
    suspects = several & ~small & masks.unnamed & masks.fill(masks.divisors) & ~np.isin(masks.tops, real)
    for step in sorted(proven | {float(step) for step in np.unique(masks.divisors[suspects])}):
        unjudged = masks.intact & (steps == 0)
        steps[_members(masks, unjudged, step, context, proven=step in proven)] = step
    return steps


def _explain(labels: list[int], step: float) -> str:
    """Describe the values as the original labels times a factor."""
    more = f" and {len(labels) - LISTED} more" if len(labels) > LISTED else ""
    values = ", ".join(str(label) for label in labels[:LISTED])
    originals = ", ".join(str(round(label / step)) for label in labels[:LISTED])
    return (
        f"labels {values}{more} look like {originals}{more} times {step:g}; "
        "restore the original labels ('histods fix scaled_mask --repair --to DIR' does, if the factor is proven), "
        "or name these in a --labels file if they are meant"
    )


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Name the factor by which a mask's labels were probably multiplied."""
    masks = _collect(samples, context)
    if masks is None:
        return found(samples.clear(), "mask_path", "")
    steps = _steps(masks, context)
    rows = masks.rows[steps > 0]
    flagged = samples[rows].select(
        "key",
        "mask_path",
        "mask_format",
        "labels",
        pl.col("labels").cast(pl.List(pl.String)).list.join(",").alias("values"),
        pl.Series("step", steps[steps > 0]),
    )
    # Thousands of masks share a few label sets, so each set is described only once.
    kinds = flagged.unique(["values", "step"]).select("values", "step", "labels")
    words = [_explain(labels, step) for labels, step in kinds.select("labels", "step").iter_rows()]
    explained = flagged.join(kinds.with_columns(pl.Series("message", words, pl.String)), on=["values", "step"])
    # A GIF has a palette even for greys, so the message says which of the two are the labels.
    of_gif = (
        pl.when(pl.col("mask_format") == "gif").then(pl.lit("greys of the GIF's palette: ")).otherwise(pl.lit(""))
    )
    return found(explained, "mask_path", pl.concat_str(of_gif, "message"))


CHECK = Check(
    code="scaled_mask",
    severity="warning",
    summary="Labels were multiplied: 0 and 255, or evenly spread values.",
    judge=judge,
)
