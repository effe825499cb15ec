"""Tissue of several kinds with masks as people draw them, beside the skin that `histods.synthetic` generates.

Each function makes one image [SIDE, SIDE, 3] and its mask from a generator of random numbers and a stain. Outlines
are off by a few percent of a side, as those of annotators are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from histods.synthetic.tissue import make_patch, smooth_field

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
    Kind = Callable[[np.random.Generator, NDArray[np.float64]], Pair]

SIDE = 128
_HAEMATOXYLIN, _EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
_NUCLEUS = 1.6


def make_pairs(kind: str, number: int, seed: int = 0) -> list[Pair]:
    """Make pairs of one of `KINDS`, or `skin`; ten from each slide."""
    if kind == "skin":
        patches = [make_patch(seed, place, size=SIDE, slide=place // 10) for place in range(number)]
        return [(patch.image, _redraw(patch.mask, np.random.default_rng([seed, 3]))) for patch in patches]
    make, pairs = KINDS[kind], []
    for place in range(number):
        stain = np.random.default_rng([seed, place // 10, 1]).normal(0, 1, 3)
        pairs.append(make(np.random.default_rng([seed, place, 2]), stain))
    return pairs


def _redraw(mask: NDArray[np.uint8], random: np.random.Generator, off: float = 0.015) -> NDArray[np.uint8]:
    """Move outlines by about `off` sides, smoothly and as a whole."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    down, right = (
        smooth_field(random, SIDE, SIDE / 4) * off * SIDE + random.normal(0, off / 2) * SIDE for _ in range(2)
    )
    moved = cv2.remap(
        mask,
        (columns + right).astype(np.float32),
        (rows + down).astype(np.float32),
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, np.uint8)


def _soft(mask: NDArray[np.generic], sigma: float = 1.2) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma), np.float32)


