"""The positions of the tiles of an image, and which of them are blank: arithmetic on arrays only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

NEAR_WHITE = 220
"""A pixel without a darker channel counts as glass."""
BLANK_SHARE = 0.01
"""A tile with a smaller share of other pixels is blank; it is low, since the walls of fat cells are thin."""
WHITE = 255

_USUAL_SIDES = (512, 256, 128, 64)
_MAX_SIDE = 1024


class Box(NamedTuple):
    """A part of an image: its upper left corner, and its size without padding, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def cut(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """The part of [height, width, ...] pixels that the box covers, as a view."""
        view: NDArray[Any] = pixels[self.y : self.y + self.height, self.x : self.x + self.width]
        return view


def tile_side(*shapes: tuple[int, int], multiple: int = 1) -> int:
    """The tile side to propose for images of several sizes, or of an unsuitable size.

    It is that of the smallest image if it is square and of a common size, else the largest common size that fits
    in it.

    Args:
        shapes: height and width of images, pixels.
        multiple: required divisor of the side.
    """
    least = min(side for shape in shapes for side in shape)
    usual = (side for side in _USUAL_SIDES if side <= least and side % multiple == 0)
    square = any(shape == (least, least) for shape in shapes) and least <= _MAX_SIDE and least % 32 == 0
    return least if square and least % multiple == 0 else next(usual, max(least // multiple, 1) * multiple)


def tile_advice(*shapes: tuple[int, int], multiple: int = 1) -> str:
    """The command that makes such images fit for training; see `tile_side`."""
    side = tile_side(*shapes, multiple=multiple)
    return f"'histods tile --size {side} --to DIR' cuts images and masks into patches of {side}x{side}"


def list_boxes(width: int, height: int, *, size: int, stride: int, shift: bool) -> Iterator[Box]:
    """Iterate over the tiles of an image by rows; together they cover every pixel.

    Args:
        width: pixels of the image.
        height: pixels of the image.
        size: side of a tile, pixels.
        stride: pixels from one tile to the next, at most `size`.
        shift: move the last tile of a row or column inwards; else it extends beyond the image and must be padded.
    """
    rows, columns = (_starts(length, size, stride, shift=shift) for length in (height, width))
    for y in rows:
        for x in columns:
            yield Box(x, y, min(size, width - x), min(size, height - y))


def _starts(length: int, size: int, stride: int, *, shift: bool) -> list[int]:
    """The starts of tiles along one side: every `stride` pixels, until the end is covered."""
    if length <= size:
        return [0]
    starts = list(range(0, length - size + 1, stride))
    if starts[-1] + size < length:
        starts.append(length - size if shift else starts[-1] + stride)
    return starts


def pad(part: NDArray[Any], size: int, value: int) -> NDArray[Any]:
    """Pad a part of an image to the right and below, to `size` by `size` pixels, if it is smaller."""
    height, width = part.shape[:2]
    if (height, width) == (size, size):
        return part
    padded = np.full((size, size, *part.shape[2:]), value, dtype=part.dtype)
    padded[:height, :width] = part
    return padded


def find_tissue(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of [height, width, 3] pixels have a channel darker than `NEAR_WHITE`: [height, width]."""
    darkest = np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    return np.asarray(darkest < NEAR_WHITE)


def tissue_share(tissue: NDArray[np.bool_]) -> float:
    """The share, 0 to 1, of the pixels of a part that are not near white."""
    return int(np.count_nonzero(tissue)) / tissue.size
