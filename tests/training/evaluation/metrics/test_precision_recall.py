"""Precision and recall equal those of torch-fidelity and a plain search, and tell blur from lack of variety."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from tests.training.evaluation.fidelity import formulas
from training.evaluation.metrics.precision_recall import precision_recall


def normal(seed: int, samples: int, width: int = 4, scale: float = 1.0) -> Any:
    return np.random.default_rng(seed).normal(scale=scale, size=(samples, width))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_shares_are_those_of_torch_fidelity(k: int) -> None:
    real, generated = normal(0, 150), normal(1, 120, scale=0.7) + 0.5
    prc = formulas("metric_prc")
    theirs = prc.prc_features_to_metric(
        torch.from_numpy(generated), torch.from_numpy(real), prc_neighborhood=k, prc_batch_size=50, verbose=False
    )
    ours = precision_recall(real, generated, k)
    assert ours.precision == pytest.approx(theirs[prc.KEY_METRIC_PRECISION], rel=1e-6)
    assert ours.recall == pytest.approx(theirs[prc.KEY_METRIC_RECALL], rel=1e-6)
    assert 0.1 < ours.recall < ours.precision < 1  # else nothing is tested


def plain(centres: Any, queries: Any, k: int) -> float:
    def distance(x: Any, y: Any) -> float:
        return float(np.linalg.norm(x - y))

    radii = [sorted(distance(x, y) for j, y in enumerate(centres) if j != i)[k - 1] for i, x in enumerate(centres)]
    inside = [any(distance(q, x) <= r for x, r in zip(centres, radii, strict=True)) for q in queries]
    return sum(inside) / len(inside)


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 5), k=st.integers(1, 3))
def test_shares_are_those_of_a_plain_search(seed: int, width: int, k: int) -> None:
    real, generated = normal(seed, 12, width), normal(seed + 1, 9, width)
    expected = (plain(real, generated, k), plain(generated, real, k))
    assert precision_recall(real, generated, k) == pytest.approx(expected)


@given(seed=st.integers(0, 2**32 - 1))
def test_order_and_rotation_do_not_matter_and_sides_are_the_mirror_of_each_other(seed: int) -> None:
    real, generated = normal(seed, 30), normal(seed + 1, 25)
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    expected = precision_recall(real, generated)
    assert precision_recall(random.permutation(real), random.permutation(generated)) == expected
    assert precision_recall(real @ turn, generated @ turn) == pytest.approx(expected)
    assert precision_recall(generated, real) == expected[::-1]


def test_a_set_has_full_precision_and_recall_of_itself() -> None:
    assert precision_recall(normal(0, 20), normal(0, 20)) == (1.0, 1.0)


def test_a_generator_of_one_good_image_has_precision_without_recall() -> None:
    real = normal(0, 400)
    generated = real[:1] + normal(1, 400, scale=1e-3)
    precision, recall = precision_recall(real, generated)
    assert precision == 1.0
    assert recall < 0.01


def test_a_generator_of_noise_besides_good_images_has_recall_without_full_precision() -> None:
    generated = np.concatenate([normal(1, 300), normal(2, 300) + 100])
    precision, recall = precision_recall(normal(0, 300), generated)
    assert 0.4 < precision <= 0.5
    assert recall > 0.8


def test_constant_features_are_inside_only_if_equal() -> None:
    ones = np.ones((5, 3))
    assert precision_recall(ones, ones) == (1.0, 1.0)
    assert precision_recall(ones, ones + 1e-9) == (0.0, 0.0)


def test_too_few_samples_for_balls_are_refused_with_their_number() -> None:
    with pytest.raises(
        HistodsError, match="The generated set has 3 samples, and this needs at least 4; add images"
    ):
        precision_recall(normal(0, 10), normal(1, 3))
    with pytest.raises(HistodsError, match="cannot have 0 nearest neighbours"):
        precision_recall(normal(0, 10), normal(1, 10), k=0)
