from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.dataset.layouts import Layout, choose_layout, pair, suggest
from histods.dataset.layouts.file_sample import gather
from histods.dataset.layouts.names import IS_PICTURE, list_files
from histods.dataset.layouts.roles import tell_roles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from histods.dataset.layouts import Suggestion

KEYS = [f"{organ}{place:02d}" for organ in ("case", "kidney_b") for place in range(5)]
CITIES = [
    f"{split}/{city}/{city}_{place}" for split in ("train", "val") for city in ("ulm", "bonn") for place in (1, 2)
]
CASES = [(case, place) for case in range(3) for place in range(4)]


def found(names: Sequence[str], unconditional: Sequence[str] = ()) -> Layout:
    choice = choose_layout(
        names, mask_suffix="_mask", images_dir="images", masks_dir="masks", unconditional=unconditional
    )
    return choice.layout


def proposed(names: Sequence[str], layout: Layout | None = None) -> Suggestion | None:
    suggestions = suggest(names, pair(names, layout or Layout(kind="suffix")))
    return suggestions[0] if suggestions else None


def patterns_of(choice: Layout | Suggestion | None) -> tuple[str | None, str | None]:
    assert choice is not None
    return choice.image_pattern, choice.mask_pattern


def each(*names: str, keys: Sequence[str] = KEYS) -> list[str]:
    return [name.replace("*", key) for key in keys for name in names]


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


def test_the_two_plain_layouts_come_first() -> None:
    by_suffix, by_folders = each("*.jpg", "*_mask.png"), each("d/images/*.jpg", "d/masks/*.png")
    assert found(by_suffix).kind == "suffix"
    assert found(by_folders).kind == "folders"
    assert found([*by_suffix, *each("*_gt.png")]).kind == "suffix"
    assert found([*by_folders, *each("d/labels/*.png")]).kind == "folders"


ACCIDENTS = {
    "one pair by suffix": ["x.jpg", "x_mask.png"],
    "one pair by folders": ["images/x.jpg", "masks/x.png"],
    "images that are named as masks": ["img_q.png", "img_q_mask.png", "label_q.png", "label_q_mask.png"],
}


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_a_few_plain_pairs_do_not_hide_the_pattern_that_pairs_most(accident: str) -> None:
    names = each("img_*.png", "label_*.png") + ACCIDENTS[accident]
    pairs = pair(names, found(names)).samples.select("image_path", "mask_path").drop_nulls().rows()
    assert {(f"img_{key}.png", f"label_{key}.png") for key in KEYS} <= set(pairs)
    assert 2 * len(pairs) == len(names)


TOGETHER = {
    "two exports": (each("a/*.jpg", "a/*_mask.png"), each("b/images/*.jpg", "b/masks/*.png")),
    "few pairs in folders": (
        each("*.jpg", "*_mask.png", keys=KEYS[4:]),
        each("images/*.jpg", "masks/*.png", keys=KEYS[:4]),
    ),
    "other names in test": (
        each("train/img/*.png", "train/gt/*.png"),
        each("test/image/*.png", "test/label/*.png"),
    ),
    "splits below the kinds": (each("img/a/*.png", "gt/a/*.png"), each("image/b/*.png", "label/b/*.png")),
    "two folders of images": (
        each("HAM_images_1/*.jpg", "HAM_seg/*_seg.png", keys=KEYS[:5]),
        each("HAM_images_2/*.jpg", "HAM_seg/*_seg.png", keys=KEYS[5:]),
    ),
    "a folder per patient": tuple(
        each(f"patients/p{patient:03d}/s{patient}_*.jpg", f"masks/s{patient}_*.png", keys=["1", "2", "3"])
        for patient in range(12)
    ),
}


@pytest.mark.parametrize("case", TOGETHER)
def test_several_layouts_under_one_root_pair_together(case: str) -> None:
    names = [name for part in TOGETHER[case] for name in part]
    pairing = pair(names, found(names))
    assert 2 * pairing.pairs == len(names)
    for row in pairing.samples.iter_rows(named=True):
        assert row["image_path"].rpartition("/")[2].split(".")[0] in row["mask_path"]


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["img_1.png", "label_1.png"],  # one pair proves nothing
        each("*.jpg"),
        each("A/*.png", "B/*.png"),  # no word tells the roles
        each("imgs/*.png", "overlays/*.png"),
        each("*.png", "*_pred.png", "*_heatmap.png"),
        each("overlay/*.png", "labels/*.png"),  # an overlay is no image either
        each("labels/*.png", "masks/*_mask.png"),  # two kinds of masks
        [f"x_{place}.jpg" for place in range(40)],
    ],
)
def test_nothing_is_chosen_or_proposed_without_evidence(names: list[str]) -> None:
    assert found(names).kind == "suffix"
    assert proposed(names) is None


