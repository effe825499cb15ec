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
MOST_LABELS = 63
"""Labels beyond the commonest ones are taken together, since time grows with the square of those of a mask."""
LEAST_CONTRAST = 3.0
"""Grey levels by which the cells of an image deviate from their mean; below that there is nothing to fit."""
TELLING = 2.0
"""Usual z that a mask needs for any placement to count as better."""
TELLING_ALONE = 2.5
"""The same where a mask is flagged for its own z alone."""
FOLLOWING = 0.4
"""Share of the expected z that half of a dataset's masks reach; else labels or places are too loose."""
CLEAR = 2.5
"""The z that half of a dataset's masks reach, likewise."""
FITTING = 0.5
"""Share of what is usual in this dataset that a better placement reaches."""
PLACED = 0.8
"""The same for a mask as it is beyond which it is not moved."""
UNFITTING = 0.25
"""The same for a mask as it is beyond which it is not flagged for that alone, unless z is below `BY_CHANCE`."""
BY_CHANCE = 1.5
"""z that masks of something else hardly ever exceed."""
MOVED = 1.0
"""By how much more z a moved mask needs to be better than a turned one does, as more places are tried."""
OTHER = 2.0
"""The same for the mask of another sample."""
TURNED = 1.5
"""By how much z a turned mask is better to count as turned when learning what is usual."""
WRONG = 0.3
"""Probability of a mask of something else from which a mask is flagged."""
RIGHT = 0.01
"""Share of the masks that may be flagged for their own z although they are right, by these probabilities."""
LEAST_WRONG = 0.01
"""Share of the masks that are thought to be of something else, at least."""
LEAST_SPREAD = 0.1
"""Deviation of the logarithm of z that right masks have at least."""
OUTLYING = 0.15
"""Share of the typical z below which masks do not count for the spread of those that fit."""
_LEAST_TELLING = 10  # masks; fewer do not show what is usual

