"""Random words by counter: NumPy's own generator is the reference, and permutations are permutations."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from histods.sampling.philox import below, choose, permute, philox4x64

WORDS = st.integers(0, 2**64 - 1)


@given(seed=WORDS, counters=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=5))
def test_words_are_those_of_numpy_s_philox(seed: int, counters: list[tuple[int, int, int]]) -> None:
    ours = philox4x64(seed, *np.array(counters, dtype=np.uint64).T)
    for words, (first, second, third) in zip(ours, counters, strict=True):
        # NumPy counts up before it gives words: start one below, over all 256 bits.
        before = (first + (second << 64) + (third << 128) - 1) % 2**256
        digits = [(before >> shift) % 2**64 for shift in (0, 64, 128, 192)]
        theirs = np.random.Philox(
            counter=np.array(digits, dtype=np.uint64), key=np.array([seed, 0], dtype=np.uint64)
        )
        assert words.tolist() == theirs.random_raw(4).tolist()


def test_words_of_single_counters_are_broadcast() -> None:
    together = philox4x64(3, np.arange(4), 1, 2)
    assert together.shape == (4, 4)
    np.testing.assert_array_equal(together[2], philox4x64(3, 2, 1, 2).reshape(4))


@given(size=st.integers(1, 5000), seed=WORDS)
def test_a_permutation_visits_every_place_once(size: int, seed: int) -> None:
    keys = np.repeat(philox4x64(seed, np.arange(1)), size, axis=0)
    moved = permute(np.arange(size), np.full(size, size), keys)
    np.testing.assert_array_equal(np.sort(moved), np.arange(size))


def test_permutations_of_several_sizes_and_keys_do_not_disturb_each_other() -> None:
    sizes = np.array([1, 2, 3, 1000, 100_000_000, 2**32 - 1])
    keys = philox4x64(0, np.arange(len(sizes)))
    places = sizes - 1
    together = permute(places, sizes, keys)
    assert (together < sizes).all()
    for place, size, key, found in zip(places, sizes, keys, together, strict=True):
        assert permute(np.array([place]), np.array([size]), key[None])[0] == found


def test_permutations_differ_by_key_and_look_random() -> None:
    size, keys = 1000, philox4x64(1, np.arange(200))
    orders = np.array([permute(np.arange(size), np.full(size, size), np.tile(key, (size, 1))) for key in keys])
    # Where place 0 goes, over 200 keys: the mean of uniform places, within 5 standard errors.
    assert abs(orders[:, 0].mean() - 499.5) < 5 * 288.7 / np.sqrt(200)
    fixed = (orders == np.arange(size)).mean()  # one fixed point each is expected
    assert 0.5 / size < fixed < 2 / size


@given(words=st.lists(WORDS, min_size=1, max_size=20), size=st.integers(1, 2**32 - 1))
def test_integers_are_the_high_half_of_the_product(words: list[int], size: int) -> None:
    found = below(np.array(words, dtype=np.uint64), np.full(len(words), size))
    assert found.tolist() == [word * size >> 64 for word in words]


@given(count=st.integers(1, 300), seed=WORDS, share=st.floats(0, 1))
def test_numbers_are_chosen_once_each(count: int, seed: int, share: float) -> None:
    size, key = int(share * count), philox4x64(seed, 0)
    chosen = choose(count, size, key)
    assert len(set(chosen.tolist())) == len(chosen) == size
    assert ((chosen >= 0) & (chosen < count)).all()
    np.testing.assert_array_equal(chosen, choose(count, count, key.reshape(1, 4))[:size])


def test_each_number_is_chosen_equally_often() -> None:
    chosen = np.concatenate([choose(20, 5, key) for key in philox4x64(0, np.arange(400))])
    assert (abs(np.bincount(chosen, minlength=20) - 100) < 5 * np.sqrt(400 * 0.25 * 0.75)).all()