@pytest.mark.parametrize(
    "names",
    [
        each("imgs/*.png", "labels/*.png", "segs/*.png"),  # two kinds of masks pair equally well
        each("*.jpg", "*.png"),  # only the suffix tells
        each("imgs/*.png", "x/*.png"),  # no word says that these are masks
        each("imgs/*.png", "imgs/*.tif", "labels/*.png"),  # images of two formats, each as good
    ],
)
def test_a_doubtful_pattern_is_proposed_but_not_chosen(names: list[str]) -> None:
    assert found(names).kind == "suffix"
    suggestion = proposed(names)
    assert suggestion is not None
    assert suggestion.pairs == len(KEYS)


def test_masks_of_labels_are_proposed_before_those_of_instances_and_colours() -> None:
    masks = each("gt/*_instances.png", "gt/*_labels.png", "gt/*_color.png")
    assert patterns_of(proposed([*each("imgs/*.png"), *masks])) == ("imgs/{key}.png", "gt/{key}_labels.png")
    assert patterns_of(proposed(each("imgs/*.png", "gt/*_color.png"))) == ("imgs/{key}.png", "gt/{key}_color.png")


def test_nothing_is_proposed_where_half_of_the_images_pair_or_as_many_pair_already() -> None:
    paired = each("*.jpg", "*_mask.png")
    assert proposed([*paired, *each("n*.jpg")]) is None
    assert proposed([*paired, *each("img_*.png", "label_*.png")]) is None
    assert proposed([*paired, *each("img_*.png", "label_*.png"), "img_1.png", "label_1.png"]) is not None


def test_images_without_masks_by_design_are_no_evidence() -> None:
    free = [f"free/{place}.jpg" for place in range(30)]
    names = [*each("imgs/*.jpg", "labels/*.png"), *free]
    layout = found(names, free)
    assert patterns_of(layout) == ("imgs/{key}.jpg", "labels/{key}.png")
    pairing = pair(names, Layout(kind="suffix"), free)
    assert patterns_of(suggest(names, pairing)[0]) == patterns_of(layout)
    assert suggest(names, pair(names, layout, free)) == ()


@pytest.mark.parametrize("image", ["img/{0}.png", "s{1}/{0}_image.png", "{1}_image_{0}.png", "{2}.tiff-x_{0}.jpg"])
def test_a_sample_of_many_files_holds_both_files_of_a_pair_or_none(image: str) -> None:
    mask = image.replace("img/", "gt/").replace("image", "label").replace(".jpg", "_gt.png")
    keys = [(place, place % 7, hashlib.sha256(b"%d" % (place % 50)).hexdigest()[:8]) for place in range(1500)]
    pairs = [(image.format(*key), mask.format(*key)) for key in keys]
    names = [name for both in pairs for name in both]
    sample = set(gather(list_files(names).filter(IS_PICTURE))["path"])
    assert 100 < len(sample) <= 2000
    assert all((one in sample) == (other in sample) for one, other in pairs)
    pairing = pair(names, found(names))
    assert set(pairing.samples.select("image_path", "mask_path").rows()) == set(pairs)


def test_a_sample_of_files_without_words_is_still_a_sample() -> None:
    names = pl.Series([f"{'-' * (place % 60)}/{'_' * place}.png" for place in range(1001)])
    assert 0 <= len(gather(list_files(names))) <= 2000


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
    assert tell_roles("image", ".png", "mask", ".gif") is not None
    assert tell_roles("image", ".gif", "mask", ".png") is None


@pytest.mark.parametrize("name", ["*_{key}", "{key}*", "*.tif", "*.webp"])
def test_names_that_look_like_parts_of_a_pattern_are_no_danger(name: str) -> None:
    names = each(f"img/{name}.png", f"{name}_gt.png", f"gt/{name}_gt.png") + each(f"{name}_gt.tif", keys=KEYS[:3])
    assert found(names).kind in ("suffix", "pattern")
    suggestion = proposed(names)
    assert suggestion is None or suggestion.pairs > 1


def test_folder_names_may_be_given_with_slashes() -> None:
    names = each("d/img/*.png", "d/gt/*.png")
    layout = choose_layout(names, mask_suffix="_mask", images_dir="/img/", masks_dir="gt/").layout
    assert layout.kind == "folders"
    assert pair(names, layout).pairs == len(KEYS)
