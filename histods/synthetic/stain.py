"""Haematoxylin-and-eosin-like images that follow a label mask, so that a model could learn one from the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.uint8]
    Field = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The appearance of a tissue: ground colour, and the share (0 to 1) of each texture.

    Attributes:
        colour: red, green, blue of the ground, 0 to 255.
        nuclei: round nuclei (epithelium, inflammation, tumours).
        spindles: elongated nuclei along the fibres.
        fibres: contrast of the wavy fibres.
        vacuoles: pale cells with thin walls (fat, sebaceous glands).
        lumen: pale centre of glands and follicles.
    """

    colour: tuple[int, int, int]
    nuclei: float = 0.0
    spindles: float = 0.0
    fibres: float = 0.2
    vacuoles: float = 0.0
    lumen: float = 0.0


_SQUAMOUS = (3, 24, 30)
_LOOKS = {
    (1,): Look(colour=(243, 240, 243), fibres=0.0),
    (2,): Look(colour=(158, 132, 172), nuclei=0.15, fibres=0.6),
    (28, 29): Look(colour=(230, 158, 190), spindles=0.13, fibres=1.0),
    (19, 20, 52): Look(colour=(222, 172, 200), nuclei=0.05, spindles=0.25, fibres=0.8),
    (41, 42, 38): Look(colour=(188, 118, 178), nuclei=0.62, fibres=0.1),
    (25, 31, 40): Look(colour=(172, 98, 160), nuclei=0.8, fibres=0.1),
    (39, 23): Look(colour=(176, 122, 146), nuclei=0.5),
    (4, 32): Look(colour=(158, 104, 178), nuclei=0.97, fibres=0.1),
    _SQUAMOUS: Look(colour=(206, 106, 152), nuclei=0.45, fibres=0.3),
    (16, 35, 36, 37): Look(colour=(146, 98, 110), nuclei=0.7),
    (6, 8, 33): Look(colour=(182, 124, 156), nuclei=0.65),
    (10, 11, 12, 13, 14, 26): Look(colour=(206, 162, 202), nuclei=0.9, fibres=0.3),
    (15, 34): Look(colour=(234, 196, 216), nuclei=0.25, fibres=0.5),
    (9,): Look(colour=(204, 146, 188), nuclei=0.5, fibres=0.4),
    (5, 7): Look(colour=(210, 134, 176), spindles=0.7, fibres=0.8),
    (17, 18): Look(colour=(224, 184, 206), spindles=0.6, fibres=0.7),
    (21, 22, 27): Look(colour=(236, 140, 170), spindles=0.3, fibres=1.2),
    (43, 44): Look(colour=(218, 130, 168), spindles=0.5, fibres=0.9),
    (45, 46): Look(colour=(208, 146, 186), nuclei=0.35, vacuoles=0.5, lumen=0.7),
    (47, 48): Look(colour=(186, 112, 176), nuclei=0.75, fibres=0.1, lumen=0.9),
    (49, 50): Look(colour=(186, 176, 220), nuclei=0.08, fibres=0.15),
    (51, 53, 54): Look(colour=(243, 232, 240), nuclei=0.02, fibres=0.0, vacuoles=1.0),
}
_NUCLEUS = np.array([88, 54, 128], np.float32)
_WALL = np.array([214, 138, 178], np.float32)
_LIGHT = np.array([246, 236, 242], np.float32)
_TINT = 7.0  # labels of one family differ by about this many grey levels


def _tables() -> tuple[Field, Field]:
    """Ground colours [256, 3] and texture shares [256, 5] by label."""
    colours, shares = np.zeros((256, 3), np.float32), np.zeros((256, 5), np.float32)
    for labels, look in _LOOKS.items():
        for label in labels:
            tint = np.random.default_rng([label, 55]).uniform(-_TINT, _TINT, 3)
            colours[label] = np.array(look.colour) + tint
            shares[label] = (look.nuclei, look.spindles, look.fibres, look.vacuoles, look.lumen)
    return colours, shares


_COLOURS, _SHARES = _tables()


def render(random: np.random.Generator, tissue: Labels, stain: Field) -> NDArray[np.uint8]:
    """Render tissue labels [size, size] (1 to 54) as RGB [size, size, 3].

    Args:
        random: generator of this patch.
        tissue: labels of the actual tissue, annotated or not.
        stain: [3] standard normal numbers of the slide: brightness, haematoxylin, eosin.
    """
    size = tissue.shape[0]
    # Textures of neighbouring tissues blend over a pixel or two.
    image = _blur(_COLOURS[tissue], 1.2)
    nuclei, spindles, fibres, vacuoles, lumen = (column[tissue] for column in _SHARES.T)
    angle = random.uniform(0, np.pi)
    image += (_fibres(random, size, angle) * fibres * 11.0)[..., None] * np.array([0.6, 1.3, 0.9], np.float32)
    _blend(image, _walls(random, size) * vacuoles, _WALL)
    _blend(image, _inside(lumen), _LIGHT)
    dark = _round_nuclei(random, nuclei, tissue) + _spindles(random, spindles, angle)
    _blend(image, np.clip(dark, 0, 0.88), _NUCLEUS + _grain(random, size, 6.0)[..., None] * 9)
    return _develop(random, image, stain)


