"""What is better, and by more than chance."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.tuning.choice import CERTAIN, Looks, Score, ranked, share_better

SLIDES = [f"s{index // 5}" for index in range(60)]


def test_faithful_candidates_are_ranked_by_distance_and_others_by_dice() -> None:
    scores = {
        "near, unfaithful": Score(frechet=0.1, dice=0.7),
        "far": Score(frechet=0.9, dice=0.9),
        "best": Score(frechet=0.5, dice=0.885),
        "nearest, least": Score(frechet=0.05, dice=0.5),
    }
    assert ranked(scores, 1.0) == ["best", "far", "near, unfaithful", "nearest, least"]


def test_more_dice_than_real_images_have_is_no_merit() -> None:
    scores = {"overstated": Score(frechet=0.9, dice=0.95), "like real": Score(frechet=0.1, dice=0.85)}
    assert ranked(scores, 0.86)[0] == "like real"
    assert ranked(scores, 1.0)[0] == "overstated"


def test_equals_are_ranked_in_order() -> None:
    assert ranked({name: Score(frechet=1, dice=1) for name in "cab"}, 1.0) == ["c", "a", "b"]


def _looks(random: np.random.Generator, shift: float, hits: int = 90) -> Looks:
    counts = np.tile(np.array([[hits, 100 - hits], [100 - hits, hits]]), (len(SLIDES), 1, 1))
    return Looks(features_ND=random.normal(shift, 1, (len(SLIDES), 3)), confusion_NCC=counts)


@pytest.mark.parametrize(
    ("shift", "hits", "better"), [(0.0, 90, True), (2.0, 90, False), (3.0, 90, False), (0.0, 70, False)]
)
def test_only_what_is_better_is_certain(shift: float, hits: int, *, better: bool) -> None:
    """The untuned images are off by 2; planted: nearer, as near, farther, nearer but with other classes."""
    random = np.random.default_rng(0)
    real, today = _looks(random, 0.0), _looks(random, 2.0)
    share = share_better(_looks(random, shift, hits), today, real, SLIDES, seed=0)
    assert (share >= CERTAIN) is better


def test_the_same_images_are_never_better() -> None:
    random = np.random.default_rng(0)
    real, today = _looks(random, 0.0), _looks(random, 1.0)
    assert share_better(today, today, real, SLIDES, seed=0) == 0
