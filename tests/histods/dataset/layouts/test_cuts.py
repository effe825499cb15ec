"""What is left of names without what many of them have in common: where cuts stand, and what they cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from histods.dataset.layouts.cuts import ANY_FOLDERS, Reading, cut_names, frequent_texts

NAMES = st.lists(
    st.lists(st.text("abm012_-", min_size=1, max_size=8), min_size=1, max_size=3).map("/".join),
    min_size=1,
    max_size=5,
)


def test_a_text_that_two_names_share_is_frequent_and_a_single_one_is_not() -> None:
    assert frequent_texts(["img/a1_image", "img/b2_image"]) == {"img", "image"}
    assert frequent_texts(["only_one"]) == set()


def test_a_text_twice_in_one_name_counts_once() -> None:
    assert "x" not in frequent_texts(["x_x", "y_z"])


def test_among_many_names_one_in_a_hundred_makes_a_text_frequent() -> None:
    keys = [f"{chr(0x4E00 + number)}" for number in range(996)]
    assert "mask" in frequent_texts([*keys, *(f"{number}_mask" for number in range(11))])
    assert "mask" not in frequent_texts([*keys, *(f"{number}_mask" for number in range(4))])


def test_image_and_mask_meet_in_what_is_left_of_their_names() -> None:
    keys = ["img/a_07_image", "gt/a_7_label", "img/b_08_image", "gt/b_8_label"]
    frequent = frequent_texts(keys)
    left = [{text for text, _ in cut_names(key, frequent)} for key in keys]
    assert "a_7" in left[0] & left[1]
    assert "b_8" in left[2] & left[3]
    assert "a_7" not in left[2] | left[3]


def test_a_cut_takes_one_separator_along_and_a_folder_its_slash() -> None:
    readings = [cuts for text, cuts in cut_names("img/x_mask", {"img", "mask"}) if text == "x"]
    folder, tail = readings[0]
    assert (folder.text, folder.literal, folder.place) == ("img/", "img/", 0)
    assert (tail.text, tail.literal, tail.place) == ("_mask", "_mask", 1)
    assert (folder.parts, folder.characters, tail.parts, tail.characters) == (0, 0, 0, 5)


def test_all_folders_can_be_cut_whatever_their_names() -> None:
    cuts = [cuts for text, cuts in cut_names("p1/s2/x", set()) if text == "x"]
    literals = [tuple(cut.literal for cut in each) for each in cuts]
    assert literals == [(ANY_FOLDERS,), ("p1/s2/",)]
    readings = [Reading(0, ".png", each) for each in cuts]
    assert [reading.has_any_folders() for reading in readings] == [True, False]
    assert readings[0].text() == "p1/s2/"
    assert readings[0].literals() == {0: ANY_FOLDERS}


def test_a_name_that_is_cut_away_whole_is_left_out() -> None:
    assert all(text for text, _ in cut_names("img", {"img"}))


@given(NAMES)
def test_no_cut_is_the_plain_name_and_comes_first(keys: list[str]) -> None:
    frequent = frequent_texts(keys)
    for key in keys:
        (first, cuts), *others = cut_names(key, frequent)
        assert cuts == ()
        assert first == next(iter(cut_names(key, set())))[0]
        for text, taken in others:
            assert taken
            assert all(0 <= cut.place <= len(text) for cut in taken)
            assert sum(len(cut.text) for cut in taken) + len(text) <= len(key)
