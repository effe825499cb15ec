"""GeoJSON of QuPath: every object is a shape, or is named with the reason why not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from histods.annotations.geojson import is_format, parse
from tests.histods.annotations.documents import collection, feature, square

SQUARE = [square(1, 1, 5)]


def reasons(document: object, unclassified: str | None = None) -> list[str]:
    return [one.reason for one in parse(document, unclassified).images[0].left_out]


@pytest.mark.parametrize("wrap", [collection, lambda one: [one], lambda one: one])
def test_collections_lists_and_single_features_are_read(wrap: Any) -> None:
    document = wrap(feature("Tumor", [square(1, 2, 9), square(3, 3, 2)], color=[200, 0, 0]))
    assert is_format(document)
    found = parse(document, None)
    (image,) = found.images
    (shape,) = image.shapes
    assert (image.image, shape.name, shape.area, shape.box) == ("", "Tumor", 81 - 4, (1, 2, 10, 11))
    assert [ring.tolist() for ring in shape.polygons[0]] == [square(1, 2, 9), square(3, 3, 2)]
    assert found.categories == [("Tumor", None, (200, 0, 0))]
    assert not image.left_out


def test_multipolygons_keep_their_parts_and_holes() -> None:
    parts = [[square(0, 0, 9), square(1, 1, 2)], [square(20, 20, 4)]]
    (shape,) = parse(feature("A", parts, "MultiPolygon"), None).images[0].shapes
    assert [len(rings) for rings in shape.polygons] == [2, 1]
    assert shape.area == 81 - 4 + 16


@pytest.mark.parametrize(
    ("classification", "name", "colour"),
    [
        ({"name": "Tumor", "color": [1, 2, 3]}, "Tumor", (1, 2, 3)),
        ({"name": "Other", "colorRGB": -377282}, "Other", (250, 62, 62)),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, "Tumor: Positive", (1, 2, 3)),
        ({"name": " a \n b ", "color": [1, 2, 300]}, "a b", None),
        ({"name": "x", "color": "red"}, "x", None),
        ("Stroma", "Stroma", None),
    ],
)
def test_classes_of_all_versions_are_read(
    classification: object, name: str, colour: tuple[int, int, int] | None
) -> None:
    document = feature(None, SQUARE)
    document["properties"]["classification"] = classification
    assert parse(document, None).categories == [(name, None, colour)]


@pytest.mark.parametrize("classification", [None, {}, {"name": None}, {"name": "  "}, [], 1.5, True, {"names": 5}])
def test_objects_without_a_class_are_left_out_or_get_the_one_that_is_asked_for(classification: object) -> None:
    document = feature(None, SQUARE)
    document["properties"]["classification"] = classification
    assert reasons(document) == ["no class"]
    (shape,) = parse(document, "Nucleus").images[0].shapes
    assert shape.name == "Nucleus"


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        (None, "no geometry"),
        ({"type": "Point", "coordinates": [1, 2]}, "a Point, which has no area"),
        ({"type": "MultiPoint", "coordinates": [[1, 2]]}, "a MultiPoint, which has no area"),
        ({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "a LineString, which has no area"),
        ({"type": "MultiLineString", "coordinates": []}, "a MultiLineString, which has no area"),
        ({"type": "GeometryCollection", "geometries": []}, "a GeometryCollection, which is not drawn"),
        ({"type": "Circle"}, "an unknown kind of geometry: Circle"),
        ({"type": ["x"]}, "an unknown kind of geometry: ['x']"),
        ({"type": "Polygon"}, "a polygon without coordinates"),
        ({"type": "Polygon", "coordinates": []}, "a polygon without coordinates"),
        ({"type": "Polygon", "coordinates": [[1, 2]]}, "its coordinates are not pairs of numbers"),
        ({"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}, "a ring of fewer than three points"),
        ({"type": "Polygon", "coordinates": [[[1, 2], [3], [4, 5]]]}, "its coordinates are not numbers"),
        ({"type": "Polygon", "coordinates": [[["a", 2], [3, 4], [4, 5]]]}, "its coordinates are not numbers"),
        ({"type": "Polygon", "coordinates": [[[None, 2], [3, 4], [4, 5]]]}, "its coordinates are not finite"),
        ({"type": "Polygon", "coordinates": [[[{}, 2], [3, 4], [4, 5]]]}, "its coordinates are not numbers"),
        (
            {"type": "Polygon", "coordinates": [[[1e300, 2], [3, 4], [4, 5]]]},
            "its coordinates are beyond a billion",
        ),
        ({"type": "Polygon", "coordinates": [[[10**400, 2], [3, 4], [4, 5]]]}, "its coordinates are not numbers"),
        ({"type": "MultiPolygon", "coordinates": [[], [square(1, 1, 2)]]}, "a polygon without coordinates"),
        ("Polygon", "no geometry"),
    ],
)
def test_what_cannot_be_drawn_is_named_with_the_reason(geometry: object, reason: str) -> None:
    document = collection(feature("A", SQUARE), {**feature("A", SQUARE), "geometry": geometry})
    document["features"][1]["properties"]["name"] = "Region 1"
    found = parse(document, None).images[0]
    assert len(found.shapes) == 1
    ((item, name, said),) = found.left_out
    assert (item, name) == ("feature 2 0a1b Region 1", "A")
    assert said.startswith(reason)


def test_rings_without_area_take_no_others_with_them() -> None:
    whole, line = square(0, 0, 9), [[2, 2], [5, 5]]
    document = feature("A", [[whole, line, square(1, 1, 2)], [line, square(3, 3, 2)], [[]]], "MultiPolygon")
    (shape,) = parse(document, None).images[0].shapes
    assert [len(rings) for rings in shape.polygons] == [2]
    assert shape.area == 81 - 4


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_has_not_are_not_drawn(number: str) -> None:
    document = json.loads(json.dumps(feature("A", SQUARE)).replace("1,", f"{number},", 1))
    assert reasons(document) == ["its coordinates are not finite"]


def test_coordinates_may_have_a_third_number() -> None:
    ring = [[*point, 7] for point in square(1, 1, 4)]
    (shape,) = parse(feature("A", [ring]), None).images[0].shapes
    assert np.array_equal(shape.polygons[0][0], square(1, 1, 4))


def test_cells_are_drawn_whole_and_their_nuclei_counted() -> None:
    cell = feature("A", SQUARE, nucleusGeometry={"type": "Polygon", "coordinates": [square(2, 2, 1)]})
    found = parse(cell, None).images[0]
    assert len(found.shapes) == 1
    assert [one.reason for one in found.left_out] == ["the nucleus of a cell, which is drawn as a whole"]


CALM = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Documents are slow to draw, and time says nothing on a busy machine."""
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@CALM
@given(st.lists(JSON, max_size=4), JSON, JSON, JSON)
def test_every_object_is_a_shape_or_named_whatever_it_holds(
    others: list[Any], geometry: Any, properties: Any, coordinates: Any
) -> None:
    odd = [
        {"type": "Feature", "geometry": geometry, "properties": properties},
        feature("A", coordinates),
        feature("A", [coordinates], "MultiPolygon"),
    ]
    found = parse({"type": "FeatureCollection", "features": [*others, *odd]}, "B").images[0]
    assert len(found.shapes) + len(found.left_out) == len(others) + 3
