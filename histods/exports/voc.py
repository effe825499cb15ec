"""Pascal VOC: `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation`, `labelmap.txt`, for CVAT and Datumaro.

Masks are palette PNG files, with 0 as background and 255 as "void", which the development kit ignores, and with
the colours of its `VOClabelcolormap` (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html). All
of them differ, which matters: CVAT and Datumaro tell classes by the colours in `labelmap.txt`.
"""

from __future__ import annotations

import io
import shlex
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from histods.errors import HistodsError
from histods.exports.base import Encoded, Export, Finished, Places, Unknown
from histods.exports.class_values import BACKGROUND, distinct, with_background
from histods.io.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.exports.class_values import ClassValues

PNG = False
VOID, IGNORED = 255, "ignored"


def make_palette() -> NDArray[np.uint8]:
    """Colours of the values, [256, 3]: bits of a value go to red, green and blue in turn, the lowest first."""
    values = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((values >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


_PALETTE = make_palette().tobytes()


def check(folder: Path, splits: Collection[str]) -> None:
    """Any folder and splits will do."""


def number(classes: Sequence[str], unknown: Unknown) -> ClassValues:
    """0 is the background, and 255 is ignored."""
    values = with_background(classes, unknown, ignore=VOID)
    if len(values.names) > VOID:
        raise HistodsError(
            f"There are {len(classes)} classes, and VOC has 254 values for them, beside 0 for background and 255 "
            "for ignored pixels; merge classes with a label map, and give it with --map."
        )
    return values


def place(name: str, split: str, suffix: str) -> Places:  # noqa: ARG001 - lists of names tell splits
    """All images in one folder, all masks in another."""
    return Places(f"JPEGImages/{name}{suffix}", f"SegmentationClass/{name}.png")


def encode(classes: NDArray[np.uint8], values: ClassValues) -> Encoded:
    """Palette PNG."""
    height, width = classes.shape
    image = Image.frombytes("P", (width, height), values.lookup()[classes].tobytes())
    image.putpalette(_PALETTE)
    file = io.BytesIO()
    image.save(file, "PNG")
    return Encoded(file.getvalue())


def finish(export: Export) -> Finished:
    """Write the names of the samples of each split, and the colour of each class.

    Datumaro takes a file whose name has an underscore for one of a class, so that fold_0 becomes fold-0.
    """
    splits = export.splits()
    stems = distinct(split.replace("_", "-") for split in splits)
    lists = {split: f"ImageSets/Segmentation/{stem}.txt" for split, stem in zip(splits, stems, strict=True)}
    for split, path in lists.items():
        listed = export.samples.filter(split=split)["name"]
        write_text(export.folder / path, "".join(f"{name}\n" for name in listed))
    colours = np.frombuffer(_PALETTE, np.uint8).reshape(256, 3).tolist()
    names = distinct((_plain(name) for name in export.values.names[1:]), taken=(BACKGROUND, IGNORED))
    named = [*enumerate([BACKGROUND, *names])]
    if export.values.ignore is not None:
        named.append((VOID, IGNORED))
    lines = ["# label:color_rgb:parts:actions"]
    lines += [f"{name}:{','.join(map(str, colours[value]))}::" for value, name in named]
    write_text(export.folder / "labelmap.txt", "\n".join(lines) + "\n")
    folder = export.folder.resolve()
    parts = [str(folder / name) for name in ("JPEGImages", "SegmentationClass", "ImageSets", "labelmap.txt")]
    return Finished(
        files=(*lists.values(), "labelmap.txt"),
        remarks=("For CVAT, pack it: import the archive as 'Segmentation mask 1.1'.",),
        command=shlex.join(["python", "-m", "zipfile", "-c", f"{folder}.zip", *parts]),
    )


def _plain(name: str) -> str:
    """A name that can stand in a line of `labelmap.txt`, where colons part fields and # begins a comment."""
    plain = " ".join("".join(" " if ord(one) < 32 else one for one in name).replace(":", "-").split())
    return f"_{plain}" if not plain or plain.startswith("#") else plain
