"""Masks drawn for tests, and their files as different encoders write them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import imagecodecs
import numpy as np
import pyvips
import tifffile
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[Any]


def regions(seed: int, labels: tuple[int, ...], *, height: int = 60, width: int = 80, smooth: float = 6) -> Pixels:
    """Smooth regions in which every label occurs, [height, width] uint8."""
    random = np.random.default_rng(seed)
    noise = (random.random((height, width)).astype(np.float32) for _ in labels)
    fields = np.stack([cv2.GaussianBlur(field, (0, 0), smooth) for field in noise])
    fields = (fields - fields.mean((1, 2), keepdims=True)) / fields.std((1, 2), keepdims=True)
    mask: Pixels = np.asarray(labels)[fields.argmax(0)].astype(np.uint8)
    for place, label in enumerate(labels[:8]):
        mask[2 + 6 * place : 6 + 6 * place, 10 : 16 + 2 * place] = label
    return mask


def photograph(seed: int, height: int = 60, width: int = 80) -> Pixels:
    """A stained section without sharp edges, [height, width, 3] uint8."""
    random = np.random.default_rng(seed)
    field = cv2.GaussianBlur(random.random((height, width)).astype(np.float32), (0, 0), 4)
    field = (field - field.min()) / (field.max() - field.min())
    colours = np.array([238, 205, 225.0]) - np.array([108, 135, 75.0]) * field[..., None]
    pixels: Pixels = np.clip(colours + random.normal(0, 6, colours.shape), 0, 255).astype(np.uint8)
    return pixels


def pillow(pixels: Pixels | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Encode with Pillow."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, kind, **options)
    return file.getvalue()


def opencv(pixels: Pixels, suffix: str = ".png", *options: int) -> bytes:
    """Encode with OpenCV; colours are RGB or RGBA."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    stored = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., order[pixels.shape[2]]])
    return cv2.imencode(suffix, stored, options)[1].tobytes()


def vips(pixels: Pixels, suffix: str = ".png", **options: Any) -> bytes:
    """Encode with libvips."""
    image = pyvips.Image.new_from_array(pixels)
    if pixels.dtype == np.uint16:  # else libvips takes them for bytes and keeps the high ones
        image = image.copy(interpretation="grey16")
    return bytes(image.write_to_buffer(suffix, **options))


def tiff(pixels: Pixels | Iterator[bytes], **options: Any) -> bytes:
    """Encode with tifffile."""
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def codecs_png(pixels: Pixels) -> bytes:
    """Encode with imagecodecs."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))


def palette_image(indices: Pixels, colours: list[tuple[int, int, int]]) -> Image.Image:
    """A palette image with these colours, indices as they are."""
    image = Image.fromarray(indices, "P")
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def palette_tiff(indices: Pixels, colours: list[tuple[int, int, int]]) -> bytes:
    """A palette TIFF, written by tifffile."""
    table = np.zeros((3, 256), dtype=np.uint16)
    for index, colour in enumerate(colours):
        table[:, index] = [channel * 257 for channel in colour]
    return tiff(indices, photometric="palette", colormap=table)
