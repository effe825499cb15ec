"""Generated images that are copies of training images."""

from __future__ import annotations

import numpy as np
import pytest

from histods.errors import HistodsError
from histods.io.evaluation_file import CopyTest
from training.evaluation.copying import SmallPictures, judge_copies


def _judged(generated: np.ndarray, training: np.ndarray, real: np.ndarray) -> CopyTest:
    return judge_copies(
        "features",
        training,
        real,
        generated,
        training_keys=[f"train {index}" for index in range(len(training))],
        generated_names=[f"made {index}" for index in range(len(generated))],
        seed=0,
    )


@pytest.fixture
def sets() -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    random = np.random.default_rng(1)
    return random.normal(size=(200, 8)), random.normal(size=(120, 8)), random


def test_draws_of_the_same_distribution_are_not_suspicious(
    sets: tuple[np.ndarray, np.ndarray, np.random.Generator],
) -> None:
    training, real, random = sets
    found = _judged(random.normal(size=(120, 8)), training, real)
    assert not found.suspicious
    assert abs(found.authentic - found.real_authentic) < 20
    assert found.c_t is not None
    assert abs(found.c_t) < 3


def test_noisy_copies_are_suspicious_and_the_worst_pairs_name_what_was_copied(
    sets: tuple[np.ndarray, np.ndarray, np.random.Generator],
) -> None:
    training, real, random = sets
    copied = random.integers(0, 200, 120)
    found = _judged(training[copied] + random.normal(0, 0.01, (120, 8)), training, real)
    assert found.suspicious
    assert found.authentic < 5
    assert found.c_t is not None
    assert found.c_t < -5
    for pair in found.pairs:
        assert pair.training == f"train {copied[int(pair.image.split()[1])]}"
    ratios = [pair.ratio for pair in found.pairs]
    assert ratios == sorted(ratios)
    assert ratios[0] < 0.1


def test_too_few_images_for_cells_leave_c_t_out(sets: tuple[np.ndarray, np.ndarray, np.random.Generator]) -> None:
    training, real, _ = sets
    assert _judged(real[:5] + 0.1, training, real).c_t is None


def test_training_images_that_are_there_twice_end_in_no_division_by_zero(
    sets: tuple[np.ndarray, np.ndarray, np.random.Generator],
) -> None:
    training, real, _ = sets
    twice = np.concatenate([training, training])
    found = _judged(twice[:3], twice, real)
    assert all(np.isfinite(pair.ratio) for pair in found.pairs)


def test_one_training_image_is_too_few(sets: tuple[np.ndarray, np.ndarray, np.random.Generator]) -> None:
    training, real, _ = sets
    with pytest.raises(HistodsError):
        _judged(real, training[:1], real)


def test_small_pictures_are_means_of_pixels() -> None:
    images = np.zeros((2, 32, 48, 3), dtype=np.uint8)
    images[1, :16] = 255
    features = SmallPictures()(images)
    assert features.shape == (2, SmallPictures.width)
    assert features.dtype == np.float32
    assert not features[0].any()
    assert features[1].reshape(16, 16, 3)[:8].min() == 1.0
    assert features[1].reshape(16, 16, 3)[8:].max() == 0.0
