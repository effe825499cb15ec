"""Read GeoJSON (RFC 7946) with coordinates in pixels, as QuPath exports objects: one file per image.

Classes are in `properties.classification`: `name` or, for derived classes, `names`; `color`, or in older versions
`colorRGB`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.annotations.shapes import (
    NO_CLASS,
    Annotations,
    Category,
    ImageShapes,
    LeftOut,
    NotDrawableError,
    Shape,
    drop_flat,
    note,
    parse_class_colour,
    parse_class_name,
    parse_ring,
)

if TYPE_CHECKING:
    from histods.annotations.shapes import Polygon

NAME = "geojson"
SUFFIXES: tuple[str, ...] = (".geojson", ".json", ".geojson.gz", ".json.gz")
LARGER_FIRST = True
"""Shapes are drawn by size, largest first: the order of an export means nothing, and small ones lie on large."""
_GEOMETRIES = (
    *("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"),
    "GeometryCollection",
)
_NO_AREA = ("Point", "MultiPoint", "LineString", "MultiLineString")


def is_format(document: object) -> bool:
    """Whether a document is GeoJSON, judged by its top."""
    if isinstance(document, list):
        return all(isinstance(one, dict) and one.get("type") == "Feature" for one in document)
    if not isinstance(document, dict):
        return False
    return document.get("type") in ("FeatureCollection", "Feature", *_GEOMETRIES)


def parse(document: object, unclassified: str | None) -> Annotations:
    """Parse a document of this format.

    Args:
        document: JSON.
        unclassified: class of annotations without one; None leaves them out.
    """
    image = ImageShapes(image="")
    categories: dict[str, Category] = {}
    for number, feature in enumerate(_features(document), 1):
        found = feature if isinstance(feature, dict) else {}
        properties = found["properties"] if isinstance(found.get("properties"), dict) else {}
        category = _classification(properties.get("classification"))
        item = note([f"feature {number}", found.get("id"), properties.get("name")])
        name = category.name if category else unclassified
        try:
            shape = _shape(item, name, found.get("geometry"))
        except NotDrawableError as error:
            image.left_out.append(LeftOut(item, name or "", str(error)))
            continue
        known = categories.get(shape.name)
        if known is None or known.colour is None:
            categories[shape.name] = category or Category(shape.name)
        image.shapes.append(shape)
        if found.get("nucleusGeometry") is not None:
            image.left_out.append(LeftOut(item, shape.name, "the nucleus of a cell, which is drawn as a whole"))
    return Annotations([image], list(categories.values()))


def _features(document: object) -> list[object]:
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return []
    if document.get("type") == "FeatureCollection":
        features = document.get("features")
        return features if isinstance(features, list) else [features]
    if document.get("type") == "Feature":
        return [document]
    return [{"geometry": document}]


def _shape(item: str, name: str | None, geometry: object) -> Shape:
    polygons = _polygons(geometry)
    if name is None:
        raise NotDrawableError(NO_CLASS)
    return Shape(item, name, polygons)


def _classification(value: object) -> Category | None:
    """The class of an object; None if it has none."""
    if not isinstance(value, dict):
        name = parse_class_name(value)
        return None if name is None else Category(name)
    names = value.get("names")
    text = ": ".join(map(str, names)) if isinstance(names, list) else value.get("name")
    name = parse_class_name(text)
    if name is None:
        return None
    colour = value.get("color", value.get("colorRGB"))
    return Category(name, colour=parse_class_colour(colour))


def _polygons(geometry: object) -> tuple[Polygon, ...]:
    """The polygons of a geometry.

    Raises:
        NotDrawableError: it has none, or not only polygons.
    """
    if not isinstance(geometry, dict):
        raise NotDrawableError("no geometry")
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind in _NO_AREA:
        raise NotDrawableError(f"a {kind}, which has no area")
    if kind == "GeometryCollection":
        raise NotDrawableError("a GeometryCollection, which is not drawn")
    if kind not in ("Polygon", "MultiPolygon"):
        raise NotDrawableError(note(["an unknown kind of geometry:", kind]))
    parts = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(parts, list) or not all(isinstance(part, list) and part for part in parts) or not parts:
        raise NotDrawableError("a polygon without coordinates")
    return drop_flat(tuple(parse_ring(ring) for ring in part) for part in parts)
