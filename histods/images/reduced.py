"""Images decoded at reduced scale, for measures that need no single pixel.

A JPEG is decoded directly to a half, a quarter or an eighth of its size, which leaves out the highest frequencies
of each block of 8x8 pixels. Microseconds per patch of 512x512 (12 real ones of 55 KB, JPEG 4:2:0, one core of an
AMD EPYC): 2,480 in full, 1,110 at a half, 1,110 at a quarter, since most of the rest is decoding Huffman codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import simplejpeg

from histods.images.jpeg_tables import Compression, read_compression
from histods.images.reader import decode_image, show_image
from histods.images.rgb import Shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.images.header import Header

LEAST_SIDE = 256
"""Pixels that the shorter side keeps, unless it has fewer."""
SMALLEST_SIDE = 32
"""Pixels that a side needs so that the pixels of the picture tell something."""
CELL = 4
_FACTORS = (8, 4, 2)


@dataclass(frozen=True, eq=False)
class Picture:
    """An image at reduced scale, with what several measures need of it.

    Attributes:
        pixels: [height, width, 3] uint8 RGB; transparent pixels on white, the orientation not applied.
        header: of the file: its format, and its size in full.
        content: the whole file.
    """

    pixels: NDArray[np.uint8]
    header: Header
    content: bytes

    @cached_property
    def grey(self) -> NDArray[np.uint8]:
        """[height, width] uint8: luma (ITU-R BT.601)."""
        return np.asarray(cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY), np.uint8)

    @cached_property
    def compression(self) -> Compression:
        """How strongly a JPEG was compressed; unknown for other formats."""
        return read_compression(self.content) if self.header.format == "jpeg" else Compression()

    @cached_property
    def brightest(self) -> int:
        """The 99th percentile of luma in every other row, which single bright pixels do not move."""
        grey = self.grey[::2]
        counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
        return int(np.searchsorted(np.cumsum(counts), 0.99 * grey.size))

    @cached_property
    def cells(self) -> NDArray[np.uint8]:
        """[height / 4, width / 4, 3] uint8: mean colours of cells of 4x4 pixels."""
        return np.asarray(_shrink(self.pixels), np.uint8)

    @cached_property
    def luma_means(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """[height / 4, width / 4] float32 each: means of luma and of its square over cells of 4x4 pixels."""
        grey = self.grey.astype(np.float32)
        return np.asarray(_shrink(grey), np.float32), np.asarray(_shrink(grey * grey), np.float32)

    def means_for(self, side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Colours, luma and its square to average over a grid of `side` x `side`, [height, width, 3 or nothing].

        Those of cells where each square of the grid has at least one; else of pixels.
        """
        if min(self.grey.shape) >= side * CELL:
            return self.cells, *self.luma_means
        luma = self.grey.astype(np.float32)
        return self.pixels, luma, luma * luma

    @cached_property
    def is_small(self) -> bool:
        """Whether it has too few pixels to be judged by them."""
        height, width = self.grey.shape
        return bool(min(height, width) < SMALLEST_SIDE)


def _shrink(values: NDArray[Any]) -> NDArray[Any]:
    """Means of cells of `CELL` x `CELL` pixels; what is left at the right and at the bottom is not used.

    By halves, for which OpenCV has vector instructions: 39 microseconds for colours of 256x256 pixels, not 91.
    Bytes are rounded twice, and a quarter of a grey level too bright in the mean.
    """
    height, width = (side // CELL for side in values.shape[:2])
    halves = cv2.resize(
        values[: height * CELL, : width * CELL], (2 * width, 2 * height), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(halves, (width, height), interpolation=cv2.INTER_AREA)


def cell_variance(picture: Picture) -> NDArray[np.float32]:
    """[height / 4, width / 4] float32: variance of luma within each cell."""
    mean, square = picture.luma_means
    return np.asarray(square - mean * mean, np.float32)


def reduction(width: int, height: int) -> int:
    """By how much an image is reduced: 1, 2, 4 or 8, so that its shorter side keeps at least `LEAST_SIDE`."""
    return next((factor for factor in _FACTORS if min(width, height) >= factor * LEAST_SIDE), 1)


def reduce_image(content: bytes, header: Header) -> Shown:
    """Decode an image as a viewer shows it, at reduced scale.

    Args:
        content: a whole file.
        header: the result of `check_image`.

    Raises:
        UnreadableFileError: the pixel data is damaged, or it is unclear how to show it.
    """
    factor = reduction(header.width, header.height)
    width, height = -(-header.width // factor), -(-header.height // factor)
    if header.format == "jpeg":
        scale = {"min_width": width, "min_height": height} if factor > 1 else {}
        try:
            return Shown(simplejpeg.decode_jpeg(content, strict=True, **scale), header.converted)
        except ValueError:  # an unsupported kind, or damage, which raises here
            decode_image(content, header)
    shown = show_image(content, header)
    if factor == 1:
        return shown
    pixels = cv2.resize(shown.pixels, (width, height), interpolation=cv2.INTER_AREA)
    return Shown(np.asarray(pixels, np.uint8), shown.converted)
