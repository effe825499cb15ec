"""Pictures to look at: generated images, masks in the colours of charts, and sheets of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histods.errors import MissingExtraError
from histods.io.atomic import replacing
from histods.palette import class_fill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

_GAP = 8
_COLOURS = np.array([tuple(bytes.fromhex(class_fill(index).face[1:])) for index in range(256)], dtype=np.uint8)


def to_pixels(images_BCHW: Tensor, low: float = -1.0) -> NDArray[np.uint8]:
    """Convert images with values from `low` to 1 to uint8 [B, H, W, 3]; values outside are clipped."""
    scaled = ((images_BCHW.float() - low) * (255 / (1 - low))).round().clamp(0, 255)
    pixels: NDArray[np.uint8] = scaled.byte().permute(0, 2, 3, 1).cpu().numpy()
    return pixels


def coloured(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask of classes [H, W] in the colours that charts use, uint8 [H, W, 3]."""
    return _COLOURS[mask]


def sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Arrange pictures of one size [H, W, 3] in rows on white."""
    height, width = rows[0][0].shape[:2]
    columns = max(map(len, rows))
    size = (len(rows) * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3)
    page = np.full(size, 255, dtype=np.uint8)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
            page[top : top + height, left : left + width] = picture
    return page


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write [H, W, 3] or [H, W] pixels as PNG, atomically.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            "PNG files need Pillow, which is not installed; run 'pip install pillow', or set run.preview_every=0."
        ) from error
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
