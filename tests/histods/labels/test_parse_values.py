"""Single values of label maps: what is a range, a name and a colour, and what each refusal says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.io.strict_yaml import NonStringScalar, Origin, Value
from histods.labels.label_map import MAX_LABELS
from histods.labels.parse_values import is_range, parse_colour, parse_name, parse_range

ORIGIN = Origin("map.yml")
LABELS = st.integers(0, MAX_LABELS - 1)


@given(ends=st.tuples(LABELS, LABELS).map(sorted), blanks=st.sampled_from(["{}-{}", "{} - {}", " {}  -{} "]))
def test_both_ends_of_a_range_belong_to_it(ends: list[int], blanks: str) -> None:
    text = blanks.format(*ends)
    assert is_range(text)
    assert parse_range(ORIGIN, text, "of A") == range(ends[0], ends[1] + 1)


@given(LABELS)
def test_a_label_is_a_range_of_one_as_a_number_and_as_text(label: int) -> None:
    assert is_range(label)
    assert parse_range(ORIGIN, label, "of A") == parse_range(ORIGIN, str(label), "of A") == range(label, label + 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("5-3", "map.yml needs ranges of A from low to high, but has '5-3'; write '3-5'."),
        (-1, f"map.yml needs labels of A from 0 to {MAX_LABELS - 1}, but has the number -1; correct it."),
        (MAX_LABELS, f"map.yml needs labels of A from 0 to {MAX_LABELS - 1}, but has the number {MAX_LABELS}; "),
        (10**17, f"map.yml needs labels of A from 0 to {MAX_LABELS - 1}, but has the number 1{'0' * 17}; "),
        ("-1", "map.yml needs labels of A such as 7 or '10-15', but has '-1'; write a whole number."),
        ("1.5", "map.yml needs labels of A such as 7 or '10-15', but has '1.5'; "),
        ("1-2-3", "map.yml needs labels of A such as 7 or '10-15', but has '1-2-3'; "),
        ("٣", "map.yml needs labels of A such as 7 or '10-15', but has '٣'; "),
        ([1], "map.yml needs labels of A such as 7 or '10-15', but has a list; "),
        (
            NonStringScalar("010", "int"),
            "map.yml needs labels of A such as 7 or '10-15', but has the number 010; ",
        ),
        (
            NonStringScalar("no", "bool"),
            "map.yml needs labels of A such as 7 or '10-15', but has the Boolean no; YAML",
        ),
    ],
)
def test_what_is_no_label_is_quoted_and_refused(value: Value, message: str) -> None:
    with pytest.raises(HistodsError) as error:
        parse_range(ORIGIN, value, "of A")
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("value", ["", "a", "1-", "-1", "1.0", [1], {}, NonStringScalar("1.0", "float")])
def test_other_values_are_no_range(value: Value) -> None:
    assert not is_range(value)


def test_a_name_has_single_spaces() -> None:
    assert parse_name(ORIGIN, "  In  situ\tcarcinoma\n", "class 1") == "In situ carcinoma"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (3, "the number 3; put it in quotes."),
        (NonStringScalar("1.5", "float"), "the fraction 1.5; put it in quotes."),
        (NonStringScalar("~", "null"), "nothing; write its name."),
        (NonStringScalar("yes", "bool"), "the Boolean yes; YAML reads yes as true or false: put it in quotes"),
        ("  ", "'  '; write its name."),
        ([], "a list; write its name."),
    ],
)
def test_what_is_no_name_is_refused_with_the_way_to_write_one(value: Value, found: str) -> None:
    with pytest.raises(HistodsError) as error:
        parse_name(ORIGIN, value, "class 1")
    assert str(error.value).startswith(f"map.yml needs a name for class 1, but has {found}")


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_a_colour_is_the_same_in_both_notations(colour: tuple[int, int, int]) -> None:
    text = f"#{bytes(colour).hex()}"
    assert parse_colour(ORIGIN, text, 1) == parse_colour(ORIGIN, text.upper(), 1) == colour
    assert parse_colour(ORIGIN, list(colour), 1) == colour


@pytest.mark.parametrize(
    "value", ["#ff00f", "ff00ff", "#ff00fg", [1, 2], [1, 2, 256], [-1, 0, 0], ["1", 0, 0], {}, 7, " #ff00ff"]
)
def test_what_is_no_colour_is_refused_with_both_notations(value: Value) -> None:
    with pytest.raises(HistodsError, match=r"a colour for label 4, .*; write '#rrggbb' in quotes.* from 0 to 255"):
        parse_colour(ORIGIN, value, 4)
