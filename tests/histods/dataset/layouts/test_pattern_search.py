"""Patterns that pair files whose names follow no plain layout: many conventions, and generated names."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.dataset.layouts import Layout, pair, suggest
from tests.histods.dataset.layouts.made_names import KEYS, each, found, patterns_of, proposed

if TYPE_CHECKING:
    from random import Random


CITIES = [
    f"{split}/{city}/{city}_{place}" for split in ("train", "val") for city in ("ulm", "bonn") for place in (1, 2)
]
CASES = [(case, place) for case in range(3) for place in range(4)]


CONVENTIONS = {
    "folders of two words": (
        each("Tissue_Images/*.tif", "Binary_masks/*.png"),
        "Tissue_Images/{key}.tif",
        "Binary_masks/{key}.png",
    ),
    "a word before": (each("img_*.png", "label_*.png"), "img_{key}.png", "label_{key}.png"),
    "a word behind, beside overlays and text": (
        each("*.png", "*_maskbin.png", "*_overlay.png", "*.txt"),
        "{key}.png",
        "{key}_maskbin.png",
    ),
    "a word in the middle": (
        [f"case{case:02d}_{role}_{place:04d}.png" for case, place in CASES for role in ("image", "label")],
        "{key}_image_{key}.png",
        "{key}_label_{key}.png",
    ),
    "a word in the middle of masks": (
        [f"case{case:02d}_{role}{place:04d}.png" for case, place in CASES for role in ("", "gt_")],
        "{key}_{key}.png",
        "{key}_gt_{key}.png",
    ),
    "folders of another name": (each("imgs/*.jpg", "labels/*.png"), "imgs/{key}.jpg", "labels/{key}.png"),
    "folders below splits": (
        each("train/img/*.png", "train/gt/*.png", "val/img/*.png", "val/gt/*.png"),
        "{key}/img/{key}.png",
        "{key}/gt/{key}.png",
    ),
    "folders and a word behind": (
        each("images/*.jpg", "masks/*_mask.png"),
        "images/{key}.jpg",
        "masks/{key}_mask.png",
    ),
    "a word behind both": (each("*_img.tif", "*_seg.tif"), "{key}_img.tif", "{key}_seg.tif"),
    "numbers as names": (
        each("image/*.png", "annotation/*_anno.bmp", keys=["1", "2", "10", "11"]),
        "image/{key}.png",
        "annotation/{key}_anno.bmp",
    ),
    "folders and words behind both": (
        each(
            "leftImg8bit/*_leftImg8bit.png",
            "gtFine/*_gtFine_labelIds.png",
            "gtFine/*_gtFine_color.png",
            keys=CITIES,
        ),
        "leftImg8bit/{key}_leftImg8bit.png",
        "gtFine/{key}_gtFine_labelIds.png",
    ),
    "a channel behind images": (
        each("imagesTr/*_0000.png", "labelsTr/*.png"),
        "imagesTr/{key}_0000.png",
        "labelsTr/{key}.png",
    ),
    "the split in the folder's name": (
        each("train_images/*.png", "train_labels/*.png", "val_images/*.png", "val_labels/*.png"),
        "{key}_images/{key}.png",
        "{key}_labels/{key}.png",
    ),
    "a folder for each": (each("*/image.png", "*/mask.png"), "{key}/image.png", "{key}/mask.png"),
    "images of several suffixes": (
        [*each("lbl/*.png"), *each("imgs/*.JPG", keys=KEYS[::2]), *each("imgs/*.png", keys=KEYS[1::2])],
        "imgs/{key}",
        "lbl/{key}.png",
    ),
    "capitals": (
        each("Images/*.png", "Annotation/*.png", "Overlay/*.png"),
        "Images/{key}.png",
        "Annotation/{key}.png",
    ),
    "dots, spaces and accents": (
        each("Präparat *.v1.jpg", "Präparat *.v1 label.png"),
        "{key}.jpg",
        "{key} label.png",
    ),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_convention_whose_words_are_clear_is_chosen_by_itself(convention: str) -> None:
    names, image_pattern, mask_pattern = CONVENTIONS[convention]
    layout = found(names)
    pairing = pair(names, layout)
    assert patterns_of(layout) == (image_pattern, mask_pattern)
    assert pairing.pairs == pairing.images
    assert suggest(names, pairing) == ()


@pytest.mark.parametrize("convention", list(CONVENTIONS)[::2])
def test_where_one_mask_is_missing_the_pattern_is_chosen_all_the_same(convention: str) -> None:
    names, image_pattern, mask_pattern = CONVENTIONS[convention]
    complete = pair(names, Layout(kind="pattern", image_pattern=image_pattern, mask_pattern=mask_pattern))
    fewer = sorted(set(names) - {complete.samples["mask_path"].drop_nulls()[-1]})
    layout = found(fewer)
    assert patterns_of(layout) == (image_pattern, mask_pattern)
    assert pair(fewer, layout).pairs == complete.pairs - 1


@pytest.mark.parametrize("convention", list(CONVENTIONS)[3:6])
def test_the_order_of_the_files_changes_neither_choice_nor_proposal(convention: str) -> None:
    names = CONVENTIONS[convention][0]
    assert found(names) == found(names[::-1])
    assert proposed(names[1:]) == proposed(names[:0:-1])


ROLES = [
    ("image", "mask"),
    ("img", "label"),
    ("HE", "GT"),
    ("rgb", "seg"),
    ("orig", "annotation"),
    ("", "manual1"),
]
SHAPES = [
    ("{split}{image}{sep}{name}", "{split}{mask}{sep}{name}"),
    ("{split}{name}{sep}{image}", "{split}{name}{sep}{mask}"),
    ("{split}{name}{sep}{image}{sep}{number}", "{split}{name}{sep}{mask}{sep}{number}"),
    ("{image}_dir/{split}{name}", "{mask}_dir/{split}{name}"),
    ("{split}x{image}/{name}", "{split}x{mask}/{name}{sep}{mask}"),
]


@settings(max_examples=30, deadline=None)
@given(
    roles=st.sampled_from(ROLES),
    shape=st.sampled_from(SHAPES),
    sep=st.sampled_from("_-. "),
    split=st.sampled_from(["", "a/", "a/b c/"]),
    hashed=st.booleans(),
    count=st.integers(3, 12),
    absent=st.sets(st.integers(0, 11), max_size=2),
    shuffle=st.randoms(use_true_random=False),
)
def test_what_is_proposed_pairs_the_promised_number_and_the_right_files(
    roles: tuple[str, str],
    shape: tuple[str, str],
    sep: str,
    split: str,
    hashed: bool,
    count: int,
    absent: set[int],
    shuffle: Random,
) -> None:
    expected = set()
    names = []
    for number in range(count):
        name = hashlib.sha256(b"%d" % number).hexdigest()[:12] if hashed else f"p{number:03d}"
        parts = {
            "name": name,
            "number": number % 3,
            "sep": sep,
            "split": split,
            "image": roles[0],
            "mask": roles[1],
        }
        image, mask = (
            text.format(**parts).replace(sep * 2, sep).replace(f"/{sep}", "/").strip(sep) for text in shape
        )
        names.append(f"{image}.jpg")
        if number not in absent:
            names.append(f"{mask}.png")
            expected.add((f"{image}.jpg", f"{mask}.png"))
    shuffle.shuffle(names)
    layout = found(names)
    suggestion = proposed(names, layout)
    if suggestion is not None:
        layout = Layout(
            kind="pattern", image_pattern=suggestion.image_pattern, mask_pattern=suggestion.mask_pattern
        )
    pairing = pair(names, layout)
    if suggestion is not None:
        assert (suggestion.pairs, suggestion.of) == (pairing.pairs, pairing.images)
    if len(expected) > 1:
        assert set(pairing.samples.select("image_path", "mask_path").drop_nulls().rows()) == expected


@pytest.mark.parametrize("name", ["*_{key}", "{key}*", "*.tif", "*.webp"])
def test_names_that_look_like_parts_of_a_pattern_are_no_danger(name: str) -> None:
    names = each(f"img/{name}.png", f"{name}_gt.png", f"gt/{name}_gt.png") + each(f"{name}_gt.tif", keys=KEYS[:3])
    assert found(names).kind in ("suffix", "pattern")
    suggestion = proposed(names)
    assert suggestion is None or suggestion.pairs > 1
