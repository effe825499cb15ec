"""Which sample goes into which shard, and in which order: from the samples' keys and sizes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xxhash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def shuffled(keys: Sequence[str]) -> NDArray[np.int64]:
    """Order of samples by a digest of their keys: random, and the same in every run and for any order of rows.

    Any stretch of it is a random sample, so that every shard has nearly the class mix of all.
    """
    digests = np.fromiter((xxhash.xxh3_64_intdigest(key.encode()) for key in keys), np.uint64, len(keys))
    return np.lexsort((np.asarray(keys, dtype=object), digests))


def cut(sizes: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Number of the shard of each sample, for samples in order: as few shards as hold them, nearly equal in bytes.

    Args:
        sizes: bytes of each sample.
        most: bytes that a shard should not exceed; one sample alone may.
    """
    ends = np.cumsum(sizes)
    if ends.size == 0:
        return ends
    low, high = int(sizes.max()), max(most, int(sizes.max()))
    fewest = len(_fill(ends, high))
    while low < high:  # the smallest bound that needs no more shards makes them nearly equal
        middle = (low + high) // 2
        if len(_fill(ends, middle)) > fewest:
            low = middle + 1
        else:
            high = middle
    return np.searchsorted(_fill(ends, low), np.arange(ends.size), side="right")


def _fill(ends: NDArray[np.int64], most: int) -> list[int]:
    """Where each shard ends (exclusive) if each takes samples until the next one would exceed `most` bytes."""
    cuts: list[int] = []
    while not cuts or cuts[-1] < ends.size:
        before = int(ends[cuts[-1] - 1]) if cuts else 0
        cuts.append(int(np.searchsorted(ends, before + most, side="right")))
    return cuts
