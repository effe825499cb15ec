"""The layout that is chosen: the plain ones first, a clear pattern next, and in doubt only proposals."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Literal

import pytest

from histods.dataset.layouts import Choice, Layout, Suggestion, choose_layout, pair, suggest
from tests.histods.dataset.layouts.made_names import KEYS, each, found, patterns_of, proposed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Look = Callable[[str], Literal["photograph", "mask"] | None]


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


def test_folder_names_may_be_given_with_slashes() -> None:
    names = each("d/img/*.png", "d/gt/*.png")
    layout = choose_layout(names, mask_suffix="_mask", images_dir="/img/", masks_dir="gt/").layout
    assert layout.kind == "folders"
    assert pair(names, layout).pairs == len(KEYS)


def choose(names: Sequence[str], look: Look) -> Choice:
    return choose_layout(names, mask_suffix="_mask", images_dir="images", masks_dir="masks", look=look)


def test_pictures_decide_where_words_do_not() -> None:
    names = each("A/*.png", "B/*.png")
    layout = choose(names, lambda path: "mask" if path.startswith("A/") else "photograph").layout
    assert patterns_of(layout) == ("B/{key}.png", "A/{key}.png")
    for looks in (lambda _: "mask", lambda _: "photograph", lambda _: None):
        assert choose(names, looks).layout.kind == "suffix"


def test_pictures_that_contradict_the_words_win() -> None:
    names = each("imgs/*.png", "x/*.png")
    assert proposed(names) is not None
    nothing = choose(names, lambda path: "mask" if path.startswith("imgs/") else "photograph")
    assert nothing == Choice(layout=Layout(kind="suffix"))


def test_a_gif_is_never_taken_for_the_image_whatever_it_looks_like() -> None:
    for images, masks in (("A", "B"), ("B", "A")):
        names = each(f"{images}/*.png", f"{masks}/*.gif")
        layout = choose(names, lambda path: "mask" if path.endswith("gif") else "photograph").layout
        assert patterns_of(layout) == (f"{images}/{{key}}.png", f"{masks}/{{key}}.gif")
        assert choose(names, lambda path: "photograph" if path.endswith("gif") else "mask").layout.kind == "suffix"


def test_few_pictures_are_looked_at() -> None:
    looked: set[str] = set()

    def look(path: str) -> Literal["photograph", "mask"]:
        looked.add(path)
        return "mask" if "label" in path else "photograph"

    names = each("imgs/*.png", "labels/*.png", keys=[f"{number:05d}" for number in range(3000)])
    assert pair(names, choose(names, look).layout).pairs == 3000
    assert len(looked) <= 24


def test_no_picture_is_looked_at_where_the_plain_layout_pairs_half() -> None:
    def look(path: str) -> None:
        raise AssertionError(path)

    assert choose(each("*.jpg", "*_mask.png"), look).layout.kind == "suffix"


def test_proposed_options_can_be_pasted_into_a_shell() -> None:
    suggestion = Suggestion(image_pattern="my imgs/{key}.png", mask_pattern="a|'b'/{key}", pairs=1, of=2)
    assert shlex.split(suggestion.options) == [
        *("--image-pattern", suggestion.image_pattern),
        *("--mask-pattern", suggestion.mask_pattern),
    ]


def test_all_equally_good_patterns_are_proposed() -> None:
    names = each("imgs/*.png", "labels/*.png", "segs/*.png")
    proposals = suggest(names, pair(names, Layout(kind="suffix")))
    assert {one.mask_pattern for one in proposals} == {"labels/{key}.png", "segs/{key}.png"}
    assert {one.image_pattern for one in proposals} == {"imgs/{key}.png"}
    assert {(one.pairs, one.of) for one in proposals} == {(len(KEYS), len(KEYS))}
