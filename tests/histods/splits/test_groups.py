"""Groups from keys: which expressions say what the group is, and what they give."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.splits.groups import check_group_regex, propose_groups, take_groups, with_groups

KEYS = ["s1_x0", "s1_x1", "s2_x0", "a/s3_x0", "other"]


@pytest.mark.parametrize(
    ("expression", "groups"),
    [
        (r"^(s\d)_", ["s1", "s1", "s2", None, None]),
        (r"(s\d)_", ["s1", "s1", "s2", "s3", None]),
        (r"s\d", ["s1", "s1", "s2", "s3", None]),
        (r"(?P<slide>s\d)_(x)(\d)", ["s1", "s1", "s2", "s3", None]),
        (r"(?:^|/)(s\d)_x(?:\d)", ["s1", "s1", "s2", "s3", None]),
        (r"(.*)(?P<group>\d)(?P<x>)$", ["0", "1", "0", "0", None]),
        (r"^([^/_]*)(?:_|$)", ["s1", "s1", "s2", None, "other"]),
        (r"x(\d?)", ["0", "1", "0", "0", None]),
        (r"^(a?)", [None, None, None, "a", None]),
    ],
)
def test_groups_are_what_the_parentheses_match(expression: str, groups: list[str | None]) -> None:
    check_group_regex(expression)
    assert take_groups(pl.Series("key", KEYS), expression).to_list() == groups


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("(a", "is not a regular expression (unclosed group)"),
        ("[", "is not a regular expression (unclosed character class)"),
        ("*", "is not a regular expression (repetition operator missing expression)"),
        (r"(?<=a)(b)", "is not a regular expression (look-around"),
        (r"(s)\1", "is not a regular expression (backreferences are not supported)"),
        (r"(s)_(x)", "has 2 groups in parentheses, and nothing says which is the slide or patient; name that one"),
        (r"((s)_(x))", "has 3 groups in parentheses, and nothing says"),
        (r"(?P<a>s)_(?P<b>x)(c)", "has 3 groups in parentheses, and nothing says"),
    ],
)
def test_an_expression_that_leaves_the_group_open_is_refused_at_once(expression: str, found: str) -> None:
    with pytest.raises(HistodsError) as error:
        check_group_regex(expression)
    assert str(error.value).startswith(f"--group-regex {expression!r} {found}")


def test_an_expression_that_matches_no_key_is_refused_with_the_first_keys() -> None:
    with pytest.raises(HistodsError) as error:
        take_groups(pl.Series("key", [f"k{number}" for number in range(2000)]), "^(slide)")
    assert str(error.value) == (
        "--group-regex '^(slide)' matches none of the 2,000 keys, the first are 'k0', 'k1', 'k2', 'k3', 'k4'; "
        "correct the expression."
    )


def test_known_groups_stay() -> None:
    samples = pl.DataFrame({"key": ["s1_a", "s2_b", "c"], "group": ["x", None, None]})
    assert with_groups(samples, "^(s.)")["group"].to_list() == ["x", "s2", None]
    assert with_groups(samples, None) is samples


@pytest.mark.parametrize(
    ("keys", "groups"),
    [
        (["s1_x12_y4", "s1_x13_y4", "s2_x1_y1", "s2_x2_y1"], {"s1", "s2"}),
        (["a/s.tiff-xy_79", "a/s.tiff-xy_80", "a/t.tiff-xy_1", "a/t.tiff-xy_9"], {"a/s.tiff", "a/t.tiff"}),
        (["TCGA-A1-A0SK_1", "TCGA-A1-A0SK_2", "x/TCGA-B2-0001-01A_1", "x/TCGA-B2-0001-02B_7"], None),
        (["slide 1_0_512", "slide 1_512_0", "slide 2_0_0", "slide 2_0_512"], {"slide 1", "slide 2"}),
        (["größe-7_1", "größe-7_2", "größe-8_1", "größe-8_3"], {"größe-7", "größe-8"}),
        (["patch_000001", "patch_000002", "patch_000003"], set()),
        (["a", "b", "c"], set()),
        (["a_1", "b_1", "c_1"], set()),
        ([], set()),
    ],
)
def test_names_that_begin_with_their_slide_give_a_proposal(keys: list[str], groups: set[str] | None) -> None:
    series = pl.Series("key", keys, dtype=pl.String)
    proposed = propose_groups(series)
    if groups is None:
        groups = {"TCGA-A1-A0SK", "TCGA-B2-0001"}
    if not groups:
        assert proposed is None
        return
    assert proposed is not None
    taken = take_groups(series, proposed.expression)
    assert set(taken) == groups
    assert proposed.groups == len(groups)
    assert taken[keys.index(proposed.key)] == proposed.group


@given(st.lists(st.text(max_size=12), max_size=30))
def test_a_proposal_makes_several_groups_of_several_keys(keys: list[str]) -> None:
    series = pl.Series("key", keys, dtype=pl.String)
    proposed = propose_groups(series)
    if proposed is not None:
        taken = take_groups(series, proposed.expression)
        assert 2 <= taken.drop_nulls().n_unique() == proposed.groups <= len(keys) / 2
