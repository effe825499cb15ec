"""The search: one setting after another on few masks, then the best on all.

1. On the masks of the search, starting from the untuned setting: guidance, then the interval of guidance, then
   sampler and levels, then the average of weights, then guidance again if an interval was found. Each starts from
   the best so far; see `training.evaluation.tuning.choice`.
2. The best of these, and the untuned setting, on all masks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from training.evaluation.tuning.candidates import guidances, intervals, solvers, stronger
from training.evaluation.tuning.choice import Score, ranked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from training.evaluation.tuning.candidates import Candidate

FINALISTS = 3
"""Candidates that are compared with the untuned setting on all masks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        search: the scores on the masks of the search, in the order of the trials; the first is the untuned one.
        final: the scores on all masks of the best of these and of the untuned setting.
        best: the best by `final`.
    """

    search: dict[Candidate, Score]
    final: dict[Candidate, Score]
    best: Candidate


def search(
    today: Candidate,
    *,
    lengths: Sequence[float],
    fill: Callable[[Candidate], Candidate],
    score_few: Callable[[Candidate], Score],
    score_all: Callable[[Candidate], Score],
    real_dice: float,
    trials: int,
) -> Found:
    """Search for the best candidate.

    Args:
        today: the setting to begin with.
        lengths: averages of weights to try.
        fill: gives a candidate as many steps as it may take.
        score_few: the score on the masks of the search.
        score_all: the score on all masks.
        real_dice: Dice coefficient of real images.
        trials: most candidates to try.
    """

    def averages(best: Candidate) -> Iterator[Candidate]:
        return (replace(best, ema_length=length) for length in lengths)

    few = {today: score_few(today)}
    stages: tuple[Callable[[Candidate], Iterable[Candidate]], ...] = (
        guidances,
        intervals,
        solvers,
        averages,
        stronger,
    )
    for stage in stages:
        for candidate in map(fill, list(stage(ranked(few, real_dice)[0]))):
            if candidate not in few and len(few) < trials:
                few[candidate] = score_few(candidate)
    finalists = [today, *(candidate for candidate in ranked(few, real_dice) if candidate != today)][
        : FINALISTS + 1
    ]
    final = {candidate: score_all(candidate) for candidate in finalists}
    return Found(search=few, final=final, best=ranked(final, real_dice)[0])
