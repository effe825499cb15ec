"""The tasks for workers, made file by file as workers ask: a file that is not kept is read a second time."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from histods.annotations.draw import DrawTask
from histods.annotations.plan import meets
from histods.annotations.shapes import LeftOut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from histods.annotations.formats import Found
    from histods.annotations.match import Region
    from histods.annotations.plan import Drawing, Plan, Reader
    from histods.annotations.shapes import ImageShapes, Shape

NOT_NAMED = "of a class that the labels file does not name"
_CHUNK_IMAGES, _CHUNK_SHAPES = 32, 2000
"""Maximum images and shapes per task: about a second of work, which a kill may lose."""


def chunk_tasks(
    plan: Plan,
    reader: Reader,
    labels: Mapping[str, int],
    *,
    size: tuple[int, int] | None,
    done: AbstractSet[str],
) -> Iterator[list[DrawTask]]:
    """Divide the images that are not done among tasks.

    Args:
        plan: what is to be drawn.
        reader: reads the files of annotations.
        labels: the label of each class that has one.
        size: width and height of masks without images.
        done: keys of the images that are done.

    Raises:
        StaleFileError: a file of annotations has changed since it was planned.
    """
    chunk: list[DrawTask] = []
    shapes = 0
    for task in _tasks(plan, reader, labels, size, done):
        chunk.append(task)
        shapes += len(task.shapes)
        if len(chunk) == _CHUNK_IMAGES or shapes >= _CHUNK_SHAPES:
            yield chunk
            chunk, shapes = [], 0
    if chunk:
        yield chunk


def _tasks(
    plan: Plan,
    reader: Reader,
    labels: Mapping[str, int],
    size: tuple[int, int] | None,
    done: AbstractSet[str],
) -> Iterator[DrawTask]:
    todo = sorted((one for one in plan.drawings if one.key not in done), key=lambda one: (one.file, one.key))
    for file, drawings in groupby(todo, key=lambda one: one.file):
        yield from _tasks_of_file(reader.read_again(file, plan.digests[file]), drawings, labels, size)


def _tasks_of_file(
    found: Found, drawings: Iterable[Drawing], labels: Mapping[str, int], size: tuple[int, int] | None
) -> Iterator[DrawTask]:
    ordered: dict[int, _Ordered] = {}
    for drawing in drawings:
        image = found.annotations.images[drawing.place]
        if drawing.place not in ordered:
            ordered[drawing.place] = _Ordered(image, larger_first=found.format.LARGER_FIRST)
        yield _task(drawing, image, ordered[drawing.place], labels, size)


class _Ordered:
    """The shapes of an image or a slide in the order of drawing, with their boxes [shapes, 4]."""

    def __init__(self, image: ImageShapes, *, larger_first: bool) -> None:
        self.shapes: list[Shape] = image.shapes
        if larger_first:
            areas = np.array([shape.area for shape in image.shapes])
            self.shapes = [image.shapes[place] for place in np.argsort(-areas, kind="stable")]
        self.boxes = np.array([shape.box for shape in self.shapes]).reshape(-1, 4)

    def inside(self, region: Region | None) -> Sequence[Shape]:
        """The shapes that may lie in a region."""
        if region is None:
            return self.shapes
        return [self.shapes[place] for place in meets(self.boxes, region).nonzero()[0]]


def _task(
    drawing: Drawing,
    image: ImageShapes,
    ordered: _Ordered,
    labels: Mapping[str, int],
    size: tuple[int, int] | None,
) -> DrawTask:
    shapes = ordered.inside(drawing.region)
    named = [shape for shape in shapes if shape.name in labels]
    left_out = [] if drawing.region is not None else list(image.left_out)
    left_out += [LeftOut(shape.item, shape.name, NOT_NAMED) for shape in shapes if shape.name not in labels]
    width, height = (image.width, image.height) if drawing.image is not None else size or (None, None)
    return DrawTask(
        key=drawing.key,
        image=drawing.image,
        file=drawing.file,
        width=width,
        height=height,
        region=drawing.region,
        shapes=named,
        labels=[labels[shape.name] for shape in named],
        left_out=left_out,
    )
