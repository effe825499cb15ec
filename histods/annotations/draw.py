"""Draw masks and copy their images, in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from histods.annotations.plan import MASK_SUFFIX
from histods.annotations.rasterise import patches
from histods.annotations.shapes import LeftOut
from histods.errors import UnreadableFileError
from histods.images.reader import check_image
from histods.io.atomic import write_bytes
from histods.io.open_file import OpenRoot
from histods.masks.writer import encode_mask
from histods.run_lengths import find_runs, histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from histods.annotations.match import Region
    from histods.annotations.shapes import Polygon, Shape

MADE = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("annotations", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("image_path", pa.string()),
        ("mask_path", pa.string()),
        ("width", pa.uint32()),
        ("height", pa.uint32()),
        ("image_bytes", pa.int64()),
        ("mask_bytes", pa.int64()),
        ("drawn", pa.uint32()),
        ("crowds", pa.uint32()),
        ("cut", pa.uint32()),
        ("overlapped", pa.uint32()),
        ("labels", pa.list_(pa.uint16())),
        ("pixels", pa.list_(pa.uint32())),
        ("left_out", pa.list_(pa.struct([(name, pa.string()) for name in LeftOut._fields]))),
    ]
)
"""The result for each image: its files in the new folder, and how many annotations became pixels.

