"""Pairing loses no file, whatever the names: one row per sample, and all files that compete are named."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.dataset.layouts import Layout, Pairing, pair, pair_rows
from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

SUFFIX = Layout(kind="suffix")
FOLDERS = Layout(kind="folders")
TOKEN = Layout(kind="pattern", image_pattern="{key}_image_{key}.png", mask_pattern="{key}_label_{key}.png")
LAYOUTS = [
    SUFFIX,
    FOLDERS,
    TOKEN,
    Layout(kind="suffix", mask_suffix="-GT"),
    Layout(kind="folders", images_dir="train/images", masks_dir="train/masks"),
    Layout(kind="folders", images_dir="images", masks_dir="images/masks"),
    Layout(kind="pattern", mask_pattern="{key}_mask"),
    Layout(kind="pattern", image_pattern="images/{key}.JPG", mask_pattern="masks/{key}.png"),
    Layout(kind="pattern", image_pattern="{key}x{key}", mask_pattern="{key}m{key}"),
]
quick = settings(max_examples=50, deadline=None)

# Few parts, so that generated names pair, collide and look like each other.
folders = st.sampled_from(["images", "masks", "train", "Ünter Ordner", "v1.0", "images.old"])
stems = st.sampled_from(["x", "X", "y", "é ñ", "x\ny", ".hidden", "x.", "a.tiff-b_79", "_mask"]) | st.sampled_from(
    [
        "x_mask",
        "x_mask_mask",
        "y_mask",
        "a.tiff-b_79_mask",
        "x-GT",
        "x_overlay",
        "y_overlay",
        "1_image_1",
        "1_label_1",
    ]
)
suffixes = st.sampled_from([".jpg", ".JPG", ".png", ".PNG", ".tif", ".webp", ".txt", ""])
names_of_files = st.builds(
    "{}{}{}".format, st.lists(folders.map("{}/".format), max_size=3).map("".join), stems, suffixes
)
paths = st.lists(names_of_files, unique=True, max_size=25)
layouts = st.sampled_from(LAYOUTS)


def samples_of(pairing: Pairing) -> list[tuple[str | None, ...]]:
    return pairing.samples.select("key", "image_path", "mask_path").rows()


def paired_by(names: Sequence[str], layout: Layout) -> set[tuple[str, str]]:
    rows = pair(names, layout).samples.select("image_path", "mask_path").drop_nulls().rows()
    return {(image, mask) for image, mask in rows}


def files_of(pairing: Pairing) -> list[str]:
    return [*pairing.samples["image_path"].drop_nulls(), *pairing.samples["mask_path"].drop_nulls()]


@quick
@given(layout=layouts, names=paths, data=st.data())
def test_every_file_is_an_image_or_a_mask_or_counted_exactly_once(
    layout: Layout, names: list[str], data: st.DataObject
) -> None:
    designed = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    pairing = pair(names, layout, designed)
    used = files_of(pairing)
    assert len(used) == len(set(used))
    assert set(used) <= set(names)
    assert len(used) + sum(pairing.other.values()) == len(names)
    assert pairing.samples["key"].null_count() == 0


@quick
@given(layout=layouts, names=paths, seed=st.randoms(use_true_random=False))
def test_the_order_of_the_files_changes_nothing(layout: Layout, names: list[str], seed: Random) -> None:
    shuffled = list(names)
    seed.shuffle(shuffled)
    first, second = pair(names, layout), pair(pl.Series(shuffled, dtype=pl.String), layout)
    assert first.samples.equals(second.samples)
    assert first.other == second.other
    assert first.samples.equals(first.samples.sort("key", "image_path", "mask_path", nulls_last=True))


@quick
@given(names=paths)
def test_the_suffix_layout_pairs_as_a_plain_loop_over_the_names_does(names: list[str]) -> None:
    def split(name: str) -> tuple[str, str]:
        suffix = PurePosixPath(name).suffix
        return name[: len(name) - len(suffix)], suffix.lower()

    pictures = sorted(name for name in names if split(name)[1] in (".jpg", ".png", ".tif", ".webp"))
    masks: dict[str, str] = {}
    keys = {split(name)[0] for name in pictures}

    def is_mask(key: str) -> bool:
        has_own = f"{key}_mask" in keys and key.removesuffix("_mask") not in keys
        return key.endswith("_mask") and not has_own

    for name in pictures:
        key = split(name)[0]
        if is_mask(key):
            masks.setdefault(key.removesuffix("_mask"), name)
    images = [name for name in pictures if not is_mask(split(name)[0])]
    expected: dict[str, tuple[str, str]] = {}
    for name in images:
        key = split(name)[0]
        if key in masks:
            expected.setdefault(key, (name, masks[key]))
    paired = paired_by(names, SUFFIX)
    assert paired >= set(expected.values())
    for image, mask in paired - set(expected.values()):  # they differ in capitals
        assert split(image)[0] + "_mask" != split(mask)[0]
        assert (split(image)[0] + "_mask").lower() == split(mask)[0].lower()


@quick
@given(names=paths)
def test_the_suffix_layout_and_the_pattern_that_says_the_same_agree(names: list[str]) -> None:
    names = [name for name in names if "_mask_mask" not in name]  # a pattern cannot say that x_mask is an image
    as_pattern = Layout(kind="pattern", image_pattern="{key}", mask_pattern="{key}_mask")
    first, second = pair(names, SUFFIX), pair(names, as_pattern)
    assert first.samples.equals(second.samples)
    assert first.other == second.other


@quick
@given(layout=layouts, names=paths)
def test_collisions_are_said_of_all_rows_that_share_a_key_with_an_image(layout: Layout, names: list[str]) -> None:
    samples = pair(names, layout).samples
    shared = samples.filter(pl.len().over("key") > 1, pl.col("image_path").is_not_null().any().over("key"))
    assert shared["collision"].null_count() == 0


KEYS = ["a", "b c", "é.tiff-x_79", "a.b.c", "sub/a", "A"]


@pytest.mark.parametrize(
    ("layout", "image", "mask"),
    [
        (SUFFIX, "{}.JPG", "{}_mask.PNG"),
        (Layout(kind="suffix", mask_suffix=".mask"), "{}.webp", "{}.mask.jpeg"),
        (FOLDERS, "images/{}.jpg", "masks/{}.tiff"),
        (FOLDERS, "train/images/{}.jpg", "train/masks/{}.bmp"),
        (FOLDERS, "images/masks/images/{}.jpg", "images/masks/masks/{}.png"),
        (Layout(kind="folders", images_dir="/i/", masks_dir="i/masks"), "i/{}.png", "i/masks/{}.png"),
        (Layout(kind="folders", images_dir="a/img", masks_dir="b/gt"), "a/img/{}.png", "b/gt/{}.png"),
        (Layout(kind="pattern", mask_pattern="{key}_maskbin.png"), "{}.png", "{}_maskbin.png"),
        (Layout(kind="pattern", mask_pattern="./m/{key}.png"), "{}.png", "m/{}.png"),
        (Layout(kind="pattern", image_pattern="i/{key}", mask_pattern="m/{key}"), "i/{}.jpg", "m/{}.tif"),
        (
            Layout(kind="pattern", image_pattern="{key}.tif", mask_pattern="{key}_(1)+.png"),
            "{}.TIF",
            "{}_(1)+.PNG",
        ),
        (TOKEN, "{}_image_{}.png", "{}_label_{}.png"),
    ],
)
def test_names_that_follow_a_layout_pair_completely(layout: Layout, image: str, mask: str) -> None:
    expected = {(image.replace("{}", key), mask.replace("{}", key)) for key in KEYS}
    names = [name for both in expected for name in both]
    pairing = pair(names, layout)
    assert paired_by(names, layout) == expected
    assert pairing.pairs == pairing.images == len(pairing.samples) == len(KEYS)
    assert set(pairing.samples["key"]) == {one[: one.rindex(".")] for one, _ in expected}
    assert pairing.samples["collision"].null_count() == len(KEYS)
    assert pairing.other == {}


def test_orphan_masks_and_images_without_a_mask_have_rows_of_their_own() -> None:
    pairing = pair(["a.jpg", "b_mask.png", "c.jpg", "c_mask.png"], SUFFIX)
    assert samples_of(pairing) == [
        ("a", "a.jpg", None),
        ("b_mask", None, "b_mask.png"),
        ("c", "c.jpg", "c_mask.png"),
    ]
    assert (pairing.pairs, pairing.images) == (1, 2)


def test_keys_differ_by_case() -> None:
    names = ["X.jpg", "x.jpg", "X_mask.png", "x_mask.png"]
    assert paired_by(names, SUFFIX) == {("X.jpg", "X_mask.png"), ("x.jpg", "x_mask.png")}
    assert pair(names, SUFFIX).samples["collision"].null_count() == 2


def test_two_images_of_one_key_collide_and_the_first_takes_the_mask() -> None:
    samples = pair(["x.png", "x.jpg", "x_mask.png", "y.jpg", "y_mask.png"], SUFFIX).samples
    assert samples.select("key", "image_path", "mask_path", "collision", "rivals").rows() == [
        ("x", "x.jpg", "x_mask.png", "x.jpg and x.png share the key x", None),
        ("x", "x.png", None, "x.jpg and x.png share the key x", None),
        ("y", "y.jpg", "y_mask.png", None, None),
    ]


def test_two_masks_of_one_image_collide_and_none_of_them_is_lost() -> None:
    text = "x_mask.png and x_mask.tif are masks of the one image x.jpg"
    samples = pair(["x.jpg", "x_mask.tif", "x_mask.png"], SUFFIX).samples
    assert samples.select("key", "image_path", "mask_path", "collision", "rivals").rows() == [
        ("x", "x.jpg", "x_mask.png", None, text),
        ("x_mask", None, "x_mask.tif", None, text),
    ]


def test_two_images_and_two_masks_of_one_key_say_both() -> None:
    samples = pair(["x.jpg", "x.png", "x_mask.tif", "x_mask.png"], SUFFIX).samples
    masks = "x_mask.png and x_mask.tif are masks of the one image x.jpg"
    images = "x.jpg and x.png share the key x"
    assert samples.select("collision", "rivals").rows() == [(images, masks), (images, masks), (None, masks)]


def test_masks_without_an_image_are_orphans_even_where_they_share_a_key() -> None:
    samples = pair(["x_mask.png", "x_mask.tif"], SUFFIX).samples
    assert samples["collision"].null_count() == 2


def test_images_without_masks_by_design_never_take_a_mask_but_may_collide() -> None:
    names = ["free/x.jpg", "free/x_mask.png", "free/notes.txt", "y.jpg"]
    pairing = pair(names, SUFFIX, ["free/x.jpg", "free/notes.txt", "../out/z.jpg"])
    assert pairing.samples.select("key", "image_path", "mask_path", "by_design").rows() == [
        ("../out/z", "../out/z.jpg", None, True),
        ("free/x", "free/x.jpg", None, True),
        ("free/x_mask", None, "free/x_mask.png", False),
        ("y", "y.jpg", None, False),
    ]
    assert pairing.other == {".txt": 1}
    assert pairing.images == 1
    both = pair(["free/x.jpg", "free/x.png"], SUFFIX, ["free/x.jpg", "free/x.png", "free/x.jpg"])
    assert both.samples["collision"].to_list() == ["free/x.jpg and free/x.png share the key free/x"] * 2


def outside_of(pairing: Pairing) -> set[str]:
    paths = pairing.samples.filter("outside").select(pl.coalesce("image_path", "mask_path")).to_series()
    return set(paths)


def test_pictures_beside_the_layout_are_rows_of_their_own_and_other_files_are_counted() -> None:
    names = ["images/1.jpg", "masks/1.png", "masks/1.webp", "overlays/1.png", "overlays/2.PNG", "loose.png"]
    names += [
        "train/images/2.jpg",
        "train/masks/2.png",
        "train/overlays/a/2.png",
        "README",
        "notes.TXT",
        ".ignore",
    ]
    pairing = pair(names, FOLDERS)
    beside = {"overlays/1.png", "overlays/2.PNG", "loose.png", "train/overlays/a/2.png"}
    assert beside <= outside_of(pairing)
    assert pairing.other == {"(no suffix)": 2, ".txt": 1}
    assert pairing.pairs == pairing.images == 2


@quick
@given(layout=layouts, names=paths)
def test_a_picture_outside_the_layout_never_takes_the_key_of_another_sample(
    layout: Layout, names: list[str]
) -> None:
    samples = pair(names, layout).samples
    outside = samples.filter(pl.col("outside") & pl.col("mask_path").is_null())["key"]
    inside = samples.filter(~pl.col("outside"))["key"]
    assert not set(outside) & set(inside)
    assert outside.n_unique() == len(outside)


def test_a_pattern_with_a_suffix_names_only_files_of_that_suffix() -> None:
    layout = Layout(kind="pattern", image_pattern="{key}.tif", mask_pattern="{key}_m.png")
    pairing = pair(["a.tif", "a.tiff", "b.jpg", "a_m.png", "a_m.tif"], layout)
    inside = pairing.samples.filter(~pl.col("outside"))
    assert inside["image_path"].to_list() == ["a.tif", "a_m.tif"]
    assert outside_of(pairing) == {"a.tiff", "b.jpg"}


def test_what_cannot_be_paired_by_name_is_refused_in_one_line() -> None:
    with pytest.raises(HistodsError, match=r"^The layout csv does not pair by name; .*--pairs\.$"):
        pair([], Layout(kind="csv"))
    with pytest.raises(HistodsError, match=r"^The file name 'a\\udcff.jpg' is not UTF-8; rename the file\.$"):
        pair(["a\udcff.jpg"], SUFFIX)


def rows_of(*rows: tuple[str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"image": pl.String, "mask": pl.String}, orient="row")


def test_rows_pair_as_they_say_and_other_files_are_counted() -> None:
    rows = rows_of(("b/1.jpg", "m/9.png"), ("a.v1.jpg", None), ("gone.jpg", "gone.png"), ("n/2.jpg", None))
    names = ["b/1.jpg", "m/9.png", "a.v1.jpg", "m/8.png", "pairs.csv", "n/2.jpg", "n/3.jpg", "n/3.txt"]
    pairing = pair_rows(rows, names, ["n/2.jpg", "n/3.jpg", "n/3.txt"])
    assert pairing.samples.select("key", "image_path", "mask_path", "by_design").rows() == [
        ("a.v1", "a.v1.jpg", None, True),
        ("b/1", "b/1.jpg", "m/9.png", False),
        ("gone", "gone.jpg", "gone.png", False),
        ("m/8", "m/8.png", None, False),
        ("n/2", "n/2.jpg", None, True),
        ("n/3", "n/3.jpg", None, True),
    ]
    assert outside_of(pairing) == {"m/8.png"}
    assert pairing.other == {".csv": 1, ".txt": 1}


def test_rows_of_one_key_collide() -> None:
    samples = pair_rows(rows_of(("x.jpg", "m1.png"), ("x.png", "m2.png")), []).samples
    assert samples["collision"].to_list() == ["x.jpg and x.png share the key x"] * 2


@quick
@given(names=paths, data=st.data())
def test_no_file_is_lost_beside_rows(names: list[str], data: st.DataObject) -> None:
    images = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    masks = [name for name in names if name not in images]
    rows = rows_of(*((image, masks[place] if place < len(masks) else None) for place, image in enumerate(images)))
    pairing = pair_rows(rows, names)
    assert len(files_of(pairing)) + sum(pairing.other.values()) == len(names)
