"""Clusters that are far apart are found, and results are a function of features and seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.sampling.streams import Stream
from training.evaluation.metrics.clusters import find_clusters, nearest_cluster


def find(features: Any, count: int, seed: int = 0) -> Any:
    return find_clusters(features, count, seed=seed, stream=Stream.COPYING_CELLS)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_that_are_far_apart_are_found(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(4), [50, 30, 20, 5])
    features = random.normal(size=(105, 3)) + 100 * np.eye(4)[truth][:, :3]
    centres = find(features, 4, seed)
    found = nearest_cluster(features, centres)
    assert len({(a, b) for a, b in zip(truth.tolist(), found.tolist(), strict=True)}) == 4
    for number in range(4):
        np.testing.assert_allclose(centres[number], features[found == number].mean(axis=0))


@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(1, 30), count=st.integers(1, 8))
def test_each_sample_is_with_the_nearest_centre_and_each_centre_is_a_mean(
    seed: int, samples: int, count: int
) -> None:
    features = np.random.default_rng(seed).normal(size=(samples, 2))
    centres = find(features, count, seed)
    found = nearest_cluster(features, centres)
    assert len(centres) == min(count, samples)
    assert found.tolist() == ((features[:, None] - centres) ** 2).sum(-1).argmin(1).tolist()
    for number in np.unique(found):
        np.testing.assert_allclose(centres[number], features[found == number].mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(find(features, count, seed), centres)


def test_the_seed_decides_on_the_first_centres() -> None:
    features = np.random.default_rng(0).normal(size=(200, 2))
    assert not np.array_equal(np.sort(find(features, 6, 0), axis=0), np.sort(find(features, 6, 1), axis=0))


def test_there_are_no_more_clusters_than_different_samples() -> None:
    assert find(np.ones((10, 2)), 3).tolist() == [[1, 1]]
    assert sorted(find(np.repeat([[1.0], [5.0]], 4, axis=0), 3).tolist()) == [[1], [5]]
