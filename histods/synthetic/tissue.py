"""Label masks of synthetic skin: a few scenes, each a composition of layers, nests and glands.

Masks hold DRSK's source labels (0 to 54). Regions are piecewise constant with smooth outlines, as drawn by a
pathologist; no region is thinner than a few pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from histods.synthetic.faults import speck_share
from histods.synthetic.stain import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Labels = NDArray[np.uint8]
    Field = NDArray[np.float32]

MEDIAN_PIXELS = 9
"""Side of the median filter that removes slivers where outlines meet; odd."""

_UNIT = 4.3  # a Gaussian of 1.2 cells leaves white noise with 1/4.3 of its deviation
_SMALLEST_EXTENT = 0.05  # of the patch
_MAX_SPECKS = 0.03  # of the runs
_PARTLY_ANNOTATED = 0.35  # share of patches in which the annotator left some tissue as label 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Patch:
    """An image and its mask: [size, size, 3] uint8 RGB and [size, size] uint8 labels."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def make_patch(seed: int, index: int, *, size: int, slide: int = 0) -> Patch:
    """Make one patch; the same arguments always give the same pixels.

    Args:
        seed: seed of the whole dataset, 0 or more.
        index: index of this patch, 0 or more.
        size: side in pixels, at least 32; about 0.5 micrometres per pixel.
        slide: index of the slide; slides differ slightly in stain, like scanned slides.

    Returns:
        A patch whose mask has at least two labels of some extent, and hardly any run of 3 px or less between two
        other labels.
    """
    random = np.random.default_rng([seed, index])
    while True:
        tissue = _SCENES[int(random.integers(len(_SCENES)))](random, size)
        tissue = _without_slivers(tissue)
        mask = _annotate(random, tissue)
        if _is_clear(mask):
            break
    stain = np.random.default_rng([seed, slide, 7]).normal(0.0, 1.0, 3).astype(np.float32)
    return Patch(image=render(random, tissue, stain), mask=mask)


def _is_clear(mask: Labels) -> bool:
    """Whether a mask is clearly neither constant nor speckled."""
    extents = np.bincount(mask.ravel()) / mask.size
    return int(np.sum(extents > _SMALLEST_EXTENT)) > 1 and speck_share(mask)[0] < _MAX_SPECKS


def smooth_field(random: np.random.Generator, size: int, wavelength: float) -> Field:
    """Smooth noise [size, size] of about unit variance whose features are `wavelength` pixels wide."""
    pitch = wavelength / 4
    cells = int(np.ceil(size / pitch)) + 8
    # Smoothing the coarse grid and then enlarging it costs a hundredth of smoothing at full size.
    coarse = cv2.GaussianBlur(random.standard_normal((cells, cells)).astype(np.float32), (0, 0), 1.2)
    side = max(size, int(cells * pitch))
    wide = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    top = (side - size) // 2
    return np.ascontiguousarray(wide[top : top + size, top : top + size]) * _UNIT


def _annotate(random: np.random.Generator, tissue: Labels) -> Labels:
    """Leave part of some patches unannotated (label 0), outside one smooth outline."""
    if random.random() > _PARTLY_ANNOTATED:
        return tissue
    size = tissue.shape[0]
    outline = smooth_field(random, size, size * 0.6)
    drawn = outline > np.quantile(outline, random.uniform(0.15, 0.6))
    return _without_slivers(np.where(drawn, tissue, 0).astype(np.uint8))


def _without_slivers(labels: Labels) -> Labels:
    return np.asarray(cv2.medianBlur(labels, MEDIAN_PIXELS), np.uint8)