def _develop(
    haematoxylin: NDArray[np.floating],
    eosin: NDArray[np.floating],
    random: np.random.Generator,
    stain: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Absorption of two stains (Beer-Lambert), the slide's strength of each, and noise."""
    strong = 1 + 0.15 * stain
    density = haematoxylin[..., None] * strong[0] * _HAEMATOXYLIN + eosin[..., None] * strong[1] * _EOSIN
    image = 250 * np.exp(-np.clip(density, 0, 3)) + random.normal(0, 3, (SIDE, SIDE, 3))
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def _scatter_nuclei(random: np.random.Generator, share: NDArray[np.floating]) -> NDArray[np.float32]:
    """Small nuclei, with this probability at each pixel."""
    return np.clip(_soft(random.random((SIDE, SIDE)) < share, _NUCLEUS) * 9, 0, 1)


def make_nuclei(random: np.random.Generator, stain: NDArray[np.float64]) -> Pair:
    """Few to many dark nuclei on eosin, each in the mask."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(int(random.integers(6, 50))):
        centre = tuple(int(value) for value in random.integers(0, SIDE, 2))
        radii = tuple(int(value) for value in random.integers(3, 6, 2))
        cv2.ellipse(mask, centre, radii, random.uniform(0, 180), 0, 360, 1, -1)
    grain = smooth_field(random, SIDE, 6) * 0.2 + 1
    blue = 0.15 + _soft(mask) * random.uniform(0.5, 0.9) * grain
    red = 0.3 + 0.12 * smooth_field(random, SIDE, 40) + 0.06 * smooth_field(random, SIDE, 8)
    return _develop(blue, red, random, stain), _redraw(mask, random, 0.005)


def make_glands(random: np.random.Generator, stain: NDArray[np.float64]) -> Pair:
    """Glands: a dark rim around a pale lumen, which the mask takes as one."""
    mask, lumen = (np.zeros((SIDE, SIDE), np.uint8) for _ in range(2))
    for _ in range(int(random.integers(2, 7))):
        centre = tuple(int(value) for value in random.integers(0, SIDE, 2))
        radii, angle = random.uniform(0.08, 0.22, 2) * SIDE, random.uniform(0, 180)
        for field, share in ((mask, 1.0), (lumen, random.uniform(0.3, 0.7))):
            cv2.ellipse(field, centre, tuple((radii * share).astype(int).tolist()), angle, 0, 360, 1, -1)
    rim, hole = _soft(mask), _soft(lumen)
    blue = 0.2 + rim * 0.3 + _scatter_nuclei(random, np.full((SIDE, SIDE), 0.015)) * (0.2 + 0.5 * rim)
    red = (0.35 + 0.1 * smooth_field(random, SIDE, 25) + 0.08 * smooth_field(random, SIDE, 7)) * (1 - 0.3 * rim)
    return _develop(blue * (1 - 0.9 * hole), red * (1 - 0.85 * hole), random, stain), _redraw(mask, random)


def make_grain(random: np.random.Generator, stain: NDArray[np.float64]) -> Pair:
    """Two tissues of one colour, which differ in texture alone; both are labels."""
    field = smooth_field(random, SIDE, SIDE * random.uniform(0.3, 0.7))
    tissue = field > np.quantile(field, random.uniform(0.3, 0.7))
    coarse = _soft(tissue)
    red = (
        0.35 + 0.25 * coarse * smooth_field(random, SIDE, 5) + 0.1 * (1 - coarse) * smooth_field(random, SIDE, 12)
    )
    blue = 0.2 + 0.06 * smooth_field(random, SIDE, 30)
    return _develop(blue, red, random, stain), _redraw((tissue + 1).astype(np.uint8), random)


def make_fluorescence(random: np.random.Generator, stain: NDArray[np.float64]) -> Pair:
    """Few to many bright nuclei on black, each in the mask."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(int(random.integers(6, 50))):
        centre = tuple(int(value) for value in random.integers(0, SIDE, 2))
        radii = tuple(int(value) for value in random.integers(3, 6, 2))
        cv2.ellipse(mask, centre, radii, random.uniform(0, 180), 0, 360, 1, -1)
    light = 8 + (1 + 0.15 * stain[0]) * random.uniform(60, 160) * _soft(mask) * (
        1 + 0.2 * smooth_field(random, SIDE, 6)
    )
    light = light + random.normal(0, 4, (SIDE, SIDE)) + 2 * smooth_field(random, SIDE, 30)
    image = np.clip(light, 0, 255)[..., None] * np.array([0.2, 0.3, 1.0])
    return np.asarray(image, np.uint8), _redraw(mask, random, 0.005)


def make_tumour(
    random: np.random.Generator, stain: NDArray[np.float64], outside: tuple[float, float] = (0.4, 0.85)
) -> Pair:
    """Tumour in tissue on glass; the mask holds tumour alone, so that stroma and glass share a label."""
    field = smooth_field(random, SIDE, SIDE * random.uniform(0.5, 0.9))
    tissue = field > np.quantile(field, random.uniform(0.0, 0.5))
    nest = smooth_field(random, SIDE, SIDE * random.uniform(0.25, 0.6))
    tumour = tissue & (nest > np.quantile(nest, random.uniform(*outside)))
    here, dense = _soft(tissue), _soft(tumour)
    blue = 0.12 + 0.18 * dense + _scatter_nuclei(random, 0.006 + 0.02 * dense) * 0.5
    red = 0.35 + 0.12 * smooth_field(random, SIDE, 25) + 0.1 * smooth_field(random, SIDE, 8) - 0.1 * dense
    return _develop(blue * here, red * here, random, stain), _redraw(tumour.astype(np.uint8), random)


def make_buds(random: np.random.Generator, stain: NDArray[np.float64]) -> Pair:
    """The same with hardly any tumour in most patches, so that many masks differ in a few cells only."""
    return make_tumour(random, stain, (0.4, 0.85) if random.random() < 0.4 else (0.97, 0.998))


def make_regions(random: np.random.Generator, stain: NDArray[np.float64], contrast: float = 1.0) -> Pair:
    """Two to four of twelve labels, which look different from image to image; often partly annotated."""
    looks = np.random.default_rng(77).uniform(0, 1, (13, 3)) + random.normal(0, 0.12, (13, 3))
    labels = random.permutation(12)[: int(random.integers(2, 5))] + 1
    tissue = np.full((SIDE, SIDE), labels[0], np.uint8)
    for label in labels[1:]:
        field = smooth_field(random, SIDE, SIDE * random.uniform(0.4, 0.9))
        tissue[field > np.quantile(field, random.uniform(0.5, 0.8))] = label
    look = 0.5 + contrast * (_soft(looks[tissue]) - 0.5)
    blue = 0.15 + 0.3 * look[..., 0] + 0.4 * _scatter_nuclei(random, 0.004 + 0.012 * np.clip(look[..., 2], 0, 1))
    red = 0.25 + 0.35 * look[..., 1] + 0.06 * smooth_field(random, SIDE, 8)
    mask = _redraw(tissue, random)
    if random.random() < 0.5:
        field = smooth_field(random, SIDE, SIDE * 0.6)
        mask[field < np.quantile(field, random.uniform(0.2, 0.6))] = 0
    return _develop(blue, red, random, stain), mask


def make_faint(random: np.random.Generator, stain: NDArray[np.float64]) -> Pair:
    """The same with 40 % of the contrast."""
    return make_regions(random, stain, 0.4)


def make_loose(random: np.random.Generator, stain: NDArray[np.float64]) -> Pair:
    """Tissue with holes that no label follows, and one label over part of what hardly differs from the rest."""
    field = smooth_field(random, SIDE, SIDE * random.uniform(0.4, 0.9))
    tissue = field > np.quantile(field, random.uniform(0.3, 0.7))
    holes = _soft(smooth_field(random, SIDE, SIDE * random.uniform(0.1, 0.5)) > random.uniform(0.8, 1.6))
    blue = 0.2 + 0.04 * _soft(tissue) + 0.4 * _scatter_nuclei(random, np.full((SIDE, SIDE), 0.008))
    red = 0.3 + 0.12 * smooth_field(random, SIDE, 10) + 0.1 * smooth_field(random, SIDE, 40)
    part = smooth_field(random, SIDE, SIDE * 0.6)
    drawn = tissue & (part > np.quantile(part, random.uniform(0, 0.6)))
    mask = np.where(drawn, random.integers(1, 8), 0).astype(np.uint8)
    return _develop(blue * (1 - 0.95 * holes), red * (1 - 0.9 * holes), random, stain), _redraw(mask, random)


KINDS: dict[str, Kind] = {
    "nuclei": make_nuclei,
    "fluorescence": make_fluorescence,
    "glands": make_glands,
    "grain": make_grain,
    "tumour": make_tumour,
    "buds": make_buds,
    "regions": make_regions,
    "faint": make_faint,
    "loose": make_loose,
}
