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


@pytest.mark.parametrize("identity", [2, "01", "x", None, [1], 1.5, True])
def test_annotations_of_images_that_are_not_listed_are_named(identity: object) -> None:
    found = parse(coco([annotation([flat(1, 1, 5)], image_id=identity)]), None)
    assert not found.images[0].shapes
    ((item, name, reason),) = found.left_out
    assert (item, name) == ("annotation 5", "Tumour")
    assert reason.endswith("which the file does not list")


@pytest.mark.parametrize("listed", [3, "3", 3.0])
@pytest.mark.parametrize("meant", [3, "3", 3.0])
def test_numbers_are_the_same_as_text_or_with_a_point(listed: object, meant: object) -> None:
    """Programs of other languages write ids and sizes in all of these ways."""
    images = [{"id": listed, "file_name": "a.png", "width": 40.0, "height": "30"}]
    document = coco(
        [annotation([flat(1, 1, 5)], image_id=meant, category_id=meant)],
        images=images,
        categories=[{"id": listed, "name": "Tumour"}],
    )
    found = parse(document, None)
    (image,) = found.images
    assert [shape.name for shape in image.shapes] == ["Tumour"]
    assert (image.width, image.height) == (40, 30)
    assert found.categories == [("Tumour", 3, None)]
    assert not found.left_out
    twice = parse(coco([], images=[{"id": listed, "file_name": "a"}, {"id": meant, "file_name": "b"}]), None)
    assert [one.problem for one in twice.images] == ["has the id 3, which 2 images have"] * 2


def test_ids_may_be_words() -> None:
    images = [{"id": "x", "file_name": "a.png"}]
    document = coco(
        [annotation([flat(1, 1, 5)], image_id="x", category_id="t")], images=images, categories=[{"id": "t"}]
    )
    found = parse(document, None)
    assert [shape.name for shape in found.images[0].shapes] == ["category t"]
    assert found.categories == [("category t", None, None)]


def test_parts_without_area_take_no_others_with_them() -> None:
    """COCO's own files have polygons of two points beside good ones."""
    (image,) = parse(coco([annotation([flat(1, 1, 5), [3, 3, 4, 4], [], flat(20, 20, 3)])]), None).images
    assert [(len(shape.polygons), shape.area) for shape in image.shapes] == [(2, 34)]
    assert not image.left_out


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
