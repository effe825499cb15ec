"""Polygons and run lengths to pixels, by the rule of pixel centres.

A pixel belongs to a polygon if its centre lies inside by the even-odd rule over all rings, so that holes are
empty, and so is what a self-crossing ring encloses twice. A centre exactly on an edge belongs to the polygon if
the interior continues to its right (for horizontal edges: below), so that polygons that share an edge share no
pixel and leave no gap.

Microseconds of CPU time per polygon of 40 points with a hole, in an image of 512x512, and the pixels that OpenCV
finds beyond those of this module, because it also draws boundaries (Pillow is similar). rasterio, which is GDAL,
and shapely find the same pixels as this module. Measured in one run on one core:

| radius | this module | rasterio | shapely.contains_xy | matplotlib.path | OpenCV | Pillow | more by OpenCV |
| --- | --- | --- | --- | --- | --- | --- | --- |
| 5 px | 200 | 942 | 79 | 109 | 55 | 182 | 71 % |
| 50 px | 261 | 1,262 | 945 | 2,412 | 177 | 454 | 7.6 % |
| 250 px | 792 | 1,211 | 14,165 | 25,722 | 124 | 446 | 1.5 % |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.annotations.shapes import NotDrawableError, RunLengths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from histods.annotations.shapes import Polygon

_MAX_CROSSINGS = 1 << 22
"""Crossings of edges and rows that are held in memory at a time, about 200 MB."""
_MAX_WHOLE = 2.0**53  # larger numbers are not exact
_BITS, _MORE, _SIGN, _FIRST = 5, 0x20, 0x10, 48  # of the characters of a compressed run length


class Patch(NamedTuple):
    """The pixels of a shape in a part of an image: row and column of its corner, and [height, width] inside."""

    top: int
    left: int
    inside: NDArray[np.bool_]


def rasterise(polygon: Polygon, height: int, width: int) -> Patch | None:
    """Find the pixels of an image whose centres lie inside a polygon.

    Args:
        polygon: its rings, closed or not.
        height: rows of the image.
        width: columns of the image.

    Returns:
        The smallest part of the image with all of them; None if there are none.
    """
    start = np.concatenate(polygon)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in polygon])
    # Each edge goes down, so that two polygons that share it find the same crossings.
    up = start[:, 1] > end[:, 1]
    start[up], end[up] = end[up], start[up]
    first, last = _first_centre(start[:, 1], 0, height), _first_centre(end[:, 1], 0, height)
    low, high = start[:, 0].min(), start[:, 0].max()
    low, high = min(low, end[:, 0].min()), max(high, end[:, 0].max())
    left, right = (int(edge) for edge in _first_centre(np.array([low, high]), 0, width))
    crossing = first < last
    if left == right or not crossing.any():
        return None
    start, end, first, last = start[crossing], end[crossing], first[crossing], last[crossing]
    top, bottom = int(first.min()), int(last.max())
    shape = bottom - top, right - left
    change = np.zeros(shape[0] * shape[1] + 1, dtype=np.int8)
    for begin, stop in _bands(first, last, top, bottom):
        rows, x = _cross(start, end, np.clip(first, begin, stop), np.clip(last, begin, stop))
        bounds = (rows - top) * shape[1] + _first_centre(x, left, right) - left
        bounds.sort()  # an even number in each row; the end of a row is the start of the next one
        begins, ends = bounds[0::2], bounds[1::2]
        filled = begins < ends
        change[begins[filled]] += 1
        change[ends[filled]] -= 1
    inside = np.cumsum(change[:-1], dtype=np.int8).view(np.bool_).reshape(shape)
    return Patch(top, left, inside) if inside.any() else None


def _first_centre(position: NDArray[np.float64], least: int, most: int) -> NDArray[np.int64]:
    """The first row or column whose centre is at a position or beyond it, within limits."""
    return np.clip(np.ceil(position - 0.5), least, most).astype(np.int64)


def _bands(first: NDArray[np.int64], last: NDArray[np.int64], top: int, bottom: int) -> Iterator[tuple[int, int]]:
    """Divide rows so that the crossings in each part fit into memory."""
    parts = int((last - first).sum()) // _MAX_CROSSINGS + 1
    rows = -(-(bottom - top) // parts)
    for begin in range(top, bottom, rows):
        yield begin, min(begin + rows, bottom)


def _cross(
    start: NDArray[np.float64], end: NDArray[np.float64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Row and x of each crossing of an edge with the line through the centres of a row."""
    counts = last - first
    edge = np.repeat(np.arange(len(counts)), counts)
    begins = np.cumsum(counts) - counts
    rows = first[edge] + np.arange(len(edge)) - begins[edge]
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    return rows, x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)


def parse_counts(value: object, height: int, width: int) -> RunLengths:
    """Parse COCO's run lengths, compressed (a text) or not (a list).

    Raises:
        NotDrawableError: these are not run lengths of an image of this size.
    """
    try:
        counts = _whole_numbers(_decompress(value) if isinstance(value, str) else value)
    except (ValueError, TypeError, OverflowError) as error:
        raise NotDrawableError("its run lengths are not whole numbers") from error
    if counts.ndim != 1 or (counts < 0).any():
        raise NotDrawableError("its run lengths are not a list of numbers from 0")
    if (counts > height * width).any() or int(counts.sum()) != height * width:
        raise NotDrawableError(f"its run lengths do not add up to {height:,} x {width:,} pixels")
    return RunLengths(height, width, counts)


def _whole_numbers(values: object) -> NDArray[np.int64]:
    """Whole numbers as integers, also those written with a point; ValueError for others."""
    found = np.asarray(values)
    if found.dtype.kind == "f" and not ((found == np.floor(found)) & (np.abs(found) < _MAX_WHOLE)).all():
        raise ValueError(values)
    return found.astype(np.int64)


def _decompress(text: str) -> list[int]:
    """Run lengths from characters of 5 bits each, lowest bits first.

    From the fourth on, they are differences to the last but one. The format is that of the COCO API
    (github.com/cocodataset/cocoapi, common/maskApi.c).
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - _FIRST
        if not 0 <= code < 2 * _MORE or shift > 60:
            raise ValueError(text)
        value |= (code & (_MORE - 1)) << shift
        shift += _BITS
        if code & _MORE:
            continue
        if code & _SIGN:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError(text)
    return counts


def expand(runs: RunLengths) -> Patch | None:
    """The pixels of run lengths, in the columns that have any; None if there are none."""
    bounds = np.cumsum(runs.counts)
    begins, ends = bounds[: len(bounds) // 2 * 2 : 2], bounds[1::2]
    filled = begins < ends
    begins, ends = begins[filled], ends[filled]
    if not begins.size:
        return None
    left, right = int(begins[0]) // runs.height, (int(ends[-1]) - 1) // runs.height + 1
    change = np.zeros((right - left) * runs.height + 1, dtype=np.int8)
    change[begins - left * runs.height] += 1
    change[ends - left * runs.height] -= 1
    inside = np.cumsum(change[:-1], dtype=np.int8).view(np.bool_).reshape(right - left, runs.height)
    return Patch(0, left, inside.T)


def patches(polygons: Sequence[Polygon], runs: RunLengths | None, height: int, width: int) -> Iterator[Patch]:
    """The pixels of all parts of a shape, which may overlap each other."""
    found = [expand(runs)] if runs is not None else [rasterise(one, height, width) for one in polygons]
    yield from (patch for patch in found if patch is not None)
