"""Pictures and slides in two sets."""

from __future__ import annotations

import numpy as np

from training.evaluation.overlaps import warn_of_overlap, warn_of_slides


def test_equal_pictures_are_counted_and_named_whatever_their_order() -> None:
    pictures = np.random.default_rng(0).random((5, 12))
    (said,) = warn_of_overlap(("real", "training"), ("abc", "xyz"), (pictures[:3], pictures[[4, 2, 1]]))
    assert said.startswith("2 of 3 real images are training images, too, for example b and z:")
    assert not [*warn_of_overlap(("real", "training"), ("abc", "xy"), (pictures[:3], pictures[3:]))]


def test_blank_pictures_are_no_copies_of_each_other() -> None:
    blank = np.tile([0.9, 0.8, 0.9], (2, 4))
    assert not [*warn_of_overlap(("real", "training"), ("ab", "xy"), (blank, blank))]


def test_shared_slides_are_counted_and_the_first_three_named() -> None:
    assert not [*warn_of_slides(["a", "b"], ["c"])]
    (said,) = warn_of_slides(["e", "d", "c", "b", "a"], ["a", "b", "c", "d"])
    assert said.startswith("4 of the 5 slides of real images are slides of training images, too (a, b, c, ...)")
