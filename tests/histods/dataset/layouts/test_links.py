"""Names that look the same to people are joined, but only where one partner is possible."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.dataset.layouts.links import join_loose_links

TEXTS = st.sampled_from(["a", "A", "a1", "a01", "A1", "é", "e\u0301", "É", "7", "07"])
LINKS = st.lists(st.tuples(st.sampled_from(["image", "mask", None]), TEXTS), max_size=12)


def joined(images: list[str], masks: list[str]) -> dict[str, str]:
    """The image of each mask by their links, where it has one."""
    roles = ["image"] * len(images) + ["mask"] * len(masks)
    named = join_loose_links(pl.DataFrame({"role": roles, "link": images + masks}))
    assert named["link"][: len(images)].to_list() == images
    links = named["link"][len(images) :].to_list()
    return {mask: link for mask, link in zip(masks, links, strict=True) if link in images}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("Pr\u00e4parat", unicodedata.normalize("NFD", "Pr\u00e4parat")),
        ("Case1", "case1"),
        ("STRASSE Ä", "strasse ä"),
        ("patch_7", "patch_007"),
        ("s1/x_00", "s01/x_0"),
        ("É_01", "e\u0301_1"),
    ],
)
def test_accents_capitals_and_zeros_are_overlooked(image: str, mask: str) -> None:
    assert joined([image], [mask]) == {mask: image}
    assert joined([mask], [image]) == {image: mask}


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["a", "A"], ["á"]),
        (["X1", "x1"], ["x01"]),
        (["x1"], ["X1", "x01", "X01"]),
        (["a10"], ["a1"]),
        (["1"], ["100"]),
        (["a1b"], ["a_1b"]),
    ],
)
def test_where_two_could_be_meant_none_is(images: list[str], masks: list[str]) -> None:
    assert set(joined(images, masks)) <= {"X1"}  # which differs in capitals alone, the surest of the three


def test_zeros_count_where_pairs_have_them() -> None:
    assert joined(["a01", "a2"], ["a01", "a02"]) == {"a01": "a01"}
    assert joined(["a1", "a2"], ["a01", "a02"]) == {"a01": "a1", "a02": "a2"}


def test_equal_links_are_kept_though_others_look_like_them() -> None:
    assert joined(["x", "X"], ["x"]) == {"x": "x"}
    assert joined(["x", "X"], ["x", "X"]) == {"x": "x", "X": "X"}


@settings(max_examples=50, deadline=None)
@given(LINKS)
def test_only_masks_without_an_image_change_and_never_share_one(files: list[tuple[str | None, str]]) -> None:
    named = pl.DataFrame(files, schema={"role": pl.String, "link": pl.String}, orient="row")
    images = {link for role, link in files if role == "image"}
    after = join_loose_links(named)
    assert after["role"].to_list() == named["role"].to_list()
    taken: dict[str, set[str]] = {}
    for (role, before), link in zip(files, after["link"], strict=True):
        if role != "mask" or before in images:
            assert link == before
        elif link != before:
            assert link in images
            taken.setdefault(link, set()).add(before)
    assert all(len(masks) == 1 for masks in taken.values())
    assert not taken.keys() & {link for role, link in files if role == "mask" and link in images}