_LIMITS = (
    Threshold(
        name="better",
        default=1.0,
        meaning="a turned mask fits better by this many deviations of what masks of other images reach",
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
class _Usual:
    """What masks of a dataset reach.

    Attributes:
        typical: z of masks that fit, as a share of what is expected of them; 0 where few tell.
        spread: deviation of the logarithm of that share.
        wrong: share of masks that fit by chance alone.
        tells: whether most masks follow their images.
    """

    typical: float = 0.0
    spread: float = LEAST_SPREAD
    wrong: float = LEAST_WRONG
    tells: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Judged:
    """Samples whose mask and image can be compared, n of them.

    Attributes:
        rows: [n] their rows in the table.
        fit: how well the masks fit.
        usual: what is usual in this dataset.
    """

    rows: NDArray[np.intp]
    fit: Fit
    usual: _Usual


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
    layouts, labels = read_layouts(
        rows["layout"].to_list(), rows["labels"].to_list(), least_masks=LEAST_MASKS, most_labels=MOST_LABELS
    )
    square = (rows["image_width"] == rows["image_height"]).to_numpy()
    digest = xxhash.xxh3_128(appearances.data)
    for array in (layouts, square):
        digest.update(array.data)
    name = digest.hexdigest()
    if name not in _last:
        _last.clear()
        _last[name] = compare(appearances, layouts, labels, square)
    fit = _last[name]
    return _Judged(rows=rows["row"].to_numpy().astype(np.intp), fit=fit, usual=_learn_usual(fit))


def _learn_usual(fit: Fit) -> _Usual:
    """Learn what masks reach that tell, each turned as it fits best if that is clearly better.

    By chance as many masks fit better than average as worse, and a mask in its place fits better. Those that fit
    worse therefore tell how many of the others fit by chance alone; as many of the lowest are left out.
    """
    best = np.where(fit.turned.max(0) - fit.turned[0] > TURNED, fit.turned.max(0), fit.turned[0])
    telling = fit.usual >= TELLING
    shares = np.sort(best[telling] / fit.usual[telling])
    chance = 2 * int((shares <= 0).sum())
    fitting = shares[chance:]
    if len(fitting) < _LEAST_TELLING:
        return _Usual()
    fitting = fitting[fitting > OUTLYING * np.median(fitting)]
    typical, low = np.quantile(fitting, (0.5, 0.16))
    spread = max(float(np.log(typical / low)), LEAST_SPREAD)
    tells = bool(np.median(shares) >= FOLLOWING and np.median(best[telling]) >= CLEAR)
    wrong = max(chance / len(shares), LEAST_WRONG)
    return _Usual(typical=float(typical), spread=spread, wrong=wrong, tells=tells)


def _chance_of_wrong(own: Floats, usual: Floats, learned: _Usual) -> Floats:
    """Probability [n] that a mask is of something else, given its z `own` and what z is `usual` for one in place.

    The z of a mask of something else is normal with deviation 1, that of one in place log-normal around the usual
    one (the local false discovery rate of Efron 2004, doi:10.1198/016214504000000089, turned round).
    """
    z = np.maximum(own, 1e-3)
    right = np.exp(-0.5 * (np.log(z / np.maximum(usual, 1e-3)) / learned.spread) ** 2) / (z * learned.spread)
    wrong = learned.wrong * np.exp(-0.5 * own * own)
    by_chance = wrong / (wrong + (1 - learned.wrong) * right + 1e-30)
    return np.asarray(np.where(own <= 0, 1, by_chance), np.float32)


def _surely_wrong(wrong: Floats) -> NDArray[np.bool_]:
    """Masks [n], most probably wrong first, as long as hardly any right one is expected among them."""
    order = np.argsort(-wrong, kind="stable")
    expected = np.empty(len(wrong))
    expected[order] = np.cumsum(1 - wrong[order], dtype=np.float64)
    return np.asarray((wrong > WRONG) & (expected <= RIGHT * len(wrong)), np.bool_)


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
    fit, own = judged.fit, judged.fit.turned[0]
    usual = judged.usual.typical * fit.usual
    telling = (fit.usual >= TELLING) & judged.usual.tells

    def beats(z: Floats, by: float) -> NDArray[np.bool_]:
        return np.asarray(telling & (z - own >= by) & (z >= FITTING * usual), np.bool_)

    best_turn = fit.turned[1:].max(0)
    turned, shifted = beats(best_turn, better), beats(fit.shifted, better + MOVED) & (own < PLACED * usual)
    by_shift = shifted & (~turned | (fit.shifted > best_turn + MOVED))
    judged_alone = telling & (fit.usual >= TELLING_ALONE) & (own < np.maximum(UNFITTING * usual, BY_CHANCE))
    alone = judged_alone & _surely_wrong(np.where(judged_alone, _chance_of_wrong(own, usual, judged.usual), 0))
    return _Verdicts(
        turned=turned & ~by_shift,
        shifted=by_shift,
        unfit=alone & ~turned & ~shifted,
        other=(fit.other - own >= better + OTHER)
        & (fit.other >= FITTING * judged.usual.typical * fit.usual[fit.nearest]),
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
    """What is wrong with one mask; `WORST` of the report reads the agreement of the mask as it is from it.

    The agreement is z as a share of what is usual: 1 for a mask in its place, 0 for one of something else.
    """
    fit, usual = judged.fit, judged.usual.typical * judged.fit.usual[place]
    own = fit.turned[0, place] / usual
    if verdicts.shifted[place]:
        how = f"when moved {_describe(SHIFTS[fit.shift[place]], width, height)}"
        agreement = fit.shifted[place] / usual
    elif verdicts.turned[place]:
        number = int(fit.turned[1:, place].argmax()) + 1
        how, agreement = f"when {TURNS[number]}", fit.turned[number, place] / usual
    elif verdicts.other[place]:
        return (
            f"the mask of {neighbour} fits the image better than its own mask: "
            f"agreement {_two(fit.other[place] / usual)} instead of {_two(own)}"
        )
    else:
        return (
            "the mask fits its image no better than masks of other images do: "
            f"agreement {_two(own)}, where 1 is usual for such a mask"
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
    if not judged.usual.tells:
        return (
            f"misplaced_mask judged none of {masks} masks: they follow their images too little. Either their "
            f"labels hardly differ in colour and texture, or most masks are misplaced; {look}."
        )
    told = int((judged.fit.usual >= TELLING).sum())
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
        Measure(column="appearance", version=2, type=pa.binary(), quality=True, of_image=measure_appearance),
        Measure(column="layout", type=pa.binary(), quality=True, of_mask=measure_layout),
    ),
    thresholds=_LIMITS,
    quality=True,
)
