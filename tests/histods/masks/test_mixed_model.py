"""The mixed model of cells given masks."""

from __future__ import annotations

import numpy as np
import pytest

from histods.masks.grids import CELLS, FEATURES
from histods.masks.mixed_model import ALIKE, FOLDS, Model, Scorer, centre, learn

MASKS, LABELS = 5, 3


def make_model(random: np.random.Generator) -> Model:
    looks = random.normal(0, 1, (FOLDS, LABELS, FEATURES)).astype(np.float32)
    return Model(looks, np.eye(FEATURES, dtype=np.float32), np.array([0.02, 0.1, 0.4, 1], np.float32))


def make_layouts(random: np.random.Generator, masks: int = MASKS) -> np.ndarray:
    """Blocks of labels; the last mask has one label alone."""
    layouts = random.integers(0, LABELS, (masks, 4, 4)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    layouts[-1] = 1
    return layouts.reshape(masks, CELLS)


def describe(model: Model, layout: np.ndarray, sample: int, feature: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the cells of an image given a mask, written out."""
    same = layout[:, None] == layout[None]
    covariance = ALIKE * np.eye(CELLS) + model.spread[feature] * same
    return model.looks[sample % FOLDS, layout, feature].astype(np.float64), covariance


def restricted(values: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    """The restricted log-likelihood of values [cells] whose overall level is free, but for a constant."""
    inverse, one = np.linalg.inv(covariance), np.ones(len(values))
    apart = values - mean
    level = one @ inverse @ apart / (one @ inverse @ one)
    rest = apart - level
    _, log_determinant = np.linalg.slogdet(covariance)
    return float(-0.5 * (rest @ inverse @ rest + log_determinant + np.log(one @ inverse @ one)))


def test_scores_are_restricted_log_likelihoods_of_the_gaussian_written_out() -> None:
    random = np.random.default_rng(0)
    model, layouts = make_model(random), make_layouts(random)
    images = random.normal(0, 2, (4, CELLS, FEATURES)).astype(np.float32)
    scores = Scorer.of(model, layouts, np.arange(MASKS)).score_all(images)
    expected = np.array(
        [
            [
                sum(restricted(image[:, f], *describe(model, layout, place, f)) for f in range(FEATURES))
                for image in images
            ]
            for place, layout in enumerate(layouts)
        ]
    )
    assert scores - scores[0] == pytest.approx(expected - expected[0], abs=1e-3)


def test_a_mask_in_place_scores_the_same_among_all_and_at_a_place_of_its_own() -> None:
    random = np.random.default_rng(1)
    model, layouts = make_model(random), make_layouts(random)
    images = random.normal(0, 2, (MASKS, CELLS, FEATURES)).astype(np.float32)
    scorer = Scorer.of(model, layouts, np.arange(MASKS))
    placed = scorer.score_placed(images, np.stack([np.arange(CELLS), np.arange(CELLS)[::-1]]))
    turned = Scorer.of(model, np.ascontiguousarray(layouts[:, ::-1]), np.arange(MASKS))
    assert placed[:, 0] == pytest.approx(np.diag(scorer.score_all(images)), abs=1e-3)
    assert placed[:, 1] == pytest.approx(np.diag(turned.score_all(images)), abs=1e-3)


def test_cells_that_a_moved_mask_does_not_cover_tell_nothing() -> None:
    """The mask's first 200 cells lie on the image's last 200; the others lie beyond its edge."""
    random = np.random.default_rng(2)
    model, layouts = make_model(random), make_layouts(random)
    images = random.normal(0, 2, (1, CELLS, FEATURES)).astype(np.float32).repeat(MASKS, 0)
    sources = np.where(np.arange(CELLS) < 200, np.arange(CELLS) + 56, CELLS)[None]
    scores = Scorer.of(model, layouts, np.arange(MASKS)).score_placed(images, sources)[:, 0]
    expected = np.zeros(MASKS)
    for place, layout in enumerate(layouts):
        for feature in range(FEATURES):
            mean, covariance = describe(model, layout, place, feature)
            expected[place] += restricted(images[0, 56:, feature], mean[:200], covariance[:200, :200])
    assert scores - scores[0] == pytest.approx(expected - expected[0], abs=1e-3)


def test_expected_scores_are_the_mean_over_images_drawn_from_the_model() -> None:
    random = np.random.default_rng(3)
    model, layouts = make_model(random), make_layouts(random)
    scorer = Scorer.of(model, layouts, np.arange(MASKS))
    expected = scorer.expect()
    for place, layout in enumerate(layouts):
        drawn = np.stack(
            [
                random.multivariate_normal(*describe(model, layout, place, f), 1500, method="cholesky")
                for f in range(FEATURES)
            ],
            -1,
        )
        scores = scorer.score_all(drawn.astype(np.float32))
        gains = scores - scores[place]
        error = gains.std(1) / np.sqrt(gains.shape[1])
        assert np.abs(gains.mean(1) - (expected[:, place] - expected[place, place])).max() < 5 * error.max() + 1e-3


def test_looks_and_spreads_are_those_that_made_the_images() -> None:
    random = np.random.default_rng(4)
    samples, spread, noise = 800, 15.0, 6.0
    layouts = make_layouts(random, samples)
    looks = np.array([[120, 90, 150, 20], [150, 120, 110, 40], [90, 140, 130, 30]])
    here = looks + random.normal(0, spread, (samples, LABELS, FEATURES))
    cells = np.take_along_axis(here, layouts[..., None].astype(np.intp), 1)
    images = np.clip(cells + random.normal(0, noise, cells.shape), 0, 255).astype(np.uint8)
    model = learn(images, layouts, LABELS, np.ones(samples, np.bool_))
    differences = (model.looks - model.looks[:, :1]) @ np.linalg.inv(model.scale)
    assert differences == pytest.approx(np.broadcast_to(looks - looks[0], differences.shape), abs=4)
    assert model.spread == pytest.approx(spread**2 / noise**2, rel=0.25)
    assert centre(images).reshape(samples, CELLS, FEATURES).mean(1) == pytest.approx(0, abs=1e-3)
