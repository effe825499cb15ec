"""Held-out samples are whole groups, about one sample in twenty, and leave enough of every class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.sampling.draws import ClassLists, list_classes
from training.data.holdout import choose_held_out, without


def lists_of(classes: list[list[int]], number: int) -> ClassLists:
    flat = np.array([each for one in classes for each in sorted(set(one))], np.uint16)
    return list_classes(flat, np.cumsum([0, *(len(set(one)) for one in classes)]), number)


def slides(number: int, each: int) -> list[str | None]:
    return [f"slide {index}" for index in range(number) for _ in range(each)]


CHOSEN = {
    "ungrouped": ([None] * 400, 20, 400),
    "forty slides": (slides(40, 10), 20, 2),
    "twenty slides": (slides(20, 10), 10, 1),
    "six slides": (slides(6, 20), 20, 1),
    "five slides": (slides(5, 20), 20, 1),
    "some grouped": ([*slides(20, 10), *[None] * 200], 20, 400),
}


@pytest.mark.parametrize(("groups", "most", "units"), CHOSEN.values(), ids=CHOSEN)
def test_whole_groups_of_about_one_sample_in_twenty_are_held_out(
    groups: list[str | None], most: int, units: int
) -> None:
    keys = [f"k{index}" for index in range(len(groups))]
    held_out = choose_held_out(keys, groups, lists_of([[1]] * len(groups), 2))
    assert 0.05 * len(groups) <= held_out.sum() <= max(most, 0.05 * len(groups) + 10)
    inside = {group for group, held in zip(groups, held_out, strict=True) if held and group}
    outside = {group for group, held in zip(groups, held_out, strict=True) if not held and group}
    assert inside.isdisjoint(outside)
    assert len(inside) <= units
    # Their order does not matter, and neither does what else they are called.
    order = np.random.default_rng(0).permutation(len(groups))
    again = choose_held_out([keys[i] for i in order], [groups[i] for i in order], lists_of([[1]] * len(groups), 2))
    assert np.array_equal(again, held_out[order])


REFUSED = {
    "one slide": (slides(1, 40), [[1]] * 40),
    "four slides": (slides(4, 10), [[1]] * 40),
    "every slide has a class of its own": (slides(10, 4), [[1 + index // 4] for index in range(40)]),
    "two samples": ([None, None], [[1], [1]]),
    "one sample": ([None], [[1]]),
}


@pytest.mark.parametrize(("groups", "classes"), REFUSED.values(), ids=REFUSED)
def test_where_that_would_cost_too_much_nothing_is_held_out(
    groups: list[str | None], classes: list[list[int]]
) -> None:
    keys = [f"k{index}" for index in range(len(groups))]
    held_out = choose_held_out(keys, groups, lists_of(classes, 12))
    assert not held_out.any()
    assert without(lists_of(classes, 12), held_out).sizes.tolist() == lists_of(classes, 12).sizes.tolist()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_of_any_samples_groups_stay_whole_and_half_of_each_class_stays(data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 60))
    named = st.none() | st.sampled_from([f"slide {index}" for index in range(12)])
    groups = data.draw(st.lists(named, min_size=number, max_size=number))
    classes = data.draw(st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=number, max_size=number))
    lists = lists_of(classes, 5)
    held_out = choose_held_out([f"k{index}" for index in range(number)], groups, lists)
    assert held_out.sum() <= 0.2 * number
    for group in set(groups) - {None}:
        assert len({bool(held) for held, one in zip(held_out, groups, strict=True) if one == group}) == 1
    kept = without(lists, held_out)
    for index, (before, after) in enumerate(zip(lists.sizes.tolist(), kept.sizes.tolist(), strict=True)):
        assert after >= before / 2
        own = lists.samples[lists.bounds[index] : lists.bounds[index + 1]]
        rest = kept.samples[kept.bounds[index] : kept.bounds[index + 1]]
        assert rest.tolist() == [sample for sample in own.tolist() if not held_out[sample]]
