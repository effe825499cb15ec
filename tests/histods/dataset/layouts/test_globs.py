"""Folders that differ from pair to pair: named where they are few, `*` where they are many."""

from __future__ import annotations

from histods.dataset.layouts.cuts import ANY_FOLDERS
from histods.dataset.layouts.globs import name_folders

IMAGES = f"{ANY_FOLDERS}{{key}}.png"
MASKS = "masks/{key}.png"


def texts(
    folders: list[str], others: tuple[str, ...] = (), patterns: tuple[str, str] = (IMAGES, MASKS)
) -> list[str]:
    """What stands in the patterns of images, for images in these folders and other pictures in those."""
    images = [f"{folder}x{number}" for number, folder in enumerate(folders)]
    masks = [f"masks/x{number}" for number, _ in enumerate(folders)]
    keys = [*images, *masks, *(f"{folder}y" for folder in others)]
    return [image.removesuffix("{key}.png") for image, _ in name_folders(patterns, images, masks, keys)]


def test_one_folder_is_named() -> None:
    assert texts(["images/"]) == ["images/"]


def test_what_folders_begin_and_end_with_stays_around_the_star() -> None:
    assert texts([f"patient{number}_he/" for number in range(12)]) == ["patient*_he/"]


def test_digits_beside_the_star_belong_to_it() -> None:
    assert texts([f"p10{number}/" for number in range(9)]) == ["p*/"]
    assert texts([f"{number}05_he/" for number in range(1, 9)]) == ["*_he/"]


def test_few_folders_are_named_where_a_star_would_stand_for_others_too() -> None:
    assert texts(["a1/", "a2/"], others=("a3/",)) == ["a1/", "a2/"]
    assert texts(["a1/", "a2/"], others=("b/",)) == ["a*/"]


def test_many_folders_have_a_star_even_where_it_stands_for_others() -> None:
    assert texts([f"a{number}/" for number in range(5)], others=("a9/",)) == ["a*/"]


def test_each_depth_has_a_text_of_its_own() -> None:
    assert texts(["", "a1/", "a2/", "c/d/"]) == ["", "a*/", "c/d/"]


def test_a_sign_that_means_something_in_patterns_becomes_a_star() -> None:
    assert texts(["a|b/"]) == ["a*b/"]


def test_folders_of_masks_are_named_as_well() -> None:
    named = name_folders(("{key}.png", f"{ANY_FOLDERS}{{key}}.png"), ["x1", "x2"], ["m1/x1", "m2/x2"], [])
    assert named == (("{key}.png", "m*/{key}.png"),)
