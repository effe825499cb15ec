"""The role and the link that a layout gives a file by its name alone."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.dataset.layouts.names import Layout, layout_of, list_files, name_roles, suffix_of, without_suffix
from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


def roles_of(names: Sequence[str], layout: Layout) -> dict[str, tuple[str | None, str | None]]:
    named = name_roles(list_files(names), layout)
    return {path: (role, link) for path, role, link in named.select("path", "role", "link").iter_rows()}


def pairs_of(names: Sequence[str], layout: Layout) -> set[tuple[str, str]]:
    roles = roles_of(names, layout)
    images = {link: path for path, (role, link) in roles.items() if role == "image"}
    return {(images[link], path) for path, (role, link) in roles.items() if role == "mask" and link in images}


def test_a_plain_name_has_its_key_and_the_suffix_in_lower_case() -> None:
    names = ["a/b.v1.JPG", ".hidden", "a/.hidden.png", "README", "x.", "日本.Tif", "a.b/c"]
    assert list_files(names).rows() == [
        ("a/b.v1.JPG", "a/b.v1", ".jpg"),
        (".hidden", ".hidden", ""),
        ("a/.hidden.png", "a/.hidden", ".png"),
        ("README", "README", ""),
        ("x.", "x.", ""),
        ("日本.Tif", "日本", ".tif"),
        ("a.b/c", "a.b/c", ""),
    ]
    assert list_files([]).is_empty()


@settings(max_examples=80, deadline=None)
@given(TEXT)
def test_a_path_is_its_key_and_its_suffix(path: str) -> None:
    both = pl.DataFrame({"path": [path]}).select(
        key=without_suffix(pl.col("path")), suffix=suffix_of(pl.col("path"))
    )
    key, suffix = both.row(0)
    assert key + suffix == path
    assert suffix == "" or (suffix[0] == "." and len(suffix) > 1 and not {".", "/"} & set(suffix[1:]))


@pytest.mark.parametrize("suffix", ["_mask", "_segMask", "-GT", " (labels)", "_maß", "_Mäsk", ".m+", "_маска"])
def test_the_addition_to_a_masks_name_counts_in_any_case_and_encoding(suffix: str) -> None:
    layout = Layout(kind="suffix", mask_suffix=suffix)
    spellings = {suffix, suffix.lower(), suffix.swapcase() if len(suffix.swapcase()) == len(suffix) else suffix}
    spellings |= {unicodedata.normalize(form, one) for form in ("NFC", "NFD") for one in tuple(spellings)}
    for spelling in spellings:
        assert pairs_of(["a/x.jpg", f"a/x{spelling}.png"], layout) == {("a/x.jpg", f"a/x{spelling}.png")}
    assert roles_of([f"{suffix}x.png"], layout) == {f"{suffix}x.png": ("image", f"{suffix}x")}


def test_a_picture_that_is_named_as_a_mask_is_an_image_if_it_has_a_mask_of_its_own() -> None:
    layout = Layout(kind="suffix")
    assert pairs_of(["x_mask.jpg", "x_mask_MASK.png"], layout) == {("x_mask.jpg", "x_mask_MASK.png")}
    assert pairs_of(["x.jpg", "x_mask.jpg", "x_mask_mask.png"], layout) == {("x.jpg", "x_mask.jpg")}


def test_the_innermost_folder_decides() -> None:
    layout = Layout(kind="folders", images_dir="images", masks_dir="images/masks")
    assert roles_of(["images/a.jpg", "images/masks/a.png", "images/masks/images/b.jpg", "c.jpg"], layout) == {
        "images/a.jpg": ("image", "\0a"),
        "images/masks/a.png": ("mask", "\0a"),
        "images/masks/images/b.jpg": ("image", "images/masks/\0b"),
        "c.jpg": (None, None),
    }
    dotted = Layout(kind="folders", images_dir="im.g", masks_dir="m(a)sk")
    assert pairs_of(["im.g/a.jpg", "m(a)sk/a.png", "imxg/b.jpg", "mask/b.png"], dotted) == {
        ("im.g/a.jpg", "m(a)sk/a.png")
    }


def test_the_pattern_with_more_literal_characters_wins() -> None:
    layout = Layout(kind="pattern", image_pattern="{key}.png", mask_pattern="{key}_maskbin.png")
    assert pairs_of(["x.png", "x_maskbin.png"], layout) == {("x.png", "x_maskbin.png")}
    layout = Layout(kind="pattern", image_pattern="{key}_image.png", mask_pattern="{key}.png")
    assert pairs_of(["x.png", "x_image.png"], layout) == {("x_image.png", "x.png")}


def test_each_piece_of_a_pattern_must_be_equal_in_order() -> None:
    names = ["a_image_1.png", "a_label_1.png", "a_image_2.png", "1_label_a.png"]
    layout = Layout(kind="pattern", image_pattern="{key}_image_{key}.png", mask_pattern="{key}_label_{key}.png")
    assert pairs_of(names, layout) == {("a_image_1.png", "a_label_1.png")}


def test_files_that_pair_by_an_alternative_are_done_and_the_others_go_on() -> None:
    layout = layout_of([("a/{key}", "m/{key}"), ("{key}", "{key}_m")])
    names = ["a/1.jpg", "m/1.png", "a/2.jpg", "a/2_m.png", "3.jpg", "3_m.png", "m/4.png"]
    assert pairs_of(names, layout) == {("a/1.jpg", "m/1.png"), ("a/2.jpg", "a/2_m.png"), ("3.jpg", "3_m.png")}
    assert roles_of(names, layout)["m/4.png"][0] == "mask"


@pytest.mark.parametrize("kind", ["suffix", "folders"])
def test_the_patterns_of_a_plain_layout_give_the_same_pairs(kind: str) -> None:
    layout = Layout(kind=kind)  # type: ignore[arg-type]
    names = ["x.jpg", "x_mask.png", "images/y.jpg", "masks/y.png", "s/images/z.tif", "s/masks/z.png"]
    assert pairs_of(names, layout) == pairs_of(names, layout_of(layout.patterns())) != set()


def test_patterns_of_a_layout_come_back() -> None:
    for patterns in ([("a/{key}", "b/{key}")], [("{key}", "{key}_m"), ("{key}", "m/{key}")]):
        assert layout_of(patterns).patterns() == patterns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": "suffix", "mask_suffix": ""},
            "--mask-suffix '' is not what a mask's name adds to its image's, such as _mask; give "
            "it without folder and without file suffix.",
        ),
        (
            {"kind": "suffix", "mask_suffix": "_mask.PNG"},
            "--mask-suffix '_mask.PNG' is not what a mask's name adds to its image's, such as "
            "_mask; give it without folder and without file suffix.",
        ),
        (
            {"kind": "folders", "images_dir": "data/", "masks_dir": "/data"},
            "--images-dir 'data/' and --masks-dir '/data' cannot tell images from masks; give two "
            "different folder names.",
        ),
        (
            {"kind": "folders", "masks_dir": "/"},
            "--images-dir 'images' and --masks-dir '/' cannot tell images from masks; give two "
            "different folder names.",
        ),
        (
            {"kind": "pattern", "image_pattern": "img_{key}.png"},
            "There is no pattern for masks; give one, such as --mask-pattern '{key}_mask.png'.",
        ),
        (
            {"kind": "pattern", "mask_pattern": "masks/x.png"},
            "--mask-pattern 'masks/x.png' is not a path below the dataset with {key} where names "
            "vary; give one such as 'masks/{key}.png'.",
        ),
        (
            {"kind": "pattern", "image_pattern": "/data/{key}.png", "mask_pattern": "{key}_m.png"},
            "--image-pattern '/data/{key}.png' is not a path below the dataset with {key} where "
            "names vary; give one such as 'masks/{key}.png'.",
        ),
        (
            {"kind": "pattern", "mask_pattern": "{key}{key}_m.png"},
            "--mask-pattern '{key}{key}_m.png' is not a path below the dataset with {key} where "
            "names vary; give one such as 'masks/{key}.png'.",
        ),
        (
            {"kind": "pattern", "mask_pattern": "{key}_label_{key}.png"},
            "The patterns '{key}' and '{key}_label_{key}.png' do not have equally many {key}; give "
            "--image-pattern and --mask-pattern that name the same pieces.",
        ),
        (
            {"kind": "pattern", "image_pattern": "{key}.png", "mask_pattern": "./{key}.PNG"},
            "'./{key}.PNG' is the pattern of both images and masks; give --mask-pattern what only masks have.",
        ),
        (
            {"kind": "pattern", "image_pattern": "{key}.gif", "mask_pattern": "{key}_m.gif"},
            "--image-pattern '{key}.gif' ends in none of jpg, jpeg, png, tif, tiff, bmp, webp; "
            "convert the images to PNG.",
        ),
        (
            {"kind": "pattern", "image_pattern": "a/{key}|b/{key}|c/{key}", "mask_pattern": "m/{key}|n/{key}"},
            "'a/{key}|b/{key}|c/{key}' has 3 patterns for images, but 'm/{key}|n/{key}' has 2 for "
            "masks; give as many for masks as for images, with | between them.",
        ),
    ],
)
def test_a_layout_that_cannot_pair_is_refused_in_one_line(options: dict[str, str], message: str) -> None:
    with pytest.raises(HistodsError) as refused:
        Layout(**options)  # type: ignore[arg-type]
    assert str(refused.value) == message


def test_a_name_that_is_not_text_is_refused() -> None:
    with pytest.raises(HistodsError, match=r"^The file name 'a\\udcff.jpg' is not UTF-8; rename the file\.$"):
        list_files(["b.jpg", "a\udcff.jpg"])
