"""Colours of classes: all different, mixed and weighed as documented."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.palette import HATCHES, HUES, SEVERITIES, SHADES, UNKNOWN, class_fill, luminance, mixed, split_fill

COLOUR = st.integers(0, 2**24 - 1).map("#{:06x}".format)
CLASSES = len(HUES) * len(SHADES) * len(HATCHES)


def test_81_classes_differ_and_later_ones_repeat_them() -> None:
    fills = {(fill.face, fill.hatch) for fill in map(class_fill, range(CLASSES + 1))}
    assert len(fills) == CLASSES + 1 == 82
    assert class_fill(0).face == UNKNOWN
    assert class_fill(CLASSES + 1) == class_fill(1)


def test_the_first_classes_are_the_plain_hues() -> None:
    assert [class_fill(index).face for index in range(1, 10)] == list(HUES)


@pytest.mark.parametrize("index", range(CLASSES + 1))
def test_a_hatch_differs_from_the_face_that_it_is_on(index: int) -> None:
    fill = class_fill(index)
    assert re.fullmatch("#[0-9a-f]{6}", fill.face)
    assert re.fullmatch("#[0-9a-f]{6}", fill.edge)
    assert (luminance(fill.edge) > luminance(fill.face)) == (luminance(fill.face) < 0.1)


@given(COLOUR)
def test_mixing_nothing_keeps_a_colour_and_mixing_all_takes_white_or_black(colour: str) -> None:
    assert mixed(colour, 0) == colour
    assert mixed(colour, 1) == "#ffffff"
    assert mixed(colour, -1) == "#000000"


@given(colour=COLOUR, share=st.floats(0, 1))
def test_white_lightens_and_black_darkens(colour: str, share: float) -> None:
    assert luminance(mixed(colour, -share)) <= luminance(colour) <= luminance(mixed(colour, share))


def test_luminance_goes_from_black_to_white_and_knows_green_as_brightest() -> None:
    assert luminance("#000000") == 0
    assert luminance("#ffffff") == pytest.approx(1)
    assert luminance("#0000ff") < luminance("#ff0000") < luminance("#00ff00")


def test_train_val_and_test_have_the_same_fill_wherever_they_stand() -> None:
    for name in ("train", "val", "test"):
        assert split_fill(name, 0) == split_fill(name, 5)
    assert len({split_fill(name, 0).face for name in ("train", "val", "test")}) == 3


def test_other_splits_differ_by_their_place() -> None:
    assert len({(fill.face, fill.hatch) for fill in (split_fill("fold", place) for place in range(24))}) == 24


def test_severities_differ() -> None:
    assert len({fill.face for fill in SEVERITIES.values()}) == len(SEVERITIES) == 3
