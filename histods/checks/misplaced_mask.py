"""`misplaced_mask`: a mask that fits its image worse than when turned or moved, or no better than masks of others.

`histods.masks.fit` tells how an agreement is measured; `docs/misplaced-masks.md` how often this check is right.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import xxhash

from histods.checks.base import Check, Context, Threshold, found, measured_mask
from histods.masks.fit import SHIFTS, TURNS, Fit, compare
from histods.masks.grids import CELLS, FEATURES, SIDE, measure_appearance, measure_layout, read_layouts
from histods.measurement.extra_measure import Measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

LEAST_MASKS = 8
"""Labels in fewer masks are taken together: too little shows how they look."""
LEAST_CONTRAST = 3.0
"""Grey levels by which the cells of an image deviate from their mean; below that there is nothing to fit."""
TELLING = 2.0
"""Times chance that a mask must be expected to agree for any placement to count as better."""
TELLING_ALONE = 2.5
"""The same where a mask is flagged for agreeing too little alone."""
CHANCE = 2.0
"""Times chance beyond which a mask fits, however much better others do."""
SPREADS = (4.0, 5.0)
"""How far below the usual agreement a mask is flagged, in deviations of those that fit."""
WIDE = (0.2, 0.22)
"""From which to which deviation that number rises: where looks vary so much, some right masks hardly agree."""
FITTING = 0.6
"""Share of the usual agreement that a better placement reaches, and that the mask as it is does not."""
FOLLOWING = 0.8
"""Share of the expected agreement that typical masks of a dataset reach; else labels or places are too loose."""
UNFITTING = 0.5
"""Share of the usual agreement that a mask flagged for that alone lacks in any case."""
OUTLYING = 0.2
"""Share of the usual agreement below which masks do not count for the spread of those that fit."""
_LEAST_TELLING = 10  # masks; fewer do not show what is usual

_LIMITS = (
    Threshold(
        name="better",
        default=2.5,
        meaning="a placement agrees better by this many times what chance makes of masks of other images",
        source="measured on generated tissue of ten kinds; see docs/misplaced-masks.md",
        most=1000.0,
    ),
    Threshold(
        name="least",
        default=50,
        meaning="fewer masks with several labels are not judged, as too little shows how labels look",
        source="measured on generated tissue of ten kinds; see docs/misplaced-masks.md",
        least=20,
        most=1_000_000,
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Judged:
    """Samples whose mask and image can be compared, n of them.

    Attributes:
        rows: [n] their rows in the table.
        fit: the agreements.
        typical: agreement of the dataset's masks as a share of what is expected of them, about 1; 0 where few
            tell.
        spread: deviation of that share among masks that fit.
    """

    rows: NDArray[np.intp]
    fit: Fit
    typical: float
    spread: float

    @property
    def tells(self) -> bool:
        """Whether the masks of this dataset generally follow their images."""
        return self.typical >= FOLLOWING


def _compared(samples: pl.DataFrame) -> pl.DataFrame:
    """Rows whose image and mask have several labels and colours, and the same size."""
    same = (pl.col("image_width") == pl.col("mask_width")) & (pl.col("image_height") == pl.col("mask_height"))
    both = pl.col("appearance").is_not_null() & pl.col("layout").is_not_null()
    return samples.with_row_index("row").filter(measured_mask() & same & both)


_last: dict[str, Fit] = {}  # of what was compared last, by its digest: `note` asks for the same as `judge`


def _judge(samples: pl.DataFrame, context: Context) -> _Judged | None:
    """Compare masks with their images; None for too few of them."""
    rows = _compared(samples)
    appearances = np.frombuffer(b"".join(rows["appearance"].to_list()), np.uint8).reshape(-1, CELLS, FEATURES)
    parts = np.array_split(appearances[..., :3], len(appearances) // 4096 + 1)
    clear = np.concatenate([part.astype(np.float32).std(1).max(1) >= LEAST_CONTRAST for part in parts])
    if clear.sum() < context.limits["least"]:
        return None
    if not clear.all():
        rows, appearances = rows.filter(clear), appearances[clear]
    layouts, labels = read_layouts(rows["layout"].to_list(), rows["labels"].to_list(), least_masks=LEAST_MASKS)
    square = (rows["image_width"] == rows["image_height"]).to_numpy()
    digest = xxhash.xxh3_128(appearances.data)
    for array in (layouts, square):
        digest.update(array.data)
    name = digest.hexdigest()
    if name not in _last:
        _last.clear()
        _last[name] = compare(appearances, layouts, labels, square)
    fit = _last[name]
    typical, spread = _typical(fit)
    return _Judged(rows=rows["row"].to_numpy().astype(np.intp), fit=fit, typical=typical, spread=spread)


def _typical(fit: Fit) -> tuple[float, float]:
    """`typical` and `spread` of masks that tell, each turned as it fits best if that is clearly better."""
    z = fit.turned / fit.chance
    best = np.where(z.max(0) - z[0] > CHANCE, fit.turned.max(0), fit.turned[0])
    telling = fit.usual >= TELLING * fit.chance
    if telling.sum() < _LEAST_TELLING:
        return 0.0, 0.0
    shares = best[telling] / fit.usual[telling]
    typical = float(np.median(shares))
    fitting = shares[shares > OUTLYING * typical]  # so that misplaced masks do not count
    return typical, float(np.median(fitting) - np.quantile(fitting, 0.16)) / max(typical, 1e-6)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Verdicts:
    """What is wrong with n masks, booleans.

    Attributes:
        turned: [n] the mask fits better after a turn.
        shifted: [n] it fits better elsewhere.
        unfit: [n] it fits in no position, as far as was tried.
        other: [n] another sample's mask fits; this alone is no finding.
    """

    turned: NDArray[np.bool_]
    shifted: NDArray[np.bool_]
    unfit: NDArray[np.bool_]
    other: NDArray[np.bool_]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """[n] whether a mask is a finding."""
        return self.turned | self.shifted | self.unfit


def _decide(judged: _Judged, better: float) -> _Verdicts:
    fit = judged.fit
    usual = judged.typical * fit.usual
    own = fit.turned[0]
    telling = (fit.usual >= TELLING * fit.chance) & judged.tells & (own < FITTING * usual)

    def beats(agreement: Floats, expected: Floats, by: float) -> NDArray[np.bool_]:
        better_by = agreement - own >= by * fit.chance
        return np.asarray(telling & better_by & (agreement >= FITTING * expected), np.bool_)

    best_turn = fit.turned[1:].max(0)
    turned, shifted = beats(best_turn, usual, better), beats(fit.shifted, usual, better)
    by_shift = shifted & (~turned | (fit.shifted > best_turn))
    low = min(UNFITTING, 1 - float(np.interp(judged.spread, WIDE, SPREADS)) * judged.spread)
    alone = (own < low * usual) & (own < CHANCE * fit.chance) & (usual >= TELLING_ALONE * fit.chance)
    return _Verdicts(
        turned=turned & ~by_shift,
        shifted=by_shift,
        unfit=telling & alone & ~turned & ~shifted,
        other=beats(fit.other, judged.typical * fit.usual[fit.nearest], better + 1),
    )


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Say how a mask would fit its image better, or that it does not fit, and by how much."""
    judged = _judge(samples, context)
    if judged is None:
        return found(samples.clear(), "mask_path", "")
    verdicts = _decide(judged, context.limits["better"])
    wrong = np.flatnonzero(verdicts.wrong)
    flagged = samples[judged.rows[wrong]]
    neighbours = samples["key"].gather(judged.rows[judged.fit.nearest[wrong]])
    sizes = flagged.select("key", "mask_width", "mask_height").iter_rows()
    messages = [
        f"{_explain(judged, verdicts, int(place), neighbour, width, height)}; "
        f"look at it with: histods show {shlex.quote(key)} --open DIR"
        for place, neighbour, (key, width, height) in zip(wrong, neighbours, sizes, strict=True)
    ]
    return found(
        flagged.with_columns(message=pl.Series(messages, dtype=pl.String)), "mask_path", pl.col("message")
    )


