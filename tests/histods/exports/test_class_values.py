"""Class 0 is ignored or background, and no class loses its pixels to another."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.exports.base import FORMATS, UNKNOWN, Format, Unknown
from histods.exports.class_values import distinct, with_background

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = st.lists(
    st.sampled_from(["Background", "background", "Tumour", "ignore", "a", "b"]), min_size=1, unique=True
)


@pytest.mark.parametrize("name", FORMATS)
@given(classes=NAMES, unknown=st.sampled_from(UNKNOWN))
def test_every_class_has_a_value_of_its_own(name: str, classes: Sequence[str], unknown: Unknown) -> None:
    form = cast("Format", import_module(FORMATS[name]))
    found = form.number(["Unknown", *classes], unknown)
    assert len(set(found.values)) == len(classes) + 1
    assert (found.ignore is None) == (unknown == "background")
    if found.ignore is not None:
        assert found.values[0] == found.ignore
        assert found.ignore >= max(found.values)
    for index, title in enumerate(classes, 1):
        value = found.values[index]
        assert found.names[value].casefold() == title.casefold()
    assert "Unknown" in found.unknown


def test_the_class_called_background_is_the_background_where_unknown_is_ignored() -> None:
    found = with_background(["Unknown", "Tumour", " BackGround", "Stroma"], "ignore", None)
    assert found.values == (3, 1, 0, 2)
    assert found.names == ("background", "Tumour", "Stroma")


def test_without_such_a_class_no_pixel_is_background_and_that_is_said() -> None:
    found = with_background(["Unknown", "Tumour"], "ignore", 255)
    assert found.values == (255, 1)
    assert "no pixel has the value 0" in found.unknown


def test_names_that_occur_twice_are_numbered() -> None:
    assert distinct(["ignore", "a", "a", "a (2)"], taken=["ignore"]) == ["ignore (2)", "a", "a (2)", "a (2) (2)"]
