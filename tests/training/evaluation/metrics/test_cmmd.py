"""CMMD equals plain double sums of the Gaussian kernel over normalised features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from training.evaluation.metrics.cmmd import cmmd


def normal(seed: int, samples: int, width: int = 5, shift: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(shift, size=(samples, width))


def double_sum(first: Any, second: Any, sigma: float) -> float:
    first, second = ([x / math.sqrt(float((x * x).sum())) for x in features] for features in (first, second))

    def mean(xs: Any, ys: Any) -> float:
        values = [math.exp(-float(((x - y) ** 2).sum()) / (2 * sigma**2)) for x in xs for y in ys]
        return math.fsum(values) / len(values)

    return 1000 * (mean(first, first) + mean(second, second) - 2 * mean(first, second))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 10.0])
def test_the_value_is_a_plain_double_sum(sigma: float) -> None:
    first, second = normal(0, 12), normal(1, 9, shift=0.5)
    assert cmmd(first, second, sigma=sigma) == pytest.approx(double_sum(first, second, sigma), rel=1e-9)


def test_width_and_scale_are_those_of_the_paper() -> None:
    first, second = normal(0, 12), normal(1, 9)
    assert (
        cmmd(first, second) == cmmd(first, second, sigma=10.0, scale=1000.0) == 1000 * cmmd(first, second, scale=1)
    )


def test_opposite_samples_have_the_value_of_the_closed_form() -> None:
    # |x - y|^2 = 4 for unit vectors in opposite directions.
    assert cmmd([[3.0, 4.0]], [[-3.0, -4.0]]) == pytest.approx(2000 * (1 - math.exp(-4 / 200)), rel=1e-12)


@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(1, 20), width=st.integers(1, 6))
def test_order_rotation_and_length_do_not_matter(seed: int, samples: int, width: int) -> None:
    first, second = normal(seed, samples, width), normal(seed + 1, samples + 2, width)
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(width, width)))
    expected = pytest.approx(cmmd(first, second), rel=1e-9, abs=1e-9)
    assert cmmd(second, first) == expected
    assert cmmd(random.permutation(first), second) == expected
    assert cmmd(first @ turn, second @ turn) == expected
    assert cmmd(first * random.uniform(0.1, 10, size=(samples, 1)), second) == expected
    assert cmmd(first, first) == pytest.approx(0, abs=1e-10)
    assert cmmd(first, second) >= 0


def test_a_sample_without_a_direction_is_refused() -> None:
    first = normal(0, 4)
    first[2] = 0
    with pytest.raises(HistodsError, match=r"sample 2 \(counted from 0\) of the first set are zero"):
        cmmd(first, normal(1, 4))
