"""The Fréchet distance equals that of torch-fidelity, of scipy's matrix root and of closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from tests.training.evaluation.fidelity import formulas
from training.evaluation.metrics.frechet import Gaussian, frechet_distance, gaussian_distance

SEEDS = st.integers(0, 2**32 - 1)


def mixed(seed: int, samples: int, width: int, shift: float = 0.0) -> Any:
    """Correlated features with unequal scales."""
    random = np.random.default_rng(seed)
    return random.normal(size=(samples, width)) @ random.normal(size=(width, width)) + shift


def by_torch_fidelity(first: Any, second: Any) -> float:
    fid = formulas("metric_fid")
    both = [fid.fid_features_to_statistics(torch.from_numpy(features)) for features in (first, second)]
    return float(fid.fid_statistics_to_metric(*both, verbose=False)[fid.KEY_METRIC_FID])


@pytest.mark.parametrize(("samples", "width"), [(500, 2), (300, 64), (5, 2)])
def test_the_distance_is_that_of_torch_fidelity(samples: int, width: int) -> None:
    first, second = mixed(1, samples, width), mixed(2, samples + 7, width, shift=0.3)
    assert frechet_distance(first, second) == pytest.approx(by_torch_fidelity(first, second), rel=1e-9)


def test_the_distance_is_that_of_scipy_s_matrix_root() -> None:
    first, second = mixed(3, 200, 16), mixed(4, 150, 16)
    s, t = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = scipy.linalg.sqrtm(s @ t).real
    expected = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(s + t - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_gaussians_that_share_axes_have_the_distance_of_the_closed_form() -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    a, b = np.array([1.0, 4.0, 0.0]), np.array([9.0, 1.0, 2.0])
    first = Gaussian(np.zeros(3), turn @ np.diag(a) @ turn.T)
    second = Gaussian(np.array([1.0, 2.0, 2.0]), turn @ np.diag(b) @ turn.T)
    assert gaussian_distance(first, second) == pytest.approx(9 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-12)


def test_the_distance_of_samples_approaches_that_of_their_gaussians() -> None:
    random = np.random.default_rng(5)
    first, second = random.normal(size=(200_000, 2)), random.normal(1.0, 3.0, size=(200_000, 2))
    assert frechet_distance(first, second) == pytest.approx(2 * 1**2 + 2 * (3 - 1) ** 2, rel=0.02)


@given(seed=SEEDS, samples=st.integers(2, 30), width=st.integers(1, 8))
def test_the_distance_of_a_set_to_itself_is_zero(seed: int, samples: int, width: int) -> None:
    features = mixed(seed, samples, width, shift=100.0)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-10 * features.var() * width)


@given(seed=SEEDS, samples=st.integers(2, 30), width=st.integers(1, 8))
def test_the_distance_ignores_order_and_rotation(seed: int, samples: int, width: int) -> None:
    first, second = mixed(seed, samples, width), mixed(seed + 1, samples + 3, width)
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(width, width)))
    expected = pytest.approx(frechet_distance(first, second), rel=1e-8, abs=1e-8)
    assert frechet_distance(second, first) == expected
    assert frechet_distance(random.permutation(first), second) == expected
    assert frechet_distance(first @ turn, second @ turn) == expected
    assert frechet_distance(first + 50, second + 50) == expected


def test_fewer_samples_than_features_are_exact() -> None:
    # In the span of few samples nothing is singular: the same samples, without the features that are zero there.
    first, second = mixed(6, 9, 4), mixed(7, 8, 4)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 40)))
    wide_first, wide_second = (np.pad(x, ((0, 0), (0, 36))) @ turn for x in (first, second))
    assert frechet_distance(wide_first, wide_second) == pytest.approx(frechet_distance(first, second), rel=1e-10)
    few, others = mixed(8, 10, 64), mixed(9, 12, 64)
    assert frechet_distance(few, others) == pytest.approx(by_torch_fidelity(few, others), rel=1e-6)


def test_constant_features_add_their_squared_difference() -> None:
    first, second = mixed(6, 50, 3), mixed(7, 50, 3)
    plain = frechet_distance(first, second)
    wider = [np.column_stack([x, np.full(50, value)]) for x, value in ((first, 2.0), (second, 5.0))]
    assert frechet_distance(*wider) == pytest.approx(plain + 9, rel=1e-10)
    assert frechet_distance(np.full((3, 2), 1.0), np.full((4, 2), 2.0)) == 2.0


def test_one_feature_has_the_distance_of_means_and_deviations() -> None:
    first, second = np.array([[0.0], [2.0], [7.0]]), np.array([[1.0], [5.0]])
    expected = (first.mean() - second.mean()) ** 2 + (first.std(ddof=1) - second.std(ddof=1)) ** 2
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(HistodsError, match="second set has 1 sample, and this needs at least 2; add images"):
        frechet_distance(mixed(0, 5, 3), mixed(0, 1, 3))