def _develop(random: np.random.Generator, image: Field, stain: Field) -> NDArray[np.uint8]:
    """Uneven staining, the slide's own stain, and the camera's noise and blur."""
    size = image.shape[0]
    image += (_grain(random, size, 50.0) * 4 + _grain(random, size, 3.0) * 3)[..., None]
    absorbed = 255 - _blur(image, 0.6)
    absorbed *= np.array([1 + 0.05 * stain[1], 1 + 0.05 * stain[2], 1 + 0.04 * stain[0]], np.float32)
    noise = random.standard_normal((size, size)).astype(np.float32) * 1.5
    return np.clip(255 - absorbed + noise[..., None], 0, 255).astype(np.uint8)


def _blend(image: Field, share: Field, colour: Field) -> None:
    """Mix a colour into the image in place, by a share from 0 to 1 per pixel."""
    image += share[..., None] * (colour - image)


def _blur(field: Field, sigma: float) -> Field:
    """Gaussian smoothing; `sigma` in pixels."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


def _grain(random: np.random.Generator, size: int, wavelength: float) -> Field:
    """Noise [size, size] of about unit variance with grains of `wavelength` pixels."""
    cells = int(np.ceil(size / wavelength)) + 2
    coarse = random.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def _fibres(random: np.random.Generator, size: int, angle: float) -> Field:
    """Wavy collagen bundles across `angle`: about -1 to 1."""
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    across = columns * np.float32(np.cos(angle)) + rows * np.float32(np.sin(angle))
    bent = across + _grain(random, size, 24.0) * 7 + _grain(random, size, 9.0) * 2.5
    waves: Field = np.sin(bent * 0.55) * 0.6 + np.sin(bent * 0.21 + 1) * 0.5
    return waves


def _points(random: np.random.Generator, share: Field, pitch: int) -> Field:
    """One jittered point per cell of `pitch` pixels, kept with the probability `share` at its position."""
    size = share.shape[0]
    cells = -(-size // pitch)
    corners = np.mgrid[0:cells, 0:cells].reshape(2, -1) * pitch
    rows, columns = np.minimum(corners + random.integers(0, pitch, corners.shape), size - 1)
    kept = random.random(rows.size) < share[rows, columns]
    points = np.zeros((size, size), np.float32)
    points[rows[kept], columns[kept]] = 1.0
    return points


def _round_nuclei(random: np.random.Generator, share: Field, tissue: Labels) -> Field:
    """Round nuclei: small and crowded in inflammation and tumours, larger elsewhere; opacity 0 to 1."""
    crowded = share > 0.8
    nothing = np.zeros_like(share)
    small = _blur(_points(random, np.where(crowded, share, nothing), 6), 1.5)
    large = _blur(_points(random, np.where(crowded, nothing, share), 9), 2.1)
    pale = np.where(np.isin(tissue, _SQUAMOUS), np.float32(0.75), np.float32(1.0))
    opacity: Field = (np.clip(small * 18 - 0.25, 0, 0.8) + np.clip(large * 30 - 0.2, 0, 0.75)) * pale
    return opacity


def _spindles(random: np.random.Generator, share: Field, angle: float) -> Field:
    """Elongated nuclei along the fibres; opacity 0 to 1."""
    kernel = np.zeros((15, 15), np.float32)
    along = np.array([-np.sin(angle), np.cos(angle)]) * 5
    start, end = (tuple(np.rint((7 + side * along) * 16).astype(int).tolist()) for side in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 2, cv2.LINE_AA, 4)  # the ends in sixteenths of a pixel
    nuclei = _blur(np.asarray(cv2.filter2D(_points(random, share, 11), -1, kernel), np.float32), 0.8)
    return np.clip(nuclei, 0, 0.8)


def _walls(random: np.random.Generator, size: int) -> Field:
    """Walls between fat cells: the edges of a jittered mosaic; opacity 0 to 1."""
    seeds = np.where(_points(random, np.ones((size, size), np.float32), 22) > 0, 0, 255).astype(np.uint8)
    _, cells = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5)
    edges = (cv2.Laplacian(cells.astype(np.float32), cv2.CV_32F) != 0).astype(np.float32)
    walls: Field = np.clip(_blur(edges, 0.9) * 1.2, 0, 0.9)
    return walls


def _inside(lumen: Field) -> Field:
    """Pale centre of glands: opacity that rises with the distance from the gland's outline."""
    gland = (lumen > 0).astype(np.uint8)
    distance = np.asarray(cv2.distanceTransform(gland, cv2.DIST_L2, 3), np.float32)
    deepest = max(float(distance.max()), 1.0)
    inside: Field = np.clip((distance - deepest * 0.55) / (deepest * 0.15), 0, 1) * lumen
    return inside
