"""Pairs of 64-bit hashes that differ in few bits, among hundreds of thousands, without comparing all with all.

Multi-index hashing (Norouzi, Punjani, Fleet, "Fast search in Hamming space with multi-index hashing", CVPR
2012): if two hashes differ in at most 7 bits, one of their four parts of 16 bits differs in at most one. So
each hash is compared with those that have an equal part, or one that differs in a single bit: of 250,000 random
hashes, with 260 instead of 250,000.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BITS = 7
_PARTS, _PART_BITS = 4, 16
_KEYS = 1 << _PART_BITS
_MOST, _KEPT = 64, 8
"""Hashes with one value of a part that a hash is compared with, and pairs that are kept of these, so that the
search ends in a dataset in which all images are alike, too: then not all pairs are found, but some of each."""
_ENOUGH = 16
"""Pairs of a hash after which it is compared with no other value of that part."""


def find_pairs(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """Find pairs of hashes that differ in at most `bits` bits.

    Args:
        hashes: [n], not sorted.
        bits: 0 to 7.

    Returns:
        [pairs, 2] positions in `hashes`, the smaller one first, sorted, each pair once. Of equal hashes each is
        paired with the first one alone, and only the first one with hashes that are near.
    """
    if not 0 <= bits <= MAX_BITS:
        raise ValueError(f"bits is {bits}, expected 0 to {MAX_BITS}")
    unique, first, places = np.unique(hashes, return_index=True, return_inverse=True)
    firsts = first[places]
    others = np.flatnonzero(firsts != np.arange(len(hashes)))
    found = [np.stack([firsts[others], others], axis=1)]
    if bits:
        found += [np.sort(first[_near(unique, part, bits)], axis=1) for part in range(_PARTS)]
    left, right = np.concatenate(found).astype(np.int64).T
    return np.stack(np.divmod(np.unique(left * len(hashes) + right), max(len(hashes), 1)), axis=1)


def _near(unique: NDArray[np.uint64], part: int, bits: int) -> NDArray[np.int64]:
    """[pairs, 2] positions of different hashes that differ in few bits, and in at most one of a part."""
    keys = ((unique >> np.uint64(part * _PART_BITS)) & np.uint64(_KEYS - 1)).astype(np.int32)
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], unique[order]  # sorted, so that those that are compared are neighbours in memory
    starts = np.zeros(_KEYS + 1, np.int32)
    np.cumsum(np.bincount(keys, minlength=_KEYS), out=starts[1:])
    rows = np.arange(len(keys), dtype=np.int32)
    found = [_close(values, rows, rows + 1, starts[keys + 1], bits)]  # those before a row are compared with it
    numbers = np.bincount(found[0][:, 0], minlength=len(keys))
    for flip in (1 << bit for bit in range(_PART_BITS)):
        # Of two parts that differ in one bit, the one without it looks for the other.
        some = rows[((keys & flip) == 0) & (numbers < _ENOUGH)]
        key = keys[some] | flip
        found.append(_close(values, some, starts[key], starts[key + 1], bits))
        numbers += np.bincount(found[-1][:, 0], minlength=len(keys))
    return np.asarray(order[np.concatenate(found)], np.int64)


def _close(
    values: NDArray[np.uint64],
    rows: NDArray[np.int32],
    begin: NDArray[np.int32],
    end: NDArray[np.int32],
    bits: int,
) -> NDArray[np.int32]:
    """[pairs, 2] rows and others from `begin` up to `end` that differ in few bits."""
    numbers = np.minimum(end - begin, _MOST)
    left = np.repeat(rows, numbers)
    right = np.arange(len(left), dtype=np.int32) + np.repeat(
        begin - np.cumsum(numbers, dtype=np.int32) + numbers, numbers
    )
    close = np.flatnonzero(np.bitwise_count(values[left] ^ values[right]) <= bits)
    left, right = left[close], right[close]
    kept = np.arange(len(left)) - np.searchsorted(left, left) < _KEPT
    return np.stack([left[kept], right[kept]], axis=1)
