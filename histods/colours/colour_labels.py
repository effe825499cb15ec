"""Convert pixels to labels: use values that are labels, or look up colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from histods.colours.colour_counts import TRANSLUCENT, ColourCounts, count_colours, count_indices, pack, unpack
from histods.errors import NotAnIndexMaskError
from histods.run_lengths import find_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Colours = Mapping[int, tuple[int, int, int]]

OFF_PALETTE_LABEL = 65535
"""Label of pixels whose colour is not in the labels file; it never becomes a class unless a map lists it."""

_OPAQUE = 255
_FLATTEN = (
    "export it without transparency, or fill it with 'magick IN.png -background black -alpha remove OUT.png'"
)
_UNPALETTE = "have its colours read: write it as RGB, for example with 'magick IN.png PNG24:OUT.png'"
_MOSTLY = 0.5  # a mask in which more than half of the pixels have no label's colour is a picture


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Labels of a mask.

    Attributes:
        labels: [height, width], uint8 or uint16, values as stored.
        kind: how they are stored: gray8, gray16, palette, bilevel, rgb, rgba, gray_alpha or other.
        format: container by content: png, tiff, bmp or jpeg.
        off_palette: number of pixels whose colour no label has; None for masks that are not read by colour.
        colours: counts of the colours of colour and palette masks; None for others.
        palette: [entries, 3] RGB of a palette mask; None for others.
        orientation: EXIF or TIFF orientation of the file, which is not applied; 1 for none.
    """

    labels: NDArray[np.uint8] | NDArray[np.uint16]
    kind: str
    format: str
    off_palette: int | None = None
    colours: ColourCounts | None = None
    palette: NDArray[np.uint8] | None = None
    orientation: int = 1


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
        colours: label -> RGB, if a labels file gives colours.
        nearest: give unknown colours the label of the nearest known one.
        palette: [entries, 3] RGB of a palette mask, to notice indices that contradict the labels file.

    Raises:
        NotAnIndexMaskError: the values are not labels.
    """
    if kind == "palette" and palette is not None:
        counts = count_indices(pixels, palette)
        if colours:
            _refuse_contradicting_palette(counts, palette, colours)
        return Mask(pixels, kind, file_format, None, counts, palette)
    if pixels.ndim == 2:
        return Mask(pixels, kind, file_format)
    if kind == "gray_alpha":
        _refuse_alpha_alone(pixels[..., 1], pixels[..., :1])
        _refuse_varying_alpha(pixels[..., 1], None)
        return Mask(np.ascontiguousarray(pixels[..., 0]), kind, file_format)
    packed = _shown_colours(pixels) if kind == "rgba" else pack(pixels)
    if colours:
        mask = _by_colour(packed, kind, file_format, colours, nearest=nearest)
        if nearest and kind == "rgba":
            _label_translucent(mask.labels, packed, pack(pixels), colours)
        return mask
    if kind == "rgba" and int(pixels[..., 3].min()) != int(pixels[..., 3].max()):
        _refuse_varying_alpha(pixels[..., 3], count_colours(packed))
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    if not (np.array_equal(red, green) and np.array_equal(green, blue)):
        counts = count_colours(packed)
        plural = "colour" if counts.total == 1 else "colours"
        raise NotAnIndexMaskError(
            f"{counts.total} RGB {plural} and no labels file that gives their labels", counts
        )
    return Mask(np.ascontiguousarray(red), kind, file_format)


def _by_colour(
    packed: NDArray[np.uint32], kind: str, file_format: str, colours: Colours, *, nearest: bool
) -> Mask:
    """Look up each distinct colour once: a class-colour mask has few, in long runs."""
    runs = find_runs(packed)
    counts = count_colours(packed, runs)
    distinct, place = np.unique(runs.labels, return_inverse=True)
    known = {red << 16 | green << 8 | blue: label for label, (red, green, blue) in colours.items()}
    labels = np.array([known.get(int(colour), OFF_PALETTE_LABEL) for colour in distinct], dtype=np.uint16)
    unknown = np.array([int(colour) not in known for colour in distinct])
    off_palette = int(runs.lengths[unknown[place]].sum())
    if off_palette > _MOSTLY * packed.size and not nearest:
        share = 100 * off_palette / packed.size
        raise NotAnIndexMaskError(
            f"{share:.0f} % of its pixels have colours that the labels file does not name", counts
        )
    if nearest and off_palette:
        labels[unknown] = _nearest_labels(distinct[unknown], colours)
    flat = np.repeat(labels[place], runs.lengths)
    return Mask(flat.reshape(packed.shape), kind, file_format, off_palette, counts)


def _nearest_labels(packed: NDArray[np.uint32], colours: Colours) -> NDArray[np.uint16]:
    """[n] colours -> [n] labels of the nearest known ones."""
    names, points = np.array(list(colours), dtype=np.uint16), np.array(list(colours.values()), dtype=np.int64)
    distances = (np.square(points - one).sum(axis=1) for one in unpack(packed))
    return names[[int(distance.argmin()) for distance in distances]]


def _label_translucent(
    labels: NDArray[Any], packed: NDArray[np.uint32], stored: NDArray[np.uint32], colours: Colours
) -> None:
    """Give partly transparent pixels, in place, the labels of the colours nearest to the stored ones."""
    is_translucent = packed == TRANSLUCENT
    if is_translucent.any():
        distinct, place = np.unique(stored[is_translucent], return_inverse=True)
        labels[is_translucent] = _nearest_labels(distinct, colours)[place]


def _shown_colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Colours of [height, width, 4] pixels, if transparency leaves no doubt about what a viewer shows.

    A constant opacity changes nothing. A fully transparent background keeps its single stored colour, if no opaque
    pixel has that colour; partly transparent pixels, such as blended edges, do not count as a colour.

    Raises:
        NotAnIndexMaskError: nothing is visible, all differences are in the transparency, or fully transparent
            pixels have several colours, or one that is also visible.
    """
    packed, alpha = pack(pixels), pixels[..., 3]
    _refuse_alpha_alone(alpha, pixels[..., :3])
    if int(alpha.min()) == int(alpha.max()):
        return packed
    clear = alpha == 0
    hidden = np.unique(packed[clear])
    if hidden.size > 1:
        raise NotAnIndexMaskError(
            f"{hidden.size} colours lie under full transparency, where no viewer shows them; {_FLATTEN}"
        )
    if hidden.size and (packed[~clear] == hidden[0]).any():
        raise NotAnIndexMaskError(
            f"the colour #{hidden[0]:06x} is visible, and also lies under full transparency; {_FLATTEN}"
        )
    return np.where(clear | (alpha == _OPAQUE), packed, np.uint32(TRANSLUCENT))


