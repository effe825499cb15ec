"""Pictures of generated tissue, and what can be wrong with one."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from histods.synthetic.tissue import make_patch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

HE = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))
TRICHROME = ((0.65, 0.70, 0.29), (0.80, 0.59, 0.10))
"""Optical densities of two stains (Ruifrok and Johnston 2001): red, green, blue."""


@cache
def tissue(index: int, size: int = 256) -> Pixels:
    """A sound picture, each of its own slide of five."""
    return make_patch(11, index, size=size, slide=index % 5).image


def encode(pixels: Pixels, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **({"quality": 90} if kind == "JPEG" else {}) | options)
    return stream.getvalue()


def draw(pixels: Pixels, colour: tuple[int, int, int]) -> Pixels:
    """A stroke of a marker, which lets a fifth of the light through."""
    height, width = pixels.shape[:2]
    stroke = np.zeros((height, width), np.float32)
    cv2.line(stroke, (width // 8, height // 3), (width * 7 // 8, height // 2), 1.0, height // 20, cv2.LINE_AA)
    opacity = 0.8 * stroke[..., None]
    return np.asarray(pixels * (1 - opacity) + np.array(colour) * opacity, np.uint8)


def restain(pixels: Pixels) -> Pixels:
    """The same tissue in another stain: densities of haematoxylin and eosin in the colours of a trichrome."""
    before, after = (
        np.array(stains) / np.linalg.norm(stains, axis=1, keepdims=True) for stains in (HE, TRICHROME)
    )
    density = -np.log((pixels.astype(float) + 1) / 256) @ np.linalg.pinv(before) @ after
    return np.asarray(np.clip(256 * np.exp(-density) - 1, 0, 255), np.uint8)


def glass(pixels: Pixels, colour: tuple[int, int, int], noise: float) -> Pixels:
    """Nothing but light of a colour, with noise of a camera."""
    grains = np.random.default_rng(int(pixels[0, 0].sum())).normal(0, noise, (*pixels.shape[:2], 1))
    return np.clip(np.array(colour) + grains, 0, 255).astype(np.uint8)


def corner(pixels: Pixels) -> Pixels:
    """A speck of tissue on glass."""
    picture = np.full_like(pixels, 244)
    side = pixels.shape[0] // 4
    picture[:side, :side] = pixels[:side, :side]
    return picture


def shift(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(cv2.copyMakeBorder(pixels[:, 1:], 0, 0, 0, 1, cv2.BORDER_REPLICATE))


FAULTS: dict[str, tuple[str, Callable[[Pixels], Pixels]]] = {
    "blurred by 2.5 px": ("blur", lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 2.5).astype(np.uint8)),
    "blurred by 5 px": ("blur", lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 5).astype(np.uint8)),
    "dark": ("too_dark", lambda pixels: (pixels * 0.4).astype(np.uint8)),
    "nearly black": ("too_dark", lambda pixels: (pixels * 0.15).astype(np.uint8)),
    "over-exposed": ("over_exposed", lambda pixels: np.clip(pixels * 1.5, 0, 255).astype(np.uint8)),
    "blue ink": ("pen_marks", lambda pixels: draw(pixels, (30, 60, 170))),
    "green ink": ("pen_marks", lambda pixels: draw(pixels, (10, 120, 70))),
    "black ink": ("pen_marks", lambda pixels: draw(pixels, (25, 25, 30))),
    "white glass": ("blank", lambda pixels: glass(pixels, (250, 250, 250), 1)),
    "grey glass": ("blank", lambda pixels: glass(pixels, (170, 170, 170), 3)),
    "tinted glass": ("blank", lambda pixels: glass(pixels, (235, 225, 200), 1)),
    "black": ("blank", np.zeros_like),
    "a speck": ("low_tissue", corner),
    "another stain": ("stain_outlier", restain),
    "compressed again": ("near_duplicate", lambda pixels: pixels),
    "shifted by 1 px": ("near_duplicate", shift),
}
"""What is wrong, the code that finds it, and how a sound picture becomes so."""
