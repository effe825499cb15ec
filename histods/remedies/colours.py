"""`colours`: the colours of a mask are replaced by the labels that a labels file gives them.

Proof: the labels file names every colour of the mask exactly. No colour is ever rounded to a similar one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histods.colours.colour_counts import TRANSLUCENT, pack
from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.reader import decode_mask
from histods.remedies.base import RefusedError, Remedy, Repaired
from histods.remedies.index_mask import kind_words, read_mask, write_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from histods.colours.colour_counts import ColourCounts
    from histods.remedies.base import Dataset, Source

    Colours = Mapping[int, tuple[int, int, int]]

UNKNOWN = "it has colours that the labels file does not give"
NO_COLOURS = "no labels file gives labels to its colours; give one with --labels FILE"


def study(dataset: Dataset) -> Colours:
    """The colours of labels."""
    if not dataset.labels.colours:
        raise RefusedError(NO_COLOURS)
    return dataset.labels.colours


def repair(source: Source) -> Repaired:
    """Write the labels of a mask's colours as grey values."""
    colours: Colours = source.study
    try:
        mask = decode_mask(source.content)  # without the file, palette masks have their indices as labels
    except (NotAnIndexMaskError, UnreadableFileError):
        mask = None
    if mask is not None and mask.kind == "palette" and mask.colours is not None and mask.palette is not None:
        read_mask(source)  # refuses what cannot be written
        _refuse_unknown(mask.colours, colours)
        labels = _labels_of_palette(mask.palette, colours)[mask.labels]
        return write_mask(mask, labels)._replace(before=describe_colours(mask.kind, mask.colours))
    try:
        mask = decode_mask(source.content, colours)
    except NotAnIndexMaskError as error:
        if error.colours is not None:
            _refuse_unknown(error.colours, colours)
        raise RefusedError("its colours cannot be read as labels", str(error)) from error
    except UnreadableFileError as error:
        raise RefusedError("the file cannot be read", str(error)) from error
    if mask.colours is None:
        raise RefusedError("it holds grey values and no colours")
    _refuse_unknown(mask.colours, colours, pixels=mask.off_palette)
    read_mask(source, colours)
    return write_mask(mask, mask.labels)._replace(before=describe_colours(mask.kind, mask.colours))


def describe_colours(kind: str, counts: ColourCounts) -> str:
    """The storage and the most frequent colours of a mask, in a few words."""
    shown = [f"#{int(colour):06x}" for colour in counts.colours[:3] if colour != TRANSLUCENT]
    more = ", ..." if counts.total > len(shown) else ""
    return f"{kind_words(kind)}: {', '.join(shown)}{more}"


def _labels_of_palette(
    palette: np.ndarray[tuple[int, int], np.dtype[np.uint8]], colours: Colours
) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    """[256] the label of each index; 0 for entries without one, which no pixel uses."""
    known = {tuple(colour): label for label, colour in colours.items()}
    table = np.zeros(256, dtype=np.uint16)
    for index in range(256):
        colour = tuple(palette[index].tolist()) if index < len(palette) else (0, 0, 0)
        table[index] = known.get(colour, 0)
    return table


def _refuse_unknown(counts: ColourCounts, colours: Colours, *, pixels: int | None = None) -> None:
    """Reject a mask with a colour that is not in the labels file."""
    named = pack(np.array(list(colours.values()), dtype=np.uint8))
    unknown = ~np.isin(counts.colours, named)
    if not unknown.any() and not pixels:
        return
    number = int(counts.pixels[unknown].sum()) if pixels is None else pixels
    place = int(np.flatnonzero(unknown)[0]) if unknown.any() else -1
    colour = counts.colours[place]
    first = "partly transparent ones" if colour == TRANSLUCENT else f"#{int(colour):06x}"
    such = f", such as {first}" if place >= 0 else ""
    raise RefusedError(UNKNOWN, f"{number:,} pixels{such}")


REMEDY = Remedy(
    name="colours",
    repairs=("not_an_index_mask", "off_palette", "palettes_differ", "rgb", "rgba"),
    summary="Writes the labels of colours as grey values, by the labels file.",
    repair=repair,
    study=study,
    needs_labels=True,
)
