"""What tells a photograph from a mask must hold for every encoder, and must not accuse blank or grey patches."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from histods.masks.looks_of_files import look_at_content

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOURS = np.array([[255, 255, 255], [220, 20, 60], [0, 128, 0], [30, 60, 200], [255, 215, 0]], np.uint8)


def tissue(seed: int, size: int = 96) -> NDArray[np.uint8]:
    """A pink and purple picture."""
    random = np.random.default_rng(seed)
    field = cv2.GaussianBlur(random.random((size, size)).astype(np.float32), (0, 0), 5)
    field = (field - field.min()) / (field.max() - field.min())
    pink = np.array([235.0, 200, 220]) - np.array([110.0, 140, 80]) * field[..., None]
    pixels: NDArray[np.uint8] = np.clip(pink + random.normal(0, 5, (size, size, 3)), 0, 255).astype(np.uint8)
    return pixels


def regions(seed: int, labels: int, size: int = 96) -> NDArray[np.uint8]:
    """Smooth regions of the labels 0 to `labels` - 1."""
    random = np.random.default_rng(seed)
    fields = [
        cv2.GaussianBlur(random.random((size, size)).astype(np.float32), (0, 0), size / 12) for _ in range(labels)
    ]
    mask: NDArray[np.uint8] = np.stack(fields).argmax(0).astype(np.uint8)
    return mask


def nuclei(seed: int, brightest: int, noise: float, darkest_kept: int = 0, size: int = 96) -> NDArray[np.uint8]:
    """Fluorescence on black; values below `darkest_kept` are cut off, as viewers and JPEG do."""
    random = np.random.default_rng(seed)
    field = cv2.GaussianBlur((random.random((size, size)) > 0.998).astype(np.float32), (0, 0), 5)
    grey = field / field.max() * brightest + random.normal(0, noise, (size, size))
    return np.clip(np.where(grey < darkest_kept, 0, grey), 0, 255).astype(np.uint8)


def encoded(pixels: NDArray[Any], file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def encoded_palette(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE).save(buffer, "PNG")
    return buffer.getvalue()


MASKS = {
    "labels as stored": lambda: encoded(regions(0, 5), "PNG"),
    "labels in one large area": lambda: encoded(np.pad(np.full((4, 4), 3, np.uint8), 60), "PNG"),
    "all zero": lambda: encoded(np.zeros((64, 64), np.uint8), "PNG"),
    "0 and 255": lambda: encoded(regions(1, 2) * 255, "PNG"),
    "bilevel TIFF": lambda: encoded(regions(1, 2).astype(bool), "TIFF"),
    "class colours": lambda: encoded(COLOURS[regions(2, 5)], "PNG"),
    "class colours, lossless WebP": lambda: encoded(COLOURS[regions(3, 4)], "WEBP", lossless=True),
    "a palette of class colours": lambda: encoded_palette(COLOURS[regions(2, 3)]),
    "grey JPEG": lambda: encoded(regions(4, 3, 256) * 60, "JPEG", quality=75),
    "antialiased edges": lambda: encoded(cv2.GaussianBlur(COLOURS[regions(5, 3, 256)], (3, 3), 0), "PNG"),
    "0 and 255 with long edges, JPEG": lambda: encoded(regions(8, 2, 160) * 255, "JPEG", quality=90),
    "60 labels": lambda: encoded(regions(6, 60), "PNG"),
    "a label drawn for every pixel": lambda: encoded(
        np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint8), "BMP"
    ),
}
PHOTOGRAPHS = {
    "tissue": lambda: encoded(tissue(0), "PNG"),
    "tissue as JPEG": lambda: encoded(tissue(1), "JPEG", quality=60),
    "grey tissue": lambda: encoded(tissue(2)[..., 1], "PNG"),
    "out of focus": lambda: encoded(cv2.GaussianBlur(tissue(3, 256), (0, 0), 6), "JPEG", quality=75),
    "tissue beside glass": lambda: encoded(np.hstack([tissue(4), np.full((96, 180, 3), 243, np.uint8)]), "PNG"),
    "tissue in a black margin": lambda: encoded(np.pad(tissue(5), ((40, 40), (40, 40), (0, 0))), "PNG"),
    "a palette of 256 colours": lambda: encoded_palette(tissue(6)),
}
DARK = {
    "dim fluorescence": lambda: encoded(nuclei(0, 45, 2), "PNG"),
    "dim fluorescence, JPEG": lambda: encoded(nuclei(1, 60, 2), "JPEG", quality=90),
    "very dim fluorescence": lambda: encoded(nuclei(2, 12, 1), "TIFF"),
    "fluorescence without its background": lambda: encoded(nuclei(3, 240, 2, 15), "PNG"),
    "one colour of fluorescence": lambda: encoded(
        np.pad(nuclei(4, 50, 1)[..., None], ((0, 0), (0, 0), (2, 0))), "PNG"
    ),
    "dark tissue": lambda: encoded((tissue(7) // 8).astype(np.uint8), "BMP"),
}
BLANK = {
    "white": lambda: encoded(np.full((64, 64, 3), 255, np.uint8), "PNG"),
    "glass": lambda: encoded(np.full((64, 64, 3), (243, 240, 244), np.uint8), "JPEG"),
    "noise on glass": lambda: encoded(
        np.random.default_rng(1).integers(236, 246, (64, 64, 3)).astype(np.uint8), "PNG"
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_any_encoder_look_like_masks(name: str) -> None:
    look = look_at_content(MASKS[name]())
    assert look is not None
    assert look.is_mask
    assert not look.is_photograph


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_do_not_look_like_masks(name: str) -> None:
    look = look_at_content(PHOTOGRAPHS[name]())
    assert look is not None
    assert look.is_photograph


@pytest.mark.parametrize("name", DARK)
def test_dark_photographs_do_not_look_like_masks(name: str) -> None:
    look = look_at_content(DARK[name]())
    assert look is not None
    assert not look.is_mask


@pytest.mark.parametrize("name", BLANK)
def test_blank_patches_are_neither_masks_nor_photographs(name: str) -> None:
    look = look_at_content(BLANK[name]())
    assert look is not None
    assert look.is_blank
    assert not look.is_mask


def test_what_cannot_be_decoded_has_no_look() -> None:
    assert look_at_content(b"\x89PNG") is None
