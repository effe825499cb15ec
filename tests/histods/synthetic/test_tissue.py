"""Patches of tissue: a function of seed and number, with several labels and hardly a speck."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.synthetic.faults import speck_share
from histods.synthetic.palette import LABELS
from histods.synthetic.tissue import _SCENES, make_patch, smooth_field


@given(seed=st.integers(0, 2**40), index=st.integers(0, 2**40), size=st.integers(64, 160))
@settings(max_examples=15, deadline=None)
def test_a_patch_is_an_rgb_image_with_several_of_the_55_labels_and_without_specks(
    seed: int, index: int, size: int
) -> None:
    patch = make_patch(seed, index, size=size)
    assert patch.image.shape == (size, size, 3)
    assert patch.mask.shape == (size, size)
    assert patch.image.dtype == patch.mask.dtype == np.uint8
    assert np.unique(patch.mask).size > 1
    assert patch.mask.max() < 55
    assert speck_share(patch.mask)[0] < 0.05


def test_a_patch_depends_on_its_own_seed_and_number_alone() -> None:
    forwards = [make_patch(5, index, size=64) for index in range(4)]
    backwards = [make_patch(5, index, size=64) for index in reversed(range(4))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.mask, other.mask)
    assert len({patch.image.tobytes() for patch in forwards}) == 4


def test_all_scenes_together_show_most_labels_and_each_only_known_ones() -> None:
    found: set[int] = set()
    for scene in {*_SCENES}:
        for seed in range(6):
            labels = scene(np.random.default_rng(seed), 64)
            assert labels.shape == (64, 64)
            assert labels.dtype == np.uint8
            found |= {*np.unique(labels).tolist()}
    assert found <= LABELS - {0}
    assert len(found) > 25


@pytest.mark.parametrize("wavelength", [6.0, 40.0])
def test_a_smooth_field_has_unit_variance_and_the_width_that_was_asked_for(wavelength: float) -> None:
    fields = [smooth_field(np.random.default_rng(seed), 160, wavelength) for seed in range(12)]
    assert {field.shape for field in fields} == {(160, 160)}
    assert np.std(fields) == pytest.approx(1, abs=0.15)
    near = np.mean([np.corrcoef(field[:, :-1].ravel(), field[:, 1:].ravel())[0, 1] for field in fields])
    far = int(wavelength)
    apart = np.mean([np.corrcoef(field[:, :-far].ravel(), field[:, far:].ravel())[0, 1] for field in fields])
    assert near > 0.6
    assert abs(apart) < 0.3
