"""Equal images and equal masks: who is named, what is advised, and what is equal by right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from histods.checks import Context, judge_all

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    Table = Callable[..., pl.DataFrame]

DRAWN: dict[str, object] = {"labels": [0, 1, 4], "runs": 60}


def messages(samples: pl.DataFrame, code: str, *, hashed: bool = False) -> dict[str, str]:
    findings = judge_all(samples, Context(hashed=hashed))
    return dict(findings.filter(code=code).select("path", "message").iter_rows())


@pytest.mark.parametrize(
    ("hashed", "images"),
    [(True, "image"), (False, "image file (--hash tells whether the images are equal, too)")],
)
def test_one_mask_under_several_images_is_found(table: Table, hashed: bool, images: str) -> None:
    advice = f", under another {images}; find out whose mask it is, and export the others again"
    samples = table(*({**DRAWN, "mask_digest": digest} for digest in "1213323"))
    assert messages(samples, "duplicate_mask", hashed=hashed) == {
        "a_mask.png": "same bytes as c_mask.png" + advice,
        "c_mask.png": "same bytes as a_mask.png" + advice,
        "b_mask.png": "same bytes as f_mask.png" + advice,
        "f_mask.png": "same bytes as b_mask.png" + advice,
        "d_mask.png": "same bytes as e_mask.png and 1 more" + advice,
        "e_mask.png": "same bytes as d_mask.png and 1 more" + advice,
        "g_mask.png": "same bytes as d_mask.png and 1 more" + advice,
    }


@pytest.mark.parametrize(
    "row",
    [
        {"labels": [0], "runs": 1},
        {"labels": [7], "runs": 1},
        {"labels": [0, 1], "runs": 2},  # halves of a patch
        {"labels": None, "pixels": None, "runs": None, "mask_error": "empty: the file has no bytes"},
        {"labels": [0, 1], "runs": 90, "image_path": None},
        {"labels": [0, 1], "runs": 90, "image_digest": "one image"},
        {"labels": [0, 1], "runs": 90, "mask_path": "one_mask.png"},
        {"labels": [0, 1], "runs": 90, "mask_digest": None},
    ],
    ids=["zero", "one label", "simple", "unreadable", "orphans", "equal images", "one file", "not read"],
)
def test_masks_that_are_equal_by_right_are_not_duplicates(table: Table, row: dict[str, object]) -> None:
    assert messages(table(*[{"mask_digest": "1", **row}] * 3), "duplicate_mask", hashed=True) == {}


@pytest.mark.parametrize(
    ("first", "second", "differ"),
    [
        ({"mask_digest": "1"}, {"mask_digest": "1"}, False),
        ({"mask_digest": "1"}, {"mask_digest": "2"}, False),  # another encoder, the same labels
        ({"mask_digest": "1"}, {"mask_digest": "2", "pixels": [30, 34]}, True),
        ({"mask_digest": "1"}, {"mask_digest": "2", "runs": 3}, True),
        ({"mask_digest": "1"}, {"mask_digest": "2", "labels": [0, 2]}, True),
        ({"mask_digest": "1"}, {"mask_digest": "2", "labels": [0]}, True),
        ({"mask_digest": "1"}, {"mask_path": None, "labels": None, "pixels": None, "runs": None}, True),
        ({"mask_path": None, "labels": None}, {"mask_path": None, "labels": None}, False),
    ],
)
def test_equal_images_with_different_masks_are_told_apart(
    table: Table, first: dict[str, object], second: dict[str, object], differ: bool
) -> None:
    samples = table({"image_digest": "1", **first}, {"image_digest": "1", **second})
    expected = ", but their masks differ; keep the pair whose mask is right" if differ else "; keep one of them"
    assert messages(samples, "duplicate_image", hashed=True) == {
        "a.jpg": "same bytes as b.jpg" + expected,
        "b.jpg": "same bytes as a.jpg" + expected,
    }
