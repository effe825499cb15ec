"""Which of several ways of sampling is better, and whether by more than chance.

Shapes: N images, D features, C classes, G groups (slides).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.evaluation.metrics.frechet import frechet_distance
from training.evaluation.metrics.intervals import draw_groups, grouped
from training.evaluation.metrics.resampled import resampled_frechet
from training.evaluation.segmenter.faithfulness import agreement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    from numpy.typing import NDArray

    from training.evaluation.metrics.intervals import Groups

    Name = TypeVar("Name")

TOLERANCE = 0.02
"""Dice coefficients this close to the best count as equal."""
CERTAIN = 0.975
"""Share of draws in which a candidate must be better than the untuned setting to replace it."""
_DRAWS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How good the images of a candidate are.

    Attributes:
        frechet: Fréchet distance of their features to those of real images; less is better.
        dice: mean Dice coefficient of the segmenter against their masks; more is better.
    """

    frechet: float
    dice: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Looks:
    """What was measured of each image of a candidate.

    Attributes:
        features_ND: float64.
        confusion_NCC: int64, pixels by class of the mask and of the segmenter.
    """

    features_ND: NDArray[np.float64]
    confusion_NCC: NDArray[np.int64]

    def score(self, real_ND: NDArray[np.float64]) -> Score:
        """The score beside the features of real images."""
        return Score(
            frechet=frechet_distance(real_ND, self.features_ND), dice=dice_of(self.confusion_NCC.sum(axis=0))
        )


def dice_of(confusion_CC: NDArray[np.int64]) -> float:
    """The mean Dice coefficient; 0 where no mask has a class that counts."""
    return agreement(confusion_CC).mean_dice or 0.0


def ranked(scores: Mapping[Name, Score], real_dice: float) -> list[Name]:
    """Candidates, best first.

    Those with a Dice coefficient within `TOLERANCE` of the best come first, by their Fréchet distance; then the
    others, by Dice. Of equals, the earlier one is first.

    Args:
        scores: the score of each.
        real_dice: Dice coefficient of real images; to have more, as overstated images can, is no merit.
    """
    best = min(max(score.dice for score in scores.values()), real_dice)

    def place(name: Name) -> tuple[bool, float]:
        score = scores[name]
        faithful = score.dice >= best - TOLERANCE
        return (not faithful, score.frechet if faithful else -score.dice)

    return sorted(scores, key=place)


def share_better(candidate: Looks, today: Looks, real: Looks, groups: Groups, *, seed: int) -> float:
    """The share of bootstrap draws of slides in which a candidate is ranked before the untuned setting.

    Both made images for the same masks from the same noise, so a draw takes the same slides of the real images and
    of both: what differs between slides cancels out.

    Args:
        candidate: what was measured of its images.
        today: the same of the untuned setting.
        real: the same of the real images.
        groups: the slide of each image, the same for all three; at least two.
        seed: the seed of the draws.
    """
    truth = grouped("real", real.features_ND, groups, seed)
    real_dice = dice_of(real.confusion_NCC.sum(axis=0))
    measured = []
    for looks in (today, candidate):
        made = grouped("generated", looks.features_ND, groups, seed)
        confusion_GCC = np.zeros((made.groups, *looks.confusion_NCC.shape[1:]), dtype=np.int64)
        np.add.at(confusion_GCC, made.groups_N, looks.confusion_NCC)
        measured.append((resampled_frechet(truth, made), confusion_GCC))
    better = 0
    for counts_G in draw_groups(truth.groups, _DRAWS, seed, 0):
        scores = {
            place: Score(
                frechet=frechet(counts_G, counts_G), dice=dice_of(np.tensordot(counts_G, confusion_GCC, axes=1))
            )
            for place, (frechet, confusion_GCC) in enumerate(measured)
        }
        better += ranked(scores, real_dice)[0] == 1
    return better / _DRAWS
