"""Read COCO (cocodataset.org, "Data format", object detection): one file for many images.

A segmentation is a list of polygons, or run lengths, compressed or not; the latter for crowds, too.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from histods.annotations.rasterise import parse_counts
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
from histods.errors import UnreadableFileError
from histods.images.header import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from histods.annotations.shapes import Polygon, RunLengths

NAME = "coco"
SUFFIXES: tuple[str, ...] = (".json", ".json.gz")
LARGER_FIRST = False
"""Shapes are drawn in the order of the file, as the usual tools do."""
_SIZE = "width", "height"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def is_format(document: object) -> bool:
    """Whether a document is COCO, judged by its top."""
    return isinstance(document, dict) and isinstance(document.get("images"), list) and "annotations" in document


def parse(document: object, unclassified: str | None) -> Annotations:
    """Parse a document of this format.

    Args:
        document: JSON.
        unclassified: class of annotations without a category; None leaves them out.

    Raises:
        UnreadableFileError: two categories have one id; the message is a part of a sentence.
    """
    assert isinstance(document, dict)  # noqa: S101 - is_format saw to it
    found = Annotations()
    names: dict[int | str, str] = {}
    for entry in _objects(document.get("categories")):
        key, name = _parse_id(entry.get("id")), parse_class_name(entry.get("name"))
        if key is None:
            continue
        name = name or parse_class_name(f"category {key}") or ""
        if names.setdefault(key, name) != name:
            raise UnreadableFileError(note([f"two categories, {names[key]!r} and {name!r}, have the id {key}"]))
        number = key if isinstance(key, int) else None
        found.categories.append(Category(name, number, parse_class_colour(entry.get("color"))))
    images = _images(document, found)
    for number, entry in enumerate(_objects(document.get("annotations")), 1):
        item = note(["annotation", entry.get("id", f"number {number}")])
        identity, category = _parse_id(entry.get("image_id")), entry.get("category_id")
        key = _parse_id(category)
        name = unclassified if category is None else None if key is None else names.get(key)
        image = None if identity is None else images.get(identity)
        if image is None:
            reason = note([f"of image {entry.get('image_id')},", "which the file does not list"])
            found.left_out.append(LeftOut(item, name or "", reason))
            continue
        try:
            polygons, runs = _segmentation(entry.get("segmentation"), image)
            shape = Shape(item, _class_of(name, category), polygons, runs, entry.get("iscrowd") in (1, True))
        except NotDrawableError as error:
            image.left_out.append(LeftOut(item, name or "", str(error)))
            continue
        image.shapes.append(shape)
        if category is None and not any(shape.name == known.name for known in found.categories):
            found.categories.append(Category(shape.name))
    return found


def _class_of(name: str | None, category: object) -> str:
    """The name of a class.

    Raises:
        NotDrawableError: there is none.
    """
    if name is None and category is None:
        raise NotDrawableError(NO_CLASS)
    if name is None:
        raise NotDrawableError(note([f"of category {category},", "which the file does not list"]))
    return name


def _images(document: Mapping[str, Any], found: Annotations) -> dict[int | str, ImageShapes]:
    """The images by their ids; what is wrong with one is its problem."""
    images: dict[int | str, ImageShapes] = {}
    entries = list(_objects(document.get("images")))
    times = Counter(_parse_id(entry.get("id")) for entry in entries)
    for number, entry in enumerate(entries, 1):
        identity, name = _parse_id(entry.get("id")), entry.get("file_name")
        width, height = (value if isinstance(value := _parse_id(entry.get(key)), int) else None for key in _SIZE)
        text = name.encode(errors="replace").decode() if isinstance(name, str) else ""
        image = ImageShapes(text, width, height)
        if not image.image:
            image.image, image.problem = f"image number {number}", "has no file_name"
        elif identity is None:
            image.problem = "has no id"
        elif times[identity] > 1:
            image.problem = note([f"has the id {identity},", f"which {times[identity]} images have"])
        else:
            images[identity] = image
        found.images.append(image)
        if identity is not None:
            images.setdefault(identity, image)
    return images


def _segmentation(value: object, image: ImageShapes) -> tuple[tuple[Polygon, ...], RunLengths | None]:
    """Polygons or run lengths.

    Raises:
        NotDrawableError: there are none.
    """
    if isinstance(value, dict):
        match value.get("size"):
            case [int(height), int(width)] if height > 0 and width > 0 and height * width <= MAX_PIXELS:
                if (
                    image.width is not None
                    and image.height is not None
                    and (width, height) != (image.width, image.height)
                ):
                    raise NotDrawableError(
                        f"run lengths of {width}x{height} pixels in an image of {image.width}x{image.height}"
                    )
                return (), parse_counts(value.get("counts"), height, width)
        raise NotDrawableError("run lengths without a size that an image can have")
    if not isinstance(value, list) or not value:
        raise NotDrawableError("no segmentation")
    return drop_flat((parse_ring(ring, flat=True),) for ring in value), None


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """The entries of a list; others count as empty ones, so that none goes missing."""
    for entry in value if isinstance(value, list) else ():
        yield entry if isinstance(entry, dict) else {}


def _parse_id(value: object) -> int | str | None:
    """An id or a number: 1, 1.0 and "1" are the same, as programs mix them up; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    return value if isinstance(value, int | str) else None
