"""How well masks fit their images."""

from __future__ import annotations

import numpy as np
import pytest

from histods.masks.fit import CELLS_AFTER, SHIFTS, TURNS, compare
from histods.masks.grids import CELLS, FEATURES, SIDE

SAMPLES = 128
SQUARE = np.ones(SAMPLES, np.bool_)


def make_grids(seed: int = 0, samples: int = SAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, CELLS, FEATURES] of three labels in rectangles, each with its look, and layouts [n, CELLS]."""
    random = np.random.default_rng(seed)
    layouts = np.zeros((samples, SIDE, SIDE), np.uint8)
    for layout in layouts:
        for label in (1, 2):
            top, left = random.integers(0, 11, 2)
            high, wide = random.integers(3, 9, 2)
            layout[top : top + high, left : left + wide] = label
    looks = np.array([[220, 180, 200, 10], [160, 120, 190, 20], [190, 200, 220, 4]])
    images = (
        looks[layouts]
        + random.normal(0, 8, (samples, SIDE, SIDE, FEATURES))
        + random.normal(0, 9, (samples, 1, 1, 4))
    )
    return np.clip(images, 0, 255).astype(np.uint8).reshape(samples, CELLS, FEATURES), layouts.reshape(
        samples, CELLS
    )


IMAGES, LAYOUTS = make_grids()


def test_masks_in_place_fit_about_as_well_as_is_expected_of_them() -> None:
    fit = compare(IMAGES, LAYOUTS, 3, SQUARE)
    assert np.median(fit.turned[0] / fit.usual) == pytest.approx(1, abs=0.15)
    assert np.corrcoef(fit.turned[0], fit.usual)[0, 1] > 0.7
    assert fit.turned[0].min() > 2.5


def test_masks_of_others_fit_as_chance_has_it() -> None:
    layouts = LAYOUTS.copy()
    layouts[:32] = np.roll(LAYOUTS[:32], 1, axis=0)
    z = compare(IMAGES, layouts, 3, SQUARE).turned[0, :32]
    assert abs(z.mean()) < 0.5
    assert 0.6 < z.std() < 1.4


def test_the_overall_colour_of_an_image_does_not_matter() -> None:
    darker = IMAGES.copy()
    darker[..., :3] -= np.random.default_rng(4).integers(0, 60, (SAMPLES, 1, 3), np.uint8)
    fits = [compare(images, LAYOUTS, 3, SQUARE) for images in (IMAGES, darker)]
    assert fits[0].turned == pytest.approx(fits[1].turned, abs=0.05)


def test_a_mask_whose_regions_look_alike_fits_though_its_labels_look_different_elsewhere() -> None:
    """Labels of half of the images look as they do nowhere else, as far as a region may deviate."""
    random = np.random.default_rng(6)
    looks = np.array([[220, 180, 200, 10], [160, 120, 190, 20], [190, 200, 220, 4]])
    looks = looks + random.normal(0, 40, (SAMPLES, 3, 1))
    cells = np.take_along_axis(looks, LAYOUTS[..., None].astype(np.intp), 1) + random.normal(0, 8, IMAGES.shape)
    fit = compare(np.clip(cells, 0, 255).astype(np.uint8), LAYOUTS, 3, SQUARE)
    assert np.median(fit.turned[0]) > 2.5
    assert (fit.turned.argmax(0) == 0).mean() > 0.95


@pytest.mark.parametrize("number", range(1, len(TURNS)), ids=TURNS[1:])
def test_turns_are_what_they_are_called(number: int) -> None:
    mask = np.arange(CELLS).reshape(SIDE, SIDE)
    if "mirrored top" in TURNS[number]:
        mask = mask[::-1]
    if "mirrored left" in TURNS[number]:
        mask = mask[:, ::-1]
    quarters = {"180 degrees": 2, "degrees to the left": 1, "degrees to the right": 3}
    for words, times in quarters.items():
        if words in TURNS[number]:
            mask = np.rot90(mask, times)  # counter-clockwise
    assert (CELLS_AFTER[number] == mask.ravel()).all()


@pytest.mark.parametrize("number", range(1, len(TURNS)), ids=TURNS[1:])
def test_a_turned_mask_agrees_when_turned_back(number: int) -> None:
    back = {5: 6, 6: 5}.get(number, number)
    layouts = LAYOUTS.copy()
    layouts[:20] = LAYOUTS[:20][:, CELLS_AFTER[number]]
    fit = compare(IMAGES, layouts, 3, SQUARE)
    right = compare(IMAGES, LAYOUTS, 3, SQUARE)
    assert fit.turned[back, :20] == pytest.approx(right.turned[0, :20], rel=0.2)
    assert (fit.turned[:, :20].argmax(0) == back).mean() > 0.9


def test_patches_that_are_not_square_are_turned_by_180_degrees_at_most() -> None:
    square = SQUARE.copy()
    square[7] = False
    fit = compare(IMAGES, LAYOUTS, 3, square)
    assert np.isfinite(fit.turned[:4]).all()
    assert np.isneginf(fit.turned[4:, 7]).all()
    assert np.isfinite(fit.turned[4:, 8]).all()


def test_a_shifted_mask_agrees_at_the_shift_that_undoes_it() -> None:
    layouts = LAYOUTS.copy().reshape(-1, SIDE, SIDE)
    moved = np.zeros_like(layouts[:20])
    moved[:, 4:, 2:] = layouts[:20, :-4, :-2]  # down and to the right
    layouts[:20] = moved
    fit = compare(IMAGES, layouts.reshape(-1, CELLS), 3, SQUARE)
    assert [SHIFTS[place] for place in fit.shift[:20]].count((-4, -2)) >= 18
    assert (fit.shifted[:20] > fit.turned[0, :20] + 2).mean() > 0.9
    assert np.isneginf(fit.shifted[20:]).mean() > 0.5  # of masks that fit, hardly any is shifted


def test_a_neighbour_whose_mask_was_swapped_is_found() -> None:
    layouts = LAYOUTS.copy()
    layouts[[3, 40]] = LAYOUTS[[40, 3]]
    fit = compare(IMAGES, layouts, 3, SQUARE)
    assert fit.nearest[3] == 40
    assert fit.nearest[40] == 3
    assert fit.other[3] > fit.turned[0, 3] + 3


def test_all_masks_turned_at_random_are_still_learned_from() -> None:
    random = np.random.default_rng(1)
    turns = random.integers(0, 8, SAMPLES)
    layouts = np.stack([layout[CELLS_AFTER[turn]] for layout, turn in zip(LAYOUTS, turns, strict=True)])
    fit = compare(IMAGES, layouts, 3, SQUARE)
    back = np.array([0, 1, 2, 3, 4, 6, 5, 7])[turns]
    assert (fit.turned.argmax(0) == back).mean() > 0.9


def test_labels_without_a_look_of_their_own_agree_with_nothing() -> None:
    fit = compare(IMAGES, LAYOUTS[np.random.default_rng(2).permutation(SAMPLES)], 3, SQUARE)
    assert abs(np.median(fit.turned[0])) < 0.5


def test_more_samples_than_are_learned_from_are_judged_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("histods.masks.fit._LEARNED", 48)
    fit = compare(IMAGES, LAYOUTS, 3, SQUARE)
    assert np.median(fit.turned[0] / fit.usual) == pytest.approx(1, abs=0.2)
    assert fit.turned[0].min() > 2


@pytest.mark.parametrize("samples", [1, 2, 3, 63, 65])
def test_few_samples_and_flat_images_give_finite_numbers(samples: int) -> None:
    images, layouts = make_grids(3, samples)
    images[0] = 255
    layouts[0] = 0
    fit = compare(images, layouts, 3, np.ones(samples, np.bool_))
    assert np.isfinite(fit.turned).all()
    assert np.isfinite(fit.usual).all()
