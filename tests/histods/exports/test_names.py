"""Names are safe anywhere, and no two samples share one, whatever their keys are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.exports.names import flat_names

PART = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=90)
KEYS = st.lists(st.lists(PART, min_size=1, max_size=3).map("/".join), unique=True, max_size=12)
CLOSE = st.lists(st.text("aA_/.- ", min_size=1, max_size=4), unique=True, max_size=12)


@given(KEYS | CLOSE)
def test_names_are_plain_and_differ_in_any_case(keys: list[str]) -> None:
    names = flat_names(keys)
    assert len({name.lower() for name in names}) == len(keys)
    for name in names:
        assert len(name) + len("_0000.png") <= 143
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,126}", name)


def test_plain_keys_keep_their_names() -> None:
    assert flat_names(["slide_1/x0_y0", "b", "s.tiff-q_1"]) == ["slide_1_x0_y0", "b", "s_tiff-q_1"]


@pytest.mark.parametrize(("first", "second"), [("a/b", "a_b"), ("a/b", "A/b"), ("a.b", "a_b"), ("-a", "x-a")])
def test_keys_that_would_share_a_name_are_told_apart(first: str, second: str) -> None:
    one, other = flat_names([first, second])
    assert one.lower() != other.lower()


def test_a_key_made_to_collide_is_refused() -> None:
    taken = flat_names(["a/b", "a_b"])[0]
    with pytest.raises(HistodsError, match="would both be"):
        flat_names(["a/b", "a_b", taken])
