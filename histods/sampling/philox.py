"""Random words by position: a stateless function from counters to random bits.

Philox is the generator that NumPy and JAX use for this; this version accepts whole arrays of counters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Words = NDArray[np.uint64]

_MULTIPLIERS = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_WEYL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ROUNDS = 10
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


def philox4x64(seed: int, first: ArrayLike, second: ArrayLike = 0, third: ArrayLike = 0) -> Words:
    """Four random 64-bit words for each counter: Philox 4x64 with ten rounds.

    Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The words equal
    those of `numpy.random.Philox` for the key (seed, 0) and the counter (first, second, third, 0).

    Args:
        seed: 0 to 2**64 - 1.
        first: counters, uint64 of shape [n] or single numbers, like the next two.
        second: counters.
        third: counters.

    Returns:
        uint64 of shape [n, 4].
    """
    counters = np.broadcast_arrays(*(np.asarray(part, dtype=np.uint64) for part in (first, second, third)))
    a, b, c = (part.copy() for part in counters)
    d = np.zeros_like(a)
    keys = np.array([seed, 0], dtype=np.uint64)
    with np.errstate(over="ignore"):  # arithmetic wraps at 2**64 by design
        for _ in range(_ROUNDS):
            high_a, low_a = _multiply(a, _MULTIPLIERS[0])
            high_c, low_c = _multiply(c, _MULTIPLIERS[1])
            a, b, c, d = high_c ^ b ^ keys[0], low_c, high_a ^ d ^ keys[1], low_a
            keys = keys + np.array(_WEYL)
    return np.stack([a, b, c, d], axis=-1)


def _multiply(words: Words, by: np.uint64) -> tuple[Words, Words]:
    """High and low halves of the 128-bit products."""
    low, high = words & _LOW, words >> _HALF
    by_low, by_high = by & _LOW, by >> _HALF
    middle = high * by_low + ((low * by_low) >> _HALF)
    other = low * by_high + (middle & _LOW)
    return high * by_high + (middle >> _HALF) + (other >> _HALF), words * by


def below(words: Words, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Random integers 0 <= i < size from random words: the high half of word x size; sizes under 2**32.

    Lemire, "Fast random integer generation in an interval", ACM TOMACS 2019; without its rejection the
    bias is at most size / 2**64.
    """
    size = sizes.astype(np.uint64)
    product = (words >> _HALF) * size + (((words & _LOW) * size) >> _HALF)
    return (product >> _HALF).astype(np.int64)


def permute(places: NDArray[np.int64], sizes: NDArray[np.int64], keys: Words) -> NDArray[np.int64]:
    """The image of each place 0 <= i < size in a random permutation of 0..size-1, without making the permutation.

    A Feistel network over the next power of four, walked until it falls below the size: Black & Rogaway,
    "Ciphers with arbitrary finite domains", CT-RSA 2002.

    Args:
        places: shape [n].
        sizes: [n], each under 2**32; places with equal size and equal keys are in one permutation.
        keys: [n, 4] random words.
    """
    bits = np.ceil(np.log2(np.maximum(sizes, 4)) / 2).astype(np.uint64)
    result = places.astype(np.uint64)
    walking = np.arange(len(places))
    while walking.size:
        result[walking] = _feistel(result[walking], bits[walking], keys[walking])
        walking = walking[result[walking] >= sizes[walking].astype(np.uint64)]
    return result.astype(np.int64)


def choose(count: int, size: int, key: Words) -> NDArray[np.int64]:
    """`size` different numbers of 0..count-1 in random order: the first of a random permutation; see `permute`.

    Args:
        count: under 2**32.
        size: at most count.
        key: [4] or [1, 4] random words.
    """
    return permute(np.arange(size), np.full(size, count), np.broadcast_to(key, (size, 4)))


def _feistel(values: Words, bits: Words, keys: Words) -> Words:
    """One pass over values of 2 x bits bits: eight rounds, each a bijection of (left, right)."""
    mask = (np.uint64(1) << bits) - np.uint64(1)
    left, right = values >> bits, values & mask
    with np.errstate(over="ignore"):
        for turn in range(8):
            mixed = _mix(right + keys[:, turn % 4] + np.uint64(turn) * _WEYL[0])
            left, right = right, left ^ (mixed & mask)
    return (left << bits) | right


def _mix(words: Words) -> Words:
    """Spread every bit over the word: the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
