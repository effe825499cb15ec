"""Which sample goes where: the same for any order of rows, evenly filled, and with the class mix of all."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from histods.shards.partition import cut, shuffled


@given(keys=st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True), seed=st.integers(0, 100))
def test_the_order_does_not_depend_on_the_order_of_rows(keys: list[str], seed: int) -> None:
    mixed = random.Random(seed).sample(keys, len(keys))
    assert [keys[i] for i in shuffled(keys)] == [mixed[i] for i in shuffled(mixed)]


@given(sizes=st.lists(st.integers(1, 10_000), max_size=200), most=st.integers(1, 50_000))
def test_shards_are_filled_in_order_and_none_holds_too_much(sizes: list[int], most: int) -> None:
    numbers = cut(np.array(sizes, dtype=np.int64), most)
    assert len(numbers) == len(sizes)
    if sizes:
        assert numbers[0] == 0
        assert set(np.diff(numbers).tolist()) <= {0, 1}
        filled = np.bincount(numbers, weights=sizes)
        assert filled.max() <= max(most, *sizes)


def test_shards_are_nearly_equal_and_no_more_than_needed() -> None:
    sizes = np.random.default_rng(0).integers(10_000, 100_000, 20_000)
    filled = np.bincount(cut(sizes, 64_000_000), weights=sizes)
    assert len(filled) in (int(np.ceil(sizes.sum() / 64_000_000)), int(np.ceil(sizes.sum() / 64_000_000)) + 1)
    assert filled.min() > 0.98 * filled.max()


def test_every_shard_has_nearly_the_class_mix_of_all() -> None:
    """Even where slides, and with them classes, follow each other in the listing."""
    keys = [f"slide_{number // 100}/patch_{number}" for number in range(20_000)]
    classes = np.arange(20_000) // 4_000
    order = shuffled(keys)
    numbers = cut(np.full(20_000, 1000), 2_000_000)
    for shard in range(10):
        counts = np.bincount(classes[order[numbers == shard]], minlength=5)
        assert (np.abs(counts - 400) < 5 * np.sqrt(2000 * 0.2 * 0.8)).all()
