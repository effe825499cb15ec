"""What a reader of annotations returns: the shapes of each image, and what cannot be drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Ring: TypeAlias = "NDArray[np.float64]"
"""[points, 2] x to the right and y down, in pixels; (0, 0) is the upper left corner of the first pixel."""
Polygon: TypeAlias = "tuple[Ring, ...]"
"""The outer ring and the holes of a polygon."""
MAX_COORDINATE = 1e9
"""Pixels; sums and products of smaller coordinates are finite and precise."""
NO_CLASS = "no class"
_MAX_NAME = 200
_MIN_POINTS = 3


class NotDrawableError(HistodsError):
    """A shape cannot be drawn; the message is the reason, a part of a sentence."""


class RunLengths(NamedTuple):
    """A mask as COCO stores it: lengths of runs of 0 and 1 in turn, column by column, beginning with 0."""

    height: int
    width: int
    counts: NDArray[np.int64]


class Shape(NamedTuple):
    """One annotation that can be drawn.

    Attributes:
        item: how its file names it.
        name: its class.
        polygons: the polygons, whose union it is.
        runs: its pixels, if it has no polygons.
        crowd: whether it is a group of objects.
    """

    item: str
    name: str
    polygons: tuple[Polygon, ...] = ()
    runs: RunLengths | None = None
    crowd: bool = False

    @property
    def area(self) -> float:
        """Area in square pixels; a hole does not count, overlapping polygons count twice."""
        if self.runs is not None:
            return float(self.runs.counts[1::2].sum())
        return sum(ring_area(rings[0]) - sum(map(ring_area, rings[1:])) for rings in self.polygons)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in pixels."""
        if self.runs is not None:
            return 0.0, 0.0, float(self.runs.width), float(self.runs.height)
        low = np.min([rings[0].min(axis=0) for rings in self.polygons], axis=0)
        high = np.max([rings[0].max(axis=0) for rings in self.polygons], axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


class LeftOut(NamedTuple):
    """One annotation that is not drawn: how its file names it, its class or "", and the reason."""

    item: str
    name: str
    reason: str


class Category(NamedTuple):
    """A class as a file describes it: its name, its number and its RGB, where the file gives them."""

    name: str
    number: int | None = None
    colour: tuple[int, int, int] | None = None


@dataclass(slots=True)
class ImageShapes:
    """The annotations of one image.

    Attributes:
        image: its name in the file of annotations; "" where the file is named like the image.
        width: pixels, if the file states it.
        height: pixels, if the file states it.
        shapes: what to draw, in the order of the file.
        left_out: what cannot be drawn.
        problem: why nothing of this image can be drawn; None if it can.
    """

    image: str
    width: int | None = None
    height: int | None = None
    shapes: list[Shape] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    problem: str | None = None


@dataclass(slots=True)
class Annotations:
    """The contents of one file.

    Attributes:
        images: the images that it annotates.
        categories: its classes, in the order of the file.
        left_out: annotations that belong to none of these images.
    """

    images: list[ImageShapes] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def ring_area(ring: Ring) -> float:
    """Area inside a ring in square pixels, by the shoelace formula."""
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def parse_ring(values: object, *, flat: bool = False) -> Ring:
    """Parse the points of a ring.

    Args:
        values: JSON: a list of positions, of which the first two numbers count.
        flat: the list is `[x, y, x, y, ...]` instead.

    Raises:
        NotDrawableError: these are not points, or numbers too large to draw.
    """
    try:
        points = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise NotDrawableError("its coordinates are not numbers") from error
    if not points.size:
        return np.empty((0, 2))
    if flat:
        if points.ndim != 1 or points.size % 2:
            raise NotDrawableError("its coordinates are not pairs of numbers")
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] < 2:
        raise NotDrawableError("its coordinates are not pairs of numbers")
    if not np.isfinite(points).all():
        raise NotDrawableError("its coordinates are not finite")
    if np.abs(points).max() > MAX_COORDINATE:
        raise NotDrawableError("its coordinates are beyond a billion pixels")
    return np.ascontiguousarray(points[:, :2])


def drop_flat(polygons: Iterable[Polygon]) -> tuple[Polygon, ...]:
    """Leave out rings of fewer than three points, which have no area, and the polygons that they bound.

    Raises:
        NotDrawableError: nothing is left.
    """
    kept = tuple(
        tuple(ring for ring in rings if len(ring) >= _MIN_POINTS)
        for rings in polygons
        if len(rings[0]) >= _MIN_POINTS
    )
    if not kept:
        raise NotDrawableError("a ring of fewer than three points")
    return kept


def parse_class_name(value: object) -> str | None:
    """Parse the name of a class, with runs of white space as single spaces; None if there is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = " ".join(str(value).replace("\0", " ").split())
    return text.encode(errors="replace").decode()[:_MAX_NAME] or None


def parse_class_colour(value: object) -> tuple[int, int, int] | None:
    """Parse RGB from `[red, green, blue]`, or from QuPath's packed number; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return (value >> 16) & 255, (value >> 8) & 255, value & 255
    match value:
        case [int(red), int(green), int(blue)] if all(0 <= part <= 255 for part in (red, green, blue)):
            return int(red), int(green), int(blue)
    return None


def note(parts: Sequence[object]) -> str:
    """How an annotation is named in tables: short, in one line."""
    text = " ".join(" ".join(str(part).split()) for part in parts if part not in (None, ""))
    return text.encode(errors="replace").decode()[:_MAX_NAME]
