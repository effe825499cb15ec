"""Patterns of paths: which files fit, what their keys are, and which patterns pair nothing."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.dataset.layouts.patterns import (
    as_literal,
    check_patterns,
    literal_characters,
    match_pattern,
    pattern_pairs,
    split_pattern,
)
from histods.errors import HistodsError

LITERAL = st.text("ab.[(+^$\\", max_size=4)


def match(keys: list[str | None], pattern: str, suffixes: list[str] | None = None) -> list[str | None]:
    """What stands at `{key}` for files, which are PNG unless they are told otherwise."""
    files = pl.DataFrame(
        {"key": keys, "suffix": suffixes or [".png"] * len(keys)}, schema={"key": pl.String, "suffix": pl.String}
    )
    return match_pattern(files, pattern, [".png", ".tif"]).to_list()


def test_alternatives_go_together_in_turn_and_a_single_one_goes_with_all() -> None:
    assert pattern_pairs("a/{key}|b/{key}", "c/{key}|d/{key}") == [("a/{key}", "c/{key}"), ("b/{key}", "d/{key}")]
    assert pattern_pairs("{key}", "c/{key}|d/{key}") == [("{key}", "c/{key}"), ("{key}", "d/{key}")]
    assert pattern_pairs("a/{key}|b/{key}", "m/{key}") == [("a/{key}", "m/{key}"), ("b/{key}", "m/{key}")]


def test_alternatives_in_different_numbers_are_refused() -> None:
    with pytest.raises(HistodsError, match="has 2 patterns for images, but .* has 3 for masks"):
        pattern_pairs("a{key}|b{key}", "c{key}|d{key}|e{key}")


@pytest.mark.parametrize(
    ("pattern", "stem", "suffix"),
    [
        ("./masks/{key}.PNG", "masks/{key}", ".png"),
        ("{key}.tiff", "{key}", ".tiff"),
        ("{key}.svs", "{key}.svs", ""),
        ("{key}", "{key}", ""),
    ],
)
def test_a_pattern_may_name_a_suffix_in_any_case(pattern: str, stem: str, suffix: str) -> None:
    assert split_pattern(pattern) == (stem, suffix)


def test_the_key_crosses_folders_and_a_star_does_not() -> None:
    assert match(["img/a/b", "img/c"], "img/{key}") == ["a/b", "c"]
    assert match(["p1/x", "p2/q/x", "x"], "*/{key}") == ["x", "q/x", None]
    assert match(["p1/x_he", "p/q_he"], "p*/{key}_he") == ["x", "q"]


def test_only_the_suffix_that_is_named_fits_or_any_that_is_allowed() -> None:
    keys: list[str | None] = ["x", "y", "z"]
    suffixes = [".png", ".tif", ".jpg"]
    assert match(keys, "{key}.tif", suffixes) == [None, "y", None]
    assert match(keys, "{key}", suffixes) == ["x", "y", None]


def test_a_file_without_a_key_fits_nothing() -> None:
    assert match([None, "x"], "{key}") == [None, "x"]


def test_several_pieces_of_a_key_are_joined_and_keep_their_border() -> None:
    found = match(["a/b_mask/c", "a_mask/b/c"], "{key}_mask/{key}")
    assert found == ["a/b\0c", "a\0b/c"]


@given(before=LITERAL, after=LITERAL, key=st.text("ab1/\n", min_size=1, max_size=6))
def test_signs_of_expressions_stand_for_themselves(before: str, after: str, key: str) -> None:
    assert match([before + key + after], before + "{key}" + after) == [key]


def test_only_what_stands_for_itself_is_counted() -> None:
    assert literal_characters("img/*/{key}_he") == len("img//_he")
    assert as_literal("a|b") == "a*b"


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (None, None, "There is no pattern for masks"),
        (None, "masks/all.png", "--mask-pattern 'masks/all.png' is not a path below the dataset with {key}"),
        ("/data/{key}", "m/{key}", "--image-pattern '/data/{key}' is not a path below the dataset"),
        ("{key}{key}", "m/{key}{key}", "--image-pattern '{key}{key}' is not a path"),
        ("{key}", "{key}_{key}", "do not have equally many {key}"),
        ("{key}.png", "./{key}.PNG", "'./{key}.PNG' is the pattern of both images and masks"),
        ("{key}.gif", "m/{key}.png", "--image-pattern '{key}.gif' ends in none of"),
        ("{key}|a/{key}", "m/{key}|a/{key}", "'a/{key}' is the pattern of both images and masks"),
    ],
)
def test_patterns_that_can_pair_nothing_are_refused(images: str | None, masks: str | None, message: str) -> None:
    with pytest.raises(HistodsError) as error:
        check_patterns(images, masks)
    assert message in str(error.value)


def test_patterns_that_differ_in_a_suffix_alone_are_taken() -> None:
    check_patterns("{key}.jpg", "{key}.png")
