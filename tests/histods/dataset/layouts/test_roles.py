"""Words tell images from masks; groups and pictures made from others are never a pair."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.dataset.layouts.roles import UNKNOWN, Role, tell_roles

WORDS = st.sampled_from(
    [
        *(
            "",
            "img",
            "Image",
            "mask",
            "label",
            "gt",
            "seg",
            "overlay",
            "pred",
            "slide_1",
            "slide2",
            "train",
            "val",
        ),
        *(
            "foo",
            "color",
            "norm",
            "HE",
            "contours",
            "7",
            "test/img",
            "unmasked",
            "日本",
            "é",
            "binary_mask",
            "inst",
        ),
    ]
)


@pytest.mark.parametrize(
    ("first", "second", "image_first"),
    [
        ("Tissue_Images/", "Binary_masks/", True),
        ("Groundtruth", "raw", False),
        ("label_image", "image", False),
        ("", "_maskOverlay", None),
        ("_pred", "_mask", None),
        ("slide_1", "slide_2", None),
        ("slide_1_image", "slide_2_mask", None),
        ("unmasked", "masked", None),
        ("mask", "label", None),
    ],
)
def test_words_tell_image_and_mask(first: str, second: str, image_first: bool | None) -> None:
    role = tell_roles(first, ".png", second, ".png")
    assert (None if role is None else role.image_first) is image_first


def test_where_no_word_tells_only_the_pictures_can() -> None:
    role = tell_roles("foo", ".png", "bar", ".png")
    assert role is not None
    assert role.told_by == "nothing"


def test_an_image_cannot_be_a_gif() -> None:
    for first, second in (("a", "b"), ("b", "a"), ("", "")):
        role = tell_roles(first, ".gif", second, ".png")
        assert role == Role(image_first=False, weight=UNKNOWN, told_by="nothing")
    assert tell_roles("image", ".png", "mask", ".gif") is not None
    assert tell_roles("image", ".gif", "mask", ".png") is None


@settings(max_examples=100, deadline=None)
@given(WORDS, st.sampled_from([".png", ".jpg", ".tif", ".gif"]), WORDS, st.sampled_from([".png", ".jpg", ".tif"]))
def test_the_order_of_the_two_files_changes_nothing(
    first: str, first_suffix: str, second: str, second_suffix: str
) -> None:
    here = tell_roles(first, first_suffix, second, second_suffix)
    there = tell_roles(second, second_suffix, first, first_suffix)
    if here is None or there is None:
        assert here is there
    elif first != second or here.told_by != "nothing":
        assert here == Role(image_first=not there.image_first, weight=there.weight, told_by=there.told_by)
        assert 0 < here.weight <= 1
        assert here.weight <= UNKNOWN or here.told_by != "nothing"


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (("", "_mask"), ("", "_binary")),
        (("", "_labels"), ("", "_instances")),
        (("", "_gt"), ("", "_contours")),
        (("", "_mask"), ("_normalized", "_mask")),
        (("img", "mask"), ("img", "colour_mask")),
        (("", "_mask"), ("", "_mask_old")),
    ],
)
def test_words_weigh_by_how_surely_they_mean_the_mask_to_train_with(
    better: tuple[str, str], worse: tuple[str, str]
) -> None:
    one, other = (tell_roles(image, ".png", mask, ".png") for image, mask in (better, worse))
    assert one is not None
    assert other is not None
    assert one.image_first
    assert other.image_first
    assert one.weight > other.weight > 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("train/img", "val/mask"),
        ("patient_1/img", "patient_2/mask"),
        ("img_1", "mask_2"),
        ("", "_heatmap"),
        ("img", "Vorhersage"),
        ("epoch_img", "mask"),
    ],
)
def test_splits_patients_and_pictures_made_from_others_are_no_pair(first: str, second: str) -> None:
    assert tell_roles(first, ".png", second, ".png") is None


def test_a_lossy_file_beside_a_lossless_one_is_the_image() -> None:
    role = tell_roles("", ".png", "", ".JPG".lower())
    assert role is not None
    assert (role.image_first, role.told_by) == (False, "suffix")


def test_folders_that_are_numbered_to_order_them_are_one_group() -> None:
    role = tell_roles("1_images/", ".png", "2_masks/", ".png")
    assert role is not None
    assert (role.image_first, role.told_by, role.weight) == (True, "mask", 1.0)
