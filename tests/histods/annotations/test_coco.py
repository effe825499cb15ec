"""COCO: every annotation belongs to an image and is a shape, or is named with the reason why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_masks

from histods.annotations.coco import is_format, parse
from tests.histods.annotations.documents import coco, flat
from tests.histods.annotations.test_geojson import CALM, JSON


def annotation(segmentation: object, **more: object) -> dict[str, Any]:
    return {"id": 5, "image_id": 1, "category_id": 3, "segmentation": segmentation, **more}


def test_polygons_and_run_lengths_become_shapes_of_their_image() -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[3:9, 4:6] = 1
    compressed = coco_masks.encode(np.asfortranarray(mask))["counts"].decode()
    document = coco(
        [
            annotation([flat(1, 1, 5), flat(20, 20, 3)]),
            annotation({"counts": [123, 6, 1071], "size": [30, 40]}, category_id=7, iscrowd=1),
            annotation({"counts": compressed, "size": [30, 40]}),
        ],
        categories=[{"id": 3, "name": "Tumour", "color": [9, 8, 7]}, {"id": 7, "name": "Stroma"}],
    )
    assert is_format(document)
    found = parse(document, None)
    (image,) = found.images
    assert (image.image, image.width, image.height) == ("a.png", 40, 30)
    assert [(shape.name, shape.area, shape.crowd) for shape in image.shapes] == [
        ("Tumour", 34, False),
        ("Stroma", 6, True),
        ("Tumour", 12, False),
    ]
    assert found.categories == [("Tumour", 3, (9, 8, 7)), ("Stroma", 7, None)]
    assert not image.left_out


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"segmentation": []}, "no segmentation"),
        ({"segmentation": None}, "no segmentation"),
        ({"segmentation": "abc"}, "no segmentation"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "its coordinates are not pairs of numbers"),
        ({"segmentation": [[1, 2, 3]]}, "its coordinates are not pairs of numbers"),
        ({"segmentation": [[1, 2, 3, 4]]}, "a ring of fewer than three points"),
        ({"segmentation": [[1, 2, 3, 4, float("nan"), 6]]}, "its coordinates are not finite"),
        ({"segmentation": {"counts": [1200]}}, "run lengths without a size"),
        ({"segmentation": {"counts": [1], "size": [1 << 40, 1 << 40]}}, "run lengths without a size"),
        (
            {"segmentation": {"counts": [1200], "size": [40, 30]}},
            "run lengths of 30x40 pixels in an image of 40x30",
        ),
        ({"segmentation": {"counts": [1199], "size": [30, 40]}}, "its run lengths do not add up"),
        ({"category_id": None}, "no class"),
        ({"category_id": 99}, "of category 99, which the file does not list"),
        ({"category_id": [1]}, "of category [1], which the file does not list"),
    ],
)
def test_what_cannot_be_drawn_is_named_with_the_reason(change: dict[str, object], reason: str) -> None:
    image = parse(
        coco([annotation([flat(1, 1, 5)]), {**annotation([flat(1, 1, 5)], id=6), **change}]), None
    ).images[0]
    assert len(image.shapes) == 1
    ((item, _, said),) = image.left_out
    assert item == "annotation 6"
    assert said.startswith(reason)


@pytest.mark.parametrize("identity", [2, "1", None, [1], 1.5])
def test_annotations_of_images_that_are_not_listed_are_named(identity: object) -> None:
    found = parse(coco([annotation([flat(1, 1, 5)], image_id=identity)]), None)
    assert not found.images[0].shapes
    ((item, name, reason),) = found.left_out
    assert (item, name) == ("annotation 5", "Tumour")
    assert reason.endswith("which the file does not list")


def test_images_that_are_not_clear_have_a_problem() -> None:
    images = [
        {"id": 1, "file_name": "a.png"},
        {"id": 1, "file_name": "b.png"},
        {"id": 2},
        {"file_name": "c.png"},
        7,
    ]
    problems = [image.problem for image in parse(coco([], images=images), None).images]
    twice = "has the id 1, which 2 images have"
    assert problems == [twice, twice, "has no file_name", "has no id", "has no file_name"]


def test_annotations_without_a_category_get_the_class_that_is_asked_for() -> None:
    found = parse(coco([annotation([flat(1, 1, 5)], category_id=None)], categories=[]), "Cell")
    assert [shape.name for shape in found.images[0].shapes] == ["Cell"]
    assert found.categories == [("Cell", None, None)]


def test_a_category_without_a_name_has_its_number() -> None:
    found = parse(coco([annotation([flat(1, 1, 5)])], categories=[{"id": 3}, {"id": 4, "name": " "}]), None)
    assert [category.name for category in found.categories] == ["category 3", "category 4"]


@CALM
@given(st.lists(JSON, max_size=3), st.lists(JSON, max_size=3), JSON, JSON)
def test_every_annotation_is_a_shape_or_named_whatever_it_holds(
    images: list[Any], annotations: list[Any], segmentation: Any, identity: Any
) -> None:
    odd = [annotation(segmentation), annotation([segmentation]), annotation([flat(1, 1, 3)], image_id=identity)]
    listed = [{"id": 1, "file_name": "a.png"}, {"id": identity, "file_name": "b.png"}, *images]
    found = parse(coco([*annotations, *odd], images=listed, categories=[identity, {"id": 3, "name": "A"}]), None)
    assert len(found.images) == len(listed)
    kept = sum(len(image.shapes) + len(image.left_out) for image in found.images)
    assert kept + len(found.left_out) == len(annotations) + 3
