"""Assign samples to shards, in an order that depends only on the samples' keys and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xxhash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def shuffled(keys: Sequence[str]) -> NDArray[np.int64]:
    """Order samples by a digest of their keys: random, but the same in every run and for any order of rows.

    Any part of it is a random sample, so every shard has nearly the class mix of the whole.
    """
    digests = np.fromiter((xxhash.xxh3_64_intdigest(key.encode()) for key in keys), np.uint64, len(keys))
    return np.lexsort((np.asarray(keys, dtype=object), digests))


def cut(sizes: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Assign samples, in order, to the fewest possible shards of nearly equal size; return the shard of each.

    Args:
        sizes: bytes of each sample.
        most: maximum bytes of a shard, which only a single sample may exceed.
    """
    ends = np.cumsum(sizes)
    if ends.size == 0:
        return ends
    low, high = int(sizes.max()), max(most, int(sizes.max()))
    fewest = len(_fill(ends, high))
    while low < high:  # the smallest limit that needs no more shards makes them nearly equal
        middle = (low + high) // 2
        if len(_fill(ends, middle)) > fewest:
            low = middle + 1
        else:
            high = middle
    return np.searchsorted(_fill(ends, low), np.arange(ends.size), side="right")


def _fill(ends: NDArray[np.int64], most: int) -> list[int]:
    """The end (exclusive) of each shard if each takes samples until the next one would exceed `most` bytes."""
    cuts: list[int] = []
    while not cuts or cuts[-1] < ends.size:
        before = int(ends[cuts[-1] - 1]) if cuts else 0
        cuts.append(int(np.searchsorted(ends, before + most, side="right")))
    return cuts
