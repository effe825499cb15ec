"""Orientation, conversion and size of images, judged over the whole table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from histods.checks import Context, judge_all

if TYPE_CHECKING:
    from collections.abc import Callable

    Table = Callable[..., pl.DataFrame]


def found(samples: pl.DataFrame, code: str) -> dict[str, str]:
    """Path -> message of the findings of one code."""
    findings = judge_all(samples, Context()).filter(pl.col("code") == code)
    return dict(findings.select("path", "message").iter_rows())


@pytest.mark.parametrize(
    ("image", "mask", "paths", "said"),
    [
        (6, None, ["a.jpg"], "turned by 90 degrees to the right, which its mask is not"),
        (3, None, ["a.jpg"], "turned by 180 degrees"),
        (None, 8, ["a_mask.png"], "turned by 90 degrees to the left, which its image is not"),
        (2, 2, ["a.jpg", "a_mask.png"], "mirrored left to right, as its mask says too"),
        (5, 7, ["a.jpg", "a_mask.png"], "otherwise than its mask"),
        (None, None, [], ""),
    ],
)
def test_orientation_tags_are_errors_that_name_the_way(
    table: Table, image: int | None, mask: int | None, paths: list[str], said: str
) -> None:
    turned = found(table({"image_orientation": image, "mask_orientation": mask}), "turned")
    assert list(turned) == paths
    assert not paths or said in turned[paths[0]]


def test_a_turned_pair_of_swapped_sides_is_not_told_of_twice(table: Table) -> None:
    sides = {"image_width": 8, "image_height": 6, "mask_width": 6, "mask_height": 8}
    assert not found(table({**sides, "image_orientation": 6}), "size_mismatch")
    assert found(table({**sides, "image_orientation": 3}), "size_mismatch")
    assert found(table(sides), "size_mismatch")


def test_what_is_converted_is_told_unless_it_cannot_be_read(table: Table) -> None:
    reason = "16 bits per channel, which training sees as 8; store 8 bits"
    samples = table(
        {"image_converted": reason},
        {"image_converted": reason, "image_error": "damaged PNG data"},
        {"image_converted": reason, "outside": True},
        {},
    )
    assert found(samples, "converted_image") == {"a.jpg": reason}


def sized(*sizes: tuple[int, int]) -> list[dict[str, object]]:
    return [
        {"image_width": width, "image_height": height, "mask_width": width, "mask_height": height}
        for width, height in sizes
    ]


def test_images_of_another_size_than_most_are_named(table: Table) -> None:
    samples = table(*sized(*[(64, 64)] * 10, (64, 37), (37, 64)))
    mixed = found(samples, "mixed_sizes")
    assert list(mixed) == ["k.jpg", "l.jpg"]
    assert mixed["k.jpg"] == (
        "64x37 pixels, while 10 of 12 images (83.3 %) have 64x64; training needs one size: "
        "'histods tile --size 64 --to DIR' cuts images and masks into patches of 64x64"
    )


def test_without_a_common_size_each_is_named_once_and_not_without_end(table: Table) -> None:
    two = found(table(*sized((8, 8), (9, 9), (8, 8), (9, 9))), "mixed_sizes")
    assert list(two) == ["a.jpg", "b.jpg"]
    assert two["a.jpg"].startswith("2 of 4 images have 8x8 pixels, as this one has, and there are 2 sizes; ")
    many = found(table(*sized(*[(10 + number, 10) for number in range(300)])), "mixed_sizes")
    assert len(many) == 20
    assert "300 sizes, the 20 most frequent are named" in next(iter(many.values()))


@pytest.mark.parametrize(
    "odd",
    [
        {"image_error": "damaged"},
        {"outside": True},
        {"derived": "its name says that it is an overlay"},
        {"image_outside": True, "image_width": None, "image_height": None},
        {"image_width": None, "image_height": None, "image_path": None},
    ],
)
def test_pictures_that_are_not_trained_on_have_any_size(table: Table, odd: dict[str, object]) -> None:
    assert not found(table(*sized((8, 8), (8, 8)), {"image_width": 99, **odd}), "mixed_sizes")
    assert not found(table(*sized((8, 8))), "mixed_sizes")