def _refuse_alpha_alone(alpha: NDArray[np.uint8], colours: NDArray[np.uint8]) -> None:
    """Reject a mask whose labels are invisible, or seem to be stored in its transparency.

    A fully transparent mask with a single stored colour is an empty drawing: its background is its label.
    """
    low, high = int(alpha.min()), int(alpha.max())
    constant = low == high and high > 0
    if constant:
        return
    one_colour = bool((colours == colours[0, 0]).all())
    if high == 0 and not one_colour:
        raise NotAnIndexMaskError(f"every pixel is fully transparent, so that no viewer shows it; {_FLATTEN}")
    if high > 0 and one_colour:
        raise NotAnIndexMaskError(
            f"every pixel has one colour and the transparency varies from {low} to {high}; if the labels are "
            "there, take them out with 'magick IN.png -alpha extract OUT.png'"
        )


def _refuse_varying_alpha(alpha: NDArray[np.uint8], counts: ColourCounts | None) -> None:
    if int(alpha.min()) != int(alpha.max()):
        hint = "" if counts is None else " and no labels file that gives colours"
        raise NotAnIndexMaskError(f"transparency that varies from {alpha.min()} to {alpha.max()}{hint}", counts)


def _refuse_contradicting_palette(counts: ColourCounts, palette: NDArray[np.uint8], colours: Colours) -> None:
    """Reject a palette mask in which an index has the colour of another label.

    Such a file was coloured first and then reduced to a palette, whose indices mean nothing. A colour that the
    label's own entry has too proves nothing: palettes are padded with black, or repeat their last colour.
    """
    known = {tuple(colour): label for label, colour in colours.items()}
    used = [] if counts.indices is None else counts.indices.tolist()
    for index, colour in sorted(zip(used, unpack(counts.colours).tolist(), strict=True)):
        label = known.get(tuple(colour), index)
        if label != index and not (label < len(palette) and palette[label].tolist() == colour):
            raise NotAnIndexMaskError(
                f"palette index {index} has the colour of label {label}; {_UNPALETTE}", counts
            )
