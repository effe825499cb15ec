"""Shares of the real images, by slide; the scores themselves are tested with `evaluate`."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.downstream import PERCENTAGES, choose_share


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60))
def test_a_share_takes_whole_slides_and_a_smaller_one_is_a_part_of_a_larger(groups: list[str]) -> None:
    shares = [choose_share(groups, percent) for percent in PERCENTAGES]
    for smaller, larger in itertools.pairwise(shares):
        assert set(smaller) <= set(larger)
    assert shares[-1] == list(range(len(groups)))
    for share in shares:
        taken = {groups[index] for index in share}
        assert share == [index for index, group in enumerate(groups) if group in taken]


def test_a_share_is_as_large_as_slides_allow() -> None:
    groups = [f"slide {index // 5}" for index in range(100)]
    assert [len(choose_share(groups, percent)) for percent in (10, 30, 100)] == [10, 30, 100]
    assert len(choose_share(["one"] * 7, 10)) == 7