`status` is `written`, or why it is not: `unreadable image` or `other size`, with a reason. `source` is the path of
the image and `annotations` that of the file of annotations, `drawn` the number of annotations with a pixel in the
mask, `crowds` and `cut` those of them that are groups of objects or reach out of the image, `overlapped` the
number of pixels on which annotations of several classes lie, `left_out` the annotations without a pixel.
"""
WRITTEN = "written"
_LABEL_8 = np.iinfo(np.uint8).max
_NO_CENTRE = "covers no centre of a pixel"


class DrawTask(NamedTuple):
    """An image to make.

    Attributes:
        key: path of both files in the new folder, without suffixes.
        image: path of the image below the root; None for a mask alone.
        file: path of the file of annotations.
        width: pixels that the file of annotations states, or that a mask alone gets; None if unknown.
        height: the same.
        region: the part of the slide that the image shows, if the shapes are those of the slide.
        shapes: what to draw, the later on top.
        labels: the label of each.
        left_out: annotations that cannot be drawn.
    """

    key: str
    image: str | None
    file: str
    width: int | None
    height: int | None
    region: Region | None
    shapes: list[Shape]
    labels: list[int]
    left_out: list[LeftOut]


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawFolders:
    """The folder of the images, and the new one."""

    root: str
    folder: str


class DrawReport(NamedTuple):
    """The result for a chunk of images: rows of `MADE` as an Arrow stream, and any error that ended the work."""

    rows: bytes
    disk: str | None = None


class Painted(NamedTuple):
    """A mask, uint16 [height, width], and what became of the shapes; see `MADE`."""

    mask: NDArray[np.uint16]
    drawn: int
    crowds: int
    cut: int
    overlapped: int
    left_out: list[LeftOut]


def draw_images(tasks: Sequence[DrawTask], *, folders: DrawFolders) -> DrawReport:
    """Make images and masks, one after the other; existing files are written again."""
    rows = []
    disk = None
    with OpenRoot(folders.root) as root:
        for task in tasks:
            try:
                rows.append(_draw_image(task, root, Path(folders.folder)))
            except OSError as error:
                disk = f"{error.filename}: {error.strerror or error}"
                break
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, MADE) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, MADE))
    return DrawReport(bytes(sink.getvalue()), disk)


def _draw_image(task: DrawTask, root: OpenRoot, folder: Path) -> dict[str, Any]:
    """Make one image and its mask; its row of `MADE`."""
    row: dict[str, Any] = {"key": task.key, "source": task.image, "annotations": task.file}
    content = None
    width, height = task.width, task.height
    if task.image is not None:
        try:
            with root.open(task.image) as file:
                content = file.read()
            header = check_image(content)
        except UnreadableFileError as error:
            return row | _refuse(task, "unreadable image", str(error))
        width, height = header.width, header.height
        if (problem := find_size_problem(task, width, height)) is not None:
            return row | _refuse(task, "other size", problem)
    assert width is not None  # noqa: S101 - a mask alone has the size that was asked for
    assert height is not None  # noqa: S101
    painted = paint(task.shapes, task.labels, height, width, task.region)
    labels, pixels = histogram(find_runs(painted.mask))
    mask = encode_mask(painted.mask.astype(np.uint8) if labels[-1] <= _LABEL_8 else painted.mask)
    row |= {"mask_path": f"{task.key}{MASK_SUFFIX}.png", "mask_bytes": len(mask)}
    write_bytes(folder / row["mask_path"], mask)
    if content is not None:
        row |= {"image_path": task.image, "image_bytes": len(content)}
        write_bytes(folder / row["image_path"], content)
    left_out = [*task.left_out, *painted.left_out]
    counts = painted._asdict() | {"left_out": [one._asdict() for one in left_out]}
    del counts["mask"]
    return row | {
        "status": WRITTEN,
        "width": width,
        "height": height,
        **counts,
        "labels": labels,
        "pixels": pixels,
    }


def _refuse(task: DrawTask, status: str, reason: str) -> dict[str, Any]:
    """The row of an image that is not made; its annotations are left out with it."""
    why = f"its image is left out: {status}"
    lost = [LeftOut(one.item, one.name, why) for one in task.shapes if _is_only_in(one, task.region)]
    left_out = [one._asdict() for one in (*task.left_out, *lost)]
    return {"status": status, "reason": reason, "drawn": 0, "crowds": 0, "cut": 0, "overlapped": 0} | {
        "left_out": left_out
    }


def find_size_problem(task: DrawTask, width: int, height: int) -> str | None:
    """Why annotations do not fit an image of this size; None if they do."""
    stated = task.width or width, task.height or height
    if stated != (width, height):
        found = f"{width}x{height} pixels, but its annotations are for {stated[0]}x{stated[1]}"
        return f"{found}; export them for this file"
    if task.region is None:
        return None
    scaled = task.region.width / task.region.downsample, task.region.height / task.region.downsample
    if abs(scaled[0] - width) > 1 or abs(scaled[1] - height) > 1:
        return f"{width}x{height} pixels, but its name says {scaled[0]:.0f}x{scaled[1]:.0f}"
    return None


def paint(
    shapes: Sequence[Shape], labels: Sequence[int], height: int, width: int, region: Region | None = None
) -> Painted:
    """Draw shapes into a mask, the later ones on top; pixels without any are 0.

    Args:
        shapes: what to draw.
        labels: the label of each.
        height: of the mask, pixels.
        width: of the mask, pixels.
        region: the part of the slide that the mask shows, if the shapes are those of the slide.
    """
    mask = np.zeros((height, width), np.uint16)
    covered, contested = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    drawn = crowds = cut = 0
    left_out = []
    for shape, label in zip(shapes, labels, strict=True):
        if shape.runs is not None and (shape.runs.height, shape.runs.width) != (height, width):
            size = f"{shape.runs.width}x{shape.runs.height}"
            left_out.append(
                LeftOut(shape.item, shape.name, f"run lengths of {size} pixels in an image of {width}x{height}")
            )
            continue
        polygons = shape.polygons if region is None else _to_region(shape.polygons, region, height, width)
        found = False
        for top, left, inside in patches(polygons, shape.runs, height, width):
            part = np.s_[top : top + inside.shape[0], left : left + inside.shape[1]]
            contested[part] |= inside & covered[part] & (mask[part] != label)
            covered[part] |= inside
            mask[part][inside] = label
            found = True
        if found:
            drawn += 1
            crowds += shape.crowd
            cut += region is None and _reaches_out(shape, height, width)
        elif region is None:
            left_out.append(LeftOut(shape.item, shape.name, _why_empty(shape, height, width)))
        elif _is_only_in(shape, region):
            left_out.append(LeftOut(shape.item, shape.name, _NO_CENTRE))
    return Painted(mask, drawn, crowds, cut, int(np.count_nonzero(contested)), left_out)


def _to_region(polygons: Sequence[Polygon], region: Region, height: int, width: int) -> list[Polygon]:
    """Polygons of a slide in the pixels of an image that shows a region of it."""
    origin = np.array([region.x, region.y], dtype=np.float64)
    scale = np.array([width / region.width, height / region.height])
    return [tuple((ring - origin) * scale for ring in rings) for rings in polygons]


def _reaches_out(shape: Shape, height: int, width: int) -> bool:
    left, top, right, bottom = shape.box
    return left < 0 or top < 0 or right > width or bottom > height


def _why_empty(shape: Shape, height: int, width: int) -> str:
    left, top, right, bottom = shape.box
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return "outside the image"
    return _NO_CENTRE


def _is_only_in(shape: Shape, region: Region | None) -> bool:
    """Whether no other part of the slide shows a shape, so that it is in no mask if it is not in this one."""
    if region is None:
        return True
    left, top, right, bottom = shape.box
    across = region.x <= left and right <= region.x + region.width
    return across and region.y <= top and bottom <= region.y + region.height
