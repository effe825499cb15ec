"""Small documents of COCO and GeoJSON."""

from __future__ import annotations

from typing import Any


def square(x: float, y: float, side: float) -> list[list[float]]:
    """A closed ring."""
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def feature(
    name: str | None,
    coordinates: object,
    kind: str = "Polygon",
    *,
    color: object = None,
    **more: object,
) -> dict[str, Any]:
    """An object as QuPath exports it."""
    properties: dict[str, Any] = {"objectType": "annotation"}
    if name is not None:
        properties["classification"] = {"name": name, **({} if color is None else {"color": color})}
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": "0a1b", "geometry": geometry, "properties": properties, **more}


def collection(*features: object) -> dict[str, Any]:
    """A FeatureCollection."""
    return {"type": "FeatureCollection", "features": list(features)}


def coco(
    annotations: list[Any],
    *,
    images: list[Any] | None = None,
    categories: list[Any] | None = None,
) -> dict[str, Any]:
    """A COCO document of one image of 40x30 pixels and two categories by default."""
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}] if images is None else images,
        "annotations": annotations,
        "categories": [{"id": 3, "name": "Tumour"}, {"id": 7, "name": "Stroma"}]
        if categories is None
        else categories,
    }


def flat(x: float, y: float, side: float) -> list[float]:
    """A square as COCO writes polygons."""
    return [x, y, x + side, y, x + side, y + side, x, y + side]
