"""Pixels to labels: where a mask's values are labels already, and where colours have to be looked up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from histods.errors import NotAnIndexMaskError
from histods.runs import find_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Colours = Mapping[int, tuple[int, int, int]]

OFF_PALETTE_LABEL = 65535
"""Label of pixels whose colour is not in the labels file: no class by accident, and a map must name it."""

_OPAQUE = 255
_MOSTLY = 0.5  # a mask in which more than half of the pixels are no label's colour is a picture


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Labels of a mask.

    Attributes:
        labels: [height, width], uint8 or uint16, values as stored.
        kind: how they are stored: gray8, gray16, palette, bilevel, rgb, rgba, gray_alpha or other.
        format: container by content: png, tiff, bmp or jpeg.
        off_palette: pixels whose colour no label has; None for masks that are not read by colour.
    """

    labels: NDArray[np.uint8] | NDArray[np.uint16]
    kind: str
    format: str
    off_palette: int | None = None


def labels_from_pixels(
    pixels: NDArray[Any],
    kind: str,
    file_format: str,
    colours: Colours | None,
    *,
    nearest: bool,
    palette: NDArray[np.uint8] | None = None,
) -> Mask:
    """Turn decoded pixels into labels.

    Args:
        pixels: [height, width] values, or [height, width, channels] 8-bit colours.
        kind: storage of the pixels; see `Mask.kind`.
        file_format: container of the file, kept in the result.
        colours: label -> RGB, where a labels file gives colours.
        nearest: give unknown colours the label of the nearest known one.
        palette: [entries, 3] RGB of a palette mask, to notice indices that contradict the labels file.

    Raises:
        NotAnIndexMaskError: the values are not labels.
    """
    if kind == "palette" and palette is not None and colours:
        _refuse_contradicting_palette(pixels, palette, colours)
    if pixels.ndim == 2:
        return Mask(pixels, kind, file_format)
    if kind == "gray_alpha":
        _refuse_partial_alpha(pixels[..., 1], colours)
        return Mask(np.ascontiguousarray(pixels[..., 0]), kind, file_format)
    if colours:
        return _by_colour(pixels, kind, file_format, colours, nearest=nearest)
    if kind == "rgba":
        _refuse_partial_alpha(pixels[..., 3], colours)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    if not (np.array_equal(red, green) and np.array_equal(green, blue)):
        found = len(np.unique(find_runs(_packed(pixels)).labels))
        raise NotAnIndexMaskError(f"{found} RGB colours and no labels file that gives their labels")
    return Mask(np.ascontiguousarray(red), kind, file_format)


def _by_colour(pixels: NDArray[np.uint8], kind: str, file_format: str, colours: Colours, *, nearest: bool) -> Mask:
    """Look up each distinct colour once: a class-colour mask has few, in long runs."""
    packed = _packed(pixels)
    if kind == "rgba":  # a pixel that is neither opaque nor fully transparent is an edge blended by a drawing tool
        alpha = pixels[..., 3]
        packed = np.where((alpha == 0) | (alpha == _OPAQUE), packed, np.uint32(1 << 24))
    runs = find_runs(packed)
    distinct, place = np.unique(runs.labels, return_inverse=True)
    known = {red << 16 | green << 8 | blue: label for label, (red, green, blue) in colours.items()}
    labels = np.array([known.get(int(colour), OFF_PALETTE_LABEL) for colour in distinct], dtype=np.uint16)
    unknown = np.array([int(colour) not in known for colour in distinct])
    off_palette = int(runs.lengths[unknown[place]].sum())
    if off_palette > _MOSTLY * packed.size and not nearest:
        share = 100 * off_palette / packed.size
        raise NotAnIndexMaskError(f"{share:.0f} % of its pixels have colours that the labels file does not name")
    if nearest and off_palette:
        names, points = np.array(list(known.values())), _unpacked(np.array(list(known)))
        for index in np.flatnonzero(unknown):
            distance = np.square(points - _unpacked(distinct[index : index + 1])).sum(axis=1)
            labels[index] = names[int(distance.argmin())]
    flat = np.repeat(labels[place], runs.lengths)
    return Mask(flat.reshape(pixels.shape[:2]), kind, file_format, off_palette)


def _packed(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """[h, w, 3 or 4] bytes -> [h, w] integers 0xRRGGBB."""
    wide = pixels.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], dtype=np.uint32)


def _unpacked(packed: NDArray[Any]) -> NDArray[np.int64]:
    """[n] integers 0xRRGGBB -> [n, 3] channel values."""
    wide = packed.astype(np.int64)
    return np.stack([wide >> 16 & 255, wide >> 8 & 255, wide & 255], axis=1)


def _refuse_partial_alpha(alpha: NDArray[np.uint8], colours: Colours | None) -> None:
    if int(alpha.min()) != int(alpha.max()):
        hint = "" if colours else " and no labels file that gives colours"
        raise NotAnIndexMaskError(f"transparency that varies from {alpha.min()} to {alpha.max()}{hint}")


def _refuse_contradicting_palette(
    indices: NDArray[np.uint8], palette: NDArray[np.uint8], colours: Colours
) -> None:
    """Refuse a palette mask whose colours are all labels' colours, but of other labels than its indices.

    Such a file was coloured first and then reduced to a palette, in which the indices mean nothing.
    """
    known: dict[tuple[int, ...], int] = {colour: label for label, colour in colours.items()}
    used = np.unique(find_runs(indices).labels)
    meant = [known.get(tuple(map(int, palette[index]))) if index < len(palette) else None for index in used]
    if None in meant or meant == used.tolist():
        return
    first = next((index, label) for index, label in zip(used.tolist(), meant, strict=True) if index != label)
    raise NotAnIndexMaskError(f"palette index {first[0]} has the colour of label {first[1]}")
