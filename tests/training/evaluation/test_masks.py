"""Distances of sets of masks: 0 for equal sets, the planted amount for planted ones, and floors by slide."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import wasserstein_distance

from histods.errors import HistodsError
from tests.training.mask_runs import CLASSES, planted
from training.evaluation.masks import compare_masks, measure_masks, strip_share, wasserstein

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.io.mask_evaluation_file import MaskComparison

MASKS = [planted(number) for number in range(40)]
SLIDES = [f"slide {number // 4}" for number in range(40)]


def compare(generated: list[NDArray[np.uint8]], *, strip: int = 3) -> MaskComparison:
    return compare_masks(MASKS, SLIDES, generated, CLASSES, strip=strip)


def test_the_distance_of_a_set_to_itself_is_zero_and_floors_are_not() -> None:
    found = compare(MASKS[::-1])
    each = (
        found.mean_proportions,
        found.adjacency,
        found.strips,
        *found.proportions.values(),
        *found.region_sizes.values(),
    )
    assert all(one.distance == pytest.approx(0, abs=1e-12) for one in each)
    assert all(one.floor is not None and one.floor > 0 for one in each)
    assert (found.real, found.generated, found.groups) == (40, 40, 10)


def test_masks_of_other_slides_are_at_the_floor() -> None:
    found = compare([planted(number) for number in range(100, 140)])
    for one in (
        found.mean_proportions,
        found.adjacency,
        *found.proportions.values(),
        *found.region_sizes.values(),
    ):
        assert one.distance is not None
        assert one.floor is not None
        assert one.distance < 2.5 * one.floor


def test_another_share_of_a_class_is_found() -> None:
    turned = [np.where(mask == 1, 2, mask).astype(np.uint8) for mask in MASKS]
    share = float(np.mean([np.mean(mask == 1) for mask in MASKS]))
    found = compare(turned)
    assert found.mean_proportions.distance == pytest.approx(share)
    assert found.proportions["Low"].distance == pytest.approx(share)
    assert found.proportions["High"].distance == 0
    assert found.region_sizes["Low"].distance is None


def test_regions_of_another_size_are_found() -> None:
    """Every other row and column twice over: each region has four times the pixels, where it is not cut off."""
    one, two = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    one[8:16, 8:16] = one[40:48, 40:48] = two[8:24, 8:24] = 1
    found = compare_masks([one, one], ["a", "b"], [two], CLASSES)
    assert found.region_sizes["Low"].distance == pytest.approx(np.log(4))
    assert found.region_sizes["Low"].floor == 0
    assert found.adjacency.distance == 0


def test_other_neighbours_are_found() -> None:
    """Stripes 0 1 2 against 0 2 1: of two kinds of borders one is the same."""
    one = np.repeat(np.array([0, 1, 2], np.uint8), 8)[None].repeat(8, axis=0)
    two = np.repeat(np.array([0, 2, 1], np.uint8), 8)[None].repeat(8, axis=0)
    found = compare_masks([one], ["a"], [two], CLASSES)
    assert found.adjacency.distance == pytest.approx(0.5)
    assert found.adjacency.floor is None


def test_a_strip_of_a_third_class_on_a_border_is_found() -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[8:] = 2
    clean = strip_share(measure_masks([mask], 3))
    mask[7:9] = 1
    assert clean == 0
    assert strip_share(measure_masks([mask], 3)) == pytest.approx(0.5)
    assert strip_share(measure_masks([mask], 3, strip=1)) == 0


def test_masks_of_one_class_have_no_borders_to_compare() -> None:
    found = compare_masks([np.ones((8, 8), np.uint8)] * 2, [None, None], [np.ones((8, 8), np.uint8)], CLASSES)
    assert (found.adjacency.distance, found.strips.distance, found.real_strips) == (None, None, None)
    assert json.loads(json.dumps(found.as_dict()))["proportions"]["Low"] == {"distance": 0.0, "floor": 0.0}


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float64, st.integers(1, 9), elements=st.floats(-5, 5)),
    arrays(np.float64, st.integers(1, 9), elements=st.floats(-5, 5)),
)
def test_wasserstein_is_that_of_scipy(first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
    assert wasserstein(first, second) == pytest.approx(wasserstein_distance(first, second), abs=1e-9)


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(HistodsError, match="There are no masks to compare"):
        compare([])
    with pytest.raises(HistodsError, match="40 real masks and 2 groups"):
        compare_masks(MASKS, ["a", "b"], MASKS, CLASSES)
    with pytest.raises(HistodsError, match="Mask 0 has the class 7, but there are only 4"):
        compare([np.full((4, 4), 7, np.uint8)])