def _depth(random: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Depth below the surface and position along it, both in patch sides, at a random angle."""
    angle = random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    depth = rows * np.cos(angle) + columns * np.sin(angle) + 0.5
    along = columns * np.cos(angle) - rows * np.sin(angle) + 0.5
    bend = smooth_field(random, size, size * 0.7) * 0.05
    return (depth + bend).astype(np.float32), along.astype(np.float32)


def _pick(random: np.random.Generator, labels: tuple[int, ...]) -> int:
    return int(labels[int(random.integers(len(labels)))])


def _surface(random: np.random.Generator, size: int) -> Labels:
    """Background, epidermis with rete ridges, dermis, and sometimes fat below."""
    depth, along = _depth(random, size)
    top = random.uniform(0.12, 0.3)
    ridges = 0.035 * np.sin(along * random.uniform(14, 26) + smooth_field(random, size, size * 0.4) * 1.5)
    thick = random.uniform(0.13, 0.24)
    labels = np.full((size, size), _pick(random, (28, 28, 29, 19, 15)), np.uint8)
    labels[depth > random.uniform(0.75, 1.2)] = _pick(random, (53, 54, 51))
    labels[depth < top + thick + ridges] = _pick(random, (41, 41, 42, 31, 38, 40, 39))
    labels[depth < top] = 1
    return labels


def _glands(random: np.random.Generator, size: int) -> Labels:
    """Dermis with sweat gland coils and a hair follicle with its sebaceous gland."""
    labels = np.full((size, size), _pick(random, (28, 28, 29, 20)), np.uint8)
    for _ in range(int(random.integers(2, 4))):
        coil = random.uniform(0.1, 0.9, 2)
        for _ in range(int(random.integers(4, 8))):
            _ellipse(labels, coil + random.normal(0, 0.09, 2), random.uniform(0.045, 0.08, 2), random, 47)
    place = random.uniform(0.2, 0.8, 2)
    _ellipse(labels, place, (random.uniform(0.1, 0.15), random.uniform(0.2, 0.3)), random, 45)
    return labels


def _ellipse(
    labels: Labels,
    centre: NDArray[np.float64],
    radii: NDArray[np.float64] | tuple[float, float],
    random: np.random.Generator,
    label: int,
) -> None:
    """Draw a filled ellipse; `centre` and `radii` are in patch sides."""
    size = labels.shape[0]
    x, y = (int(value * size) for value in centre)
    wide, high = (max(3, int(value * size)) for value in radii)
    cv2.ellipse(labels, (x, y), (wide, high), random.uniform(0, 180), 0, 360, label, -1)


def _tumour(random: np.random.Generator, size: int) -> Labels:
    """Tumour nests in a reactive dermis, with inflammation around them."""
    tumour, around = ((4, 10), (24, 26), (3, 13), (16, 10), (6, 19), (4, 11), (9, 14))[int(random.integers(7))]
    labels = np.full((size, size), _pick(random, (19, 28, 28)), np.uint8)
    nests = smooth_field(random, size, size * random.uniform(0.16, 0.3))
    inflamed = nests * 0.6 + smooth_field(random, size, size * 0.3)
    labels[inflamed > np.quantile(inflamed, random.uniform(0.55, 0.75))] = around
    labels[nests > np.quantile(nests, random.uniform(0.55, 0.8))] = tumour
    return labels


def _junction(random: np.random.Generator, size: int) -> Labels:
    """Epidermis with a lesion, above a lesion of the dermis."""
    above, below = ((36, 16), (32, 4), (30, 3), (33, 8), (37, 10), (35, 6))[int(random.integers(6))]
    depth, along = _depth(random, size)
    top = random.uniform(0.05, 0.2)
    wave = 0.03 * np.sin(along * random.uniform(10, 20))
    labels = np.full((size, size), 28, np.uint8)
    lesion = smooth_field(random, size, size * 0.35) - (depth - 0.45) * 2
    labels[lesion > np.quantile(lesion, 0.6)] = below
    epidermis = depth < top + random.uniform(0.18, 0.28) + wave
    labels[epidermis] = 41
    labels[epidermis & (smooth_field(random, size, size * 0.4) > -0.1)] = above
    labels[depth < top] = 1
    return labels


def _fat(random: np.random.Generator, size: int) -> Labels:
    """Subcutaneous fat with septa of dermis or reactive tissue."""
    labels = np.full((size, size), _pick(random, (53, 53, 54, 51)), np.uint8)
    septa = np.abs(smooth_field(random, size, size * 0.45))
    labels[septa < random.uniform(0.14, 0.25)] = _pick(random, (28, 52, 29))
    return labels


def _cartilage(random: np.random.Generator, size: int) -> Labels:
    """A plate of cartilage between two layers of perichondrium, in dermis."""
    depth, _ = _depth(random, size)
    middle, half = random.uniform(0.35, 0.65), random.uniform(0.15, 0.25)
    distance = np.abs(depth - middle)
    labels = np.full((size, size), 28, np.uint8)
    labels[distance < half + random.uniform(0.06, 0.1)] = _pick(random, (43, 43, 44))
    labels[distance < half] = _pick(random, (49, 49, 50))
    return labels


def _spindle(random: np.random.Generator, size: int) -> Labels:
    """A tumour or scar of spindle cells that fills most of the patch, with an artefact here and there."""
    labels = np.full((size, size), _pick(random, (28, 29)), np.uint8)
    field = smooth_field(random, size, size * 0.55)
    labels[field > np.quantile(field, random.uniform(0.2, 0.5))] = _pick(random, (5, 7, 17, 18, 21, 22))
    fold = smooth_field(random, size, size * 0.3)
    labels[fold > np.quantile(fold, 0.9)] = 2
    return labels


_SCENES: tuple[Callable[[np.random.Generator, int], Labels], ...] = (
    _surface,
    _surface,
    _glands,
    _tumour,
    _tumour,
    _junction,
    _fat,
    _cartilage,
    _spindle,
)
