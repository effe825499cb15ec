"""Names and colours of the labels in synthetic datasets, and their labels file."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import numpy as np
import yaml
from PIL import Image

from histods.io.atomic import write_text
from histods.labels.label_map_file import find_label_map
from histods.labels.label_names import read_labels
from histods.synthetic.files import encode

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = frozenset(range(55))
"""DRSK's source labels."""
PALETTE_LABEL = 28
"""Label in every mask with a palette, so that palettes can be compared."""
_CORNER = 8  # pixels


def colour_table() -> NDArray[np.uint8]:
    """RGB of each label [55, 3], all different; label 0 is black."""
    colours = np.zeros((len(LABELS), 3), np.uint8)
    for label in range(1, len(LABELS)):
        hue = label * 0.381966 % 1.0  # the golden angle separates neighbours
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.2 * (label % 3), 1.0 - 0.2 * (label % 4 // 2))
        colours[label] = (round(red * 255), round(green * 255), round(blue * 255))
    return colours


def palette_mask(labels: NDArray[np.uint8], colours: NDArray[np.uint8]) -> bytes:
    """A PNG whose indices are labels, with a palette of colours; one corner has `PALETTE_LABEL`.

    Args:
        labels: [height, width].
        colours: [entries, 3] RGB of each index.
    """
    indices = labels.copy()
    indices[:_CORNER, :_CORNER] = PALETTE_LABEL
    image = Image.fromarray(indices).convert("P")
    image.putpalette(colours.tobytes())
    return encode(image, ".png")


def write_labels_file(path: Path) -> None:
    """Write a labels file with the name and the colour of each label."""
    names = read_labels(find_label_map("drsk_labels.yml")).names
    table = colour_table().tolist()
    labels = {label: {"name": names[label], "colour": table[label]} for label in sorted(LABELS)}
    write_text(path, yaml.safe_dump({"labels": labels}, sort_keys=False, default_flow_style=None, width=120))
