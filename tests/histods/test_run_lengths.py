"""Run lengths give the exact histogram of any mask, and tell specks from drawn edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histods.run_lengths import count_specks, find_runs, histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

masks = st.one_of(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=60), elements=st.integers(0, 3)),
    hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)),
)


@settings(max_examples=150, deadline=None)
@given(masks)
def test_runs_rebuild_the_mask_and_count_like_numpy(mask: np.ndarray) -> None:
    runs = find_runs(mask)
    np.testing.assert_array_equal(np.repeat(runs.labels, runs.lengths), mask.ravel())
    assert (runs.labels[1:] != runs.labels[:-1]).all()
    labels, pixels = histogram(runs)
    expected_labels, expected_pixels = np.unique(mask, return_counts=True)
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_array_equal(pixels, expected_pixels)
    assert pixels.sum() == mask.size


def drawn_mask() -> np.ndarray:
    mask = np.zeros((256, 256), dtype=np.uint8)
    cv2.circle(mask, (90, 100), 70, 14, -1)
    cv2.ellipse(mask, (180, 170), (60, 40), 30, 0, 360, 28, -1)
    return mask


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_jpeg_leaves_specks_along_edges(quality: int) -> None:
    mask = drawn_mask()
    lossy = cv2.imdecode(cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
    clean, specked = find_runs(mask), find_runs(cast("NDArray[np.uint8]", lossy))
    assert count_specks(clean) <= 0.02 * len(clean.lengths)
    assert count_specks(specked) >= 0.35 * len(specked.lengths)


def test_interpolation_leaves_specks_and_nearest_neighbour_does_not() -> None:
    mask = drawn_mask()
    for method, specked in ((cv2.INTER_LINEAR, True), (cv2.INTER_NEAREST, False)):
        resized = cast("NDArray[np.uint8]", cv2.resize(mask, (200, 200), interpolation=method))
        runs = find_runs(resized)
        assert (count_specks(runs) >= 0.3 * len(runs.lengths)) is specked


def test_two_labels_that_interleave_are_no_specks() -> None:
    runs = find_runs(np.tile(np.array([0, 5], dtype=np.uint8), 100))
    assert count_specks(runs) == 0
