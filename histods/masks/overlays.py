"""Pictures of samples to look at: the image, and next to it the image with its mask in the charts' colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histods.errors import UnreadableFileError
from histods.images.reader import decode_mask, decode_rgb
from histods.io.atomic import replacing
from histods.palette import class_fill

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.colours.colour_labels import Colours
    from histods.io.open_file import OpenRoot

_SHARE = 0.45  # of the mask's colour in a pixel of the overlay
_GAP = 8


def draw_overlay(
    dataset: OpenRoot, image_path: str | None, mask_path: str | None, colours: Colours | None, *, nearest: bool
) -> NDArray[np.uint8]:
    """Draw a sample: image and overlay, image and mask if their sizes differ, or the only one that exists.

    Label 0 leaves the image unchanged; each other label has its colour in the charts.

    Args:
        dataset: the dataset's folder.
        image_path: path of the image relative to it; None without one.
        mask_path: path of the mask; None without one.
        colours: RGB of labels, for colour masks, as in the audit.
        nearest: give unknown colours the nearest label, as in the audit.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UnreadableFileError: neither image nor mask can be decoded; the message is the reason.
    """
    pictures, reasons = [], []
    image = labels = None
    try:
        if image_path is not None:
            image = decode_rgb(_read(dataset, image_path))
            pictures.append(image)
    except UnreadableFileError as error:
        reasons.append(f"{image_path}: {error}")
    try:
        if mask_path is not None:
            labels = decode_mask(_read(dataset, mask_path), colours, nearest=nearest).labels
    except UnreadableFileError as error:
        reasons.append(f"{mask_path}: {error}")
    if labels is not None:
        together = image is not None and image.shape[:2] == labels.shape
        pictures.append(lay_over(pictures[0], labels) if together else colour_labels(labels))
    if not pictures:
        raise UnreadableFileError("; ".join(reasons) or "neither image nor mask")
    return _side_by_side(pictures)


def _read(dataset: OpenRoot, path: str) -> bytes:
    with dataset.open(path) as file:
        return file.read()


def lay_over(image: NDArray[np.uint8], labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """An image [H, W, 3] overlaid with its labels [H, W] in the charts' colours; label 0 leaves it unchanged."""
    blend = (1 - _SHARE) * image + _SHARE * colour_labels(labels)
    return np.where((labels == 0)[..., None], image, blend.round().astype(np.uint8))


def colour_labels(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Labels [H, W] in the colours of the charts, uint8 [H, W, 3]."""
    found, places = np.unique(labels, return_inverse=True)
    faces = [tuple(bytes.fromhex(class_fill(int(label)).face[1:])) for label in found]
    painted: NDArray[np.uint8] = np.array(faces, dtype=np.uint8)[places.reshape(labels.shape)]
    return painted


def _side_by_side(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + _GAP * (len(pictures) - 1)
    page = np.full((height, width, 3), 255, dtype=np.uint8)
    left = 0
    for picture in pictures:
        page[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1] + _GAP
    return page


def write_overlay(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write [H, W, 3] pixels as PNG, atomically."""
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