def _explain(judged: _Judged, verdicts: _Verdicts, place: int, neighbour: str, width: int, height: int) -> str:
    """What is wrong with one mask; `WORST` of the report reads the agreement of the mask as it is from it."""
    fit = judged.fit
    own = fit.turned[0, place]
    if verdicts.shifted[place]:
        how, agreement = f"when moved {_describe(SHIFTS[fit.shift[place]], width, height)}", fit.shifted[place]
    elif verdicts.turned[place]:
        number = int(fit.turned[1:, place].argmax()) + 1
        how, agreement = f"when {TURNS[number]}", fit.turned[number, place]
    elif verdicts.other[place]:
        return (
            f"the mask of {neighbour} fits the image better than its own mask: "
            f"agreement {_two(fit.other[place])} instead of {_two(own)}"
        )
    else:
        usual = min(judged.typical * float(fit.usual[place]), 1.0)
        return (
            "the mask fits its image no better than masks of other images do: "
            f"agreement {_two(own)}, where {_two(usual)} is usual for such a mask"
        )
    return f"the mask fits its image better {how}: agreement {_two(agreement)} instead of {_two(own)}"


def _two(agreement: float) -> str:
    """An agreement with two decimals, 0.00 without a sign."""
    return f"{round(float(agreement), 2) + 0.0:.2f}"


def _describe(shift: tuple[int, int], width: int, height: int) -> str:
    """A shift in pixels, in words."""
    down, right = round(shift[0] * height / SIDE), round(shift[1] * width / SIDE)
    parts = [f"by {abs(right)} pixels to the {'right' if right > 0 else 'left'}"] if right else []
    parts += [f"by {abs(down)} pixels {'down' if down > 0 else 'up'}"] if down else []
    return " and ".join(parts)


def note(samples: pl.DataFrame, context: Context) -> str | None:
    """Say how many masks could not be judged, and why."""
    masks = samples.filter(measured_mask() & pl.col("image_path").is_not_null()).height
    if not masks:
        return None
    judged = _judge(samples, context)
    look = "look at a few with 'histods show KEY --open DIR'"
    if judged is None:
        least = context.limits["least"]
        return f"misplaced_mask judged none of {masks} masks: it needs {least:g} with several labels; {look}."
    if not judged.tells:
        return (
            f"misplaced_mask judged none of {masks} masks: they follow their images too little. Either their "
            f"labels hardly differ in colour and texture, or most masks are misplaced; {look}."
        )
    told = int((judged.fit.usual >= TELLING * judged.fit.chance).sum())
    if told == masks:
        return None
    return (
        f"misplaced_mask judged {told} of {masks} masks; the others have one label, or labels that differ too "
        "little in colour and texture."
    )


CHECK = Check(
    code="misplaced_mask",
    severity="warning",
    summary="A mask that fits its image better when turned or moved, or that does not fit it (with `--quality`).",
    judge=judge,
    note=note,
    measures=(
        Measure(column="appearance", type=pa.binary(), quality=True, of_image=measure_appearance),
        Measure(column="layout", type=pa.binary(), quality=True, of_mask=measure_layout),
    ),
    thresholds=_LIMITS,
    quality=True,
)
