"""Candidates with the pairs that they make, weighed by what the pictures look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import polars as pl
import pytest

from histods.dataset.layouts.candidates import SURE, Option, find_options, identify, pairs_of
from histods.dataset.layouts.names import Layout, layout_of, list_files
from tests.histods.dataset.layouts.made_names import KEYS, each

if TYPE_CHECKING:
    from collections.abc import Sequence

    Kind = Literal["photograph", "mask"] | None


def options_for(names: Sequence[str], looks: dict[str, Kind] | None = None) -> list[Option]:
    """Options for names; `looks` tells what the pictures in each folder look like."""
    look = None if looks is None else (lambda path: looks.get(path.split("/")[0]))
    return find_options(list_files(names), look)


def patterns(option: Option) -> tuple[tuple[str, str], ...]:
    return tuple(option.candidate.patterns)


def test_only_links_that_one_image_and_one_mask_have_are_pairs() -> None:
    names = ["a.jpg", "a_mask.png", "b.jpg", "b.tif", "b_mask.png", "c.jpg", "c_mask.png", "c_mask.tif", "d.jpg"]
    pairs, images, masks = pairs_of(list_files(names), Layout(kind="suffix"))
    assert pairs.select("image", "mask").rows() == [("a.jpg", "a_mask.png")]
    assert (images, masks) == (5, 4)


def test_alternatives_of_a_pattern_pair_together() -> None:
    layout = layout_of([("i/{key}", "m/{key}"), ("j/{key}", "n/{key}")])
    pairs, images, masks = pairs_of(list_files(["i/1.jpg", "m/1.png", "j/1.jpg", "n/1.png"]), layout)
    assert sorted(pairs.select("image", "mask").rows()) == [("i/1.jpg", "m/1.png"), ("j/1.jpg", "n/1.png")]
    assert (images, masks) == (2, 2)


def test_two_masks_of_one_patch_are_one_identity_and_equal_names_elsewhere_are_others() -> None:
    def identity(link: str, image: str, mask: str) -> str:
        (name,) = identify(pl.DataFrame({"link": [link], "image": [image], "mask": [mask]}))
        return name

    first = identity("s/x", "s/img/x.png", "s/gt/x.png")
    assert first == identity("s/X", "s/img/X.png", "s/gt/X_seg.png")
    assert first == identity("s\0x", "s/norm/x.png", "s/gt/x.png")
    assert first != identity("t/x", "t/img/x.png", "t/gt/x.png")
    assert identity("x", "train/x.png", "gt/x.png") != identity("x", "val/x.png", "gt/x.png")


def test_pairs_of_one_identity_stay_apart_in_a_table() -> None:
    table = pl.DataFrame({"link": ["x", "X"], "image": ["x.jpg", "X.jpg"], "mask": ["x_m.png", "X_m.png"]})
    assert sorted(identify(table).values()) == [("X.jpg", "X_m.png"), ("x.jpg", "x_m.png")]


def test_words_alone_make_a_clear_candidate_sure() -> None:
    best = options_for(each("imgs/*.jpg", "labels/*.png"))[0]
    assert patterns(best) == (("imgs/{key}.jpg", "labels/{key}.png"),)
    assert best.is_sure()
    assert best.merit == len(KEYS) * best.weight > len(KEYS) * SURE
    assert options_for(["imgs/a.jpg", "labels/a.png"]) == []  # one pair proves nothing
    assert options_for([]) == []


def test_an_option_that_pairs_less_than_half_is_not_sure() -> None:
    for masks, is_sure in ((5, True), (4, False)):
        names = each("imgs/*.jpg") + each("labels/*.png", keys=KEYS[:masks])
        names += each("labels/*.png", keys=["1", "2", "3", "4", "5", "6"])
        best = options_for(names)[0]
        assert (len(best.pairs), best.images, best.masks) == (masks, 10, masks + 6)
        assert best.is_sure() == is_sure


def test_taken_files_take_their_pairs_along() -> None:
    best = options_for(each("imgs/*.jpg", "labels/*.png"))[0]
    image, mask = next(iter(best.pairs.values()))
    for taken in ({image}, {mask}, {next(iter(best.pairs))}):
        left = best.without(taken)
        assert len(left.pairs) == len(best.pairs) - 1
        assert (image, mask) not in left.pairs.values()
    assert best.without({"other"}).pairs == best.pairs


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("photograph", "mask", ("A/{key}.png", "B/{key}.png")),
        ("mask", "photograph", ("B/{key}.png", "A/{key}.png")),
        ("mask", "mask", None),
        ("photograph", None, None),
    ],
)
def test_names_without_words_are_told_by_the_pictures(
    first: Kind, second: Kind, expected: tuple[str, str] | None
) -> None:
    names = each("A/*.png", "B/*.png")
    assert options_for(names) == []
    found = options_for(names, {"A": first, "B": second})
    assert [patterns(option) for option in found[:1]] == ([] if expected is None else [(expected,)])
    for option in found:
        assert all(image.startswith(expected[0][0]) for image, _ in option.pairs.values()) if expected else False


def test_pictures_confirm_or_contradict_the_words() -> None:
    names = each("imgs/*.png", "labels/*.png")
    plain = options_for(names)[0].weight
    assert options_for(names, {"imgs": "photograph", "labels": "mask"})[0].weight >= plain
    assert options_for(names, {"imgs": "photograph", "labels": "photograph"})[0].weight < plain
    assert options_for(names, {"imgs": "mask", "labels": "mask"}) == []
