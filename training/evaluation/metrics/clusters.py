"""k-means with random draws that are a function of the seed.

Shapes: N samples, D features, K clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histods.sampling.philox import philox4x64
from training.evaluation.metrics.nearest import nearest_neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.sampling.streams import Stream
    from training.evaluation.metrics.matrices import Matrix

_ROUNDS = 100


def find_clusters(features_ND: Matrix, count: int, *, seed: int, stream: Stream) -> Matrix:
    """Centres of clusters, float64 [K, D], by k-means.

    The first centres are drawn by their squared distance to those that were drawn before (Arthur and
    Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007); then samples go to the nearest
    centre, and centres to the mean of their samples, until none moves or after 100 rounds (Lloyd, "Least squares
    quantization in PCM", IEEE Trans. Information Theory 1982). K is `count`, or the number of different samples if
    there are fewer.
    """
    words = philox4x64(seed, np.arange(count), stream)[:, 0]
    uniform_K = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    centres_KD = _first_centres(features_ND, uniform_K)
    clusters_N = nearest_cluster(features_ND, centres_KD)
    for _ in range(_ROUNDS):
        for number in np.unique(clusters_N):
            centres_KD[number] = features_ND[clusters_N == number].mean(axis=0)
        moved_N = nearest_cluster(features_ND, centres_KD)
        if (moved_N == clusters_N).all():
            break
        clusters_N = moved_N
    return centres_KD


def nearest_cluster(features_ND: Matrix, centres_KD: Matrix) -> NDArray[np.int64]:
    """The cluster of each sample, [N]: that with the nearest centre."""
    return nearest_neighbours(features_ND, centres_KD).indices_NK[:, 0]


def _first_centres(features_ND: Matrix, uniform_K: Matrix) -> Matrix:
    chosen: list[int] = []
    squares_N = np.ones(len(features_ND))
    for uniform in uniform_K:
        cumulative_N = np.cumsum(squares_N)
        if not cumulative_N[-1]:  # every sample is a centre already
            break
        place = np.searchsorted(cumulative_N, uniform * cumulative_N[-1], side="right")
        chosen.append(int(min(place, np.flatnonzero(squares_N)[-1])))
        distances_N = nearest_neighbours(features_ND, features_ND[chosen[-1:]]).distances_NK[:, 0]
        squares_N = np.minimum(squares_N, distances_N**2) if len(chosen) > 1 else distances_N**2
    return features_ND[chosen]
