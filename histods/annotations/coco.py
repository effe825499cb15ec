"""Read COCO (cocodataset.org, "Data format", object detection): one file for many images.

A segmentation is a list of polygons, or run lengths, compressed or not; the latter for crowds, too.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeGuard

from histods.annotations.rasterise import parse_counts
from histods.annotations.shapes import (
    NO_CLASS,
    Annotations,
    Category,
    ImageShapes,
    LeftOut,
    NotDrawableError,
    Shape,
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
    names: dict[int, str] = {}
    for entry in _objects(document.get("categories")):
        number, name = entry.get("id"), parse_class_name(entry.get("name"))
        if not _is_number(number):
            continue
        name = name or f"category {number}"
        if names.setdefault(number, name) != name:
            raise UnreadableFileError(f"two categories, {names[number]!r} and {name!r}, have the id {number}")
        found.categories.append(Category(name, number, parse_class_colour(entry.get("color"))))
    images = _images(document, found)
    for number, entry in enumerate(_objects(document.get("annotations")), 1):
        item = note(["annotation", entry.get("id", f"number {number}")])
        identity, category = entry.get("image_id"), entry.get("category_id")
        name = unclassified if category is None else names.get(category) if _is_number(category) else None
        image = images.get(identity) if isinstance(identity, int | str) else None
        if image is None:
            reason = note([f"of image {identity},", "which the file does not list"])
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
    times = Counter(entry["id"] for entry in entries if isinstance(entry.get("id"), int | str))
    for number, entry in enumerate(entries, 1):
        identity, name = entry.get("id"), entry.get("file_name")
        width, height = (value if _is_number(value := entry.get(key)) else None for key in ("width", "height"))
        text = name.encode(errors="replace").decode() if isinstance(name, str) else ""
        image = ImageShapes(text, width, height)
        if not image.image:
            image.image, image.problem = f"image number {number}", "has no file_name"
        elif not isinstance(identity, int | str):
            image.problem = "has no id"
        elif times[identity] > 1:
            image.problem = note([f"has the id {identity},", f"which {times[identity]} images have"])
        else:
            images[identity] = image
        found.images.append(image)
        if isinstance(identity, int | str):
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
    return tuple((parse_ring(ring, flat=True),) for ring in value), None


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """The entries of a list; others count as empty ones, so that none goes missing."""
    for entry in value if isinstance(value, list) else ():
        yield entry if isinstance(entry, dict) else {}


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
