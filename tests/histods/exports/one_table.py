"""A format of one file: each image as it is, and a line of pixels per class for each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from histods.exports.base import Encoded, Export, Finished, Places, Unknown
from histods.exports.class_values import ClassValues, from_zero
from histods.io.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PNG = False


def check(folder: Path, splits: Collection[str]) -> None:
    """Any folder and splits will do."""


def number(classes: Sequence[str], unknown: Unknown) -> ClassValues:
    return from_zero(classes, unknown, 99)


def place(name: str, split: str, suffix: str) -> Places:
    return Places(f"{split}-{name}{suffix}", None)


def encode(classes: NDArray[np.uint8], values: ClassValues) -> Encoded:
    return Encoded(note=json.dumps(np.bincount(values.lookup()[classes].ravel(), minlength=100).tolist()))


def finish(export: Export) -> Finished:
    write_text(export.folder / "counts.txt", "".join(f"{name} {note}\n" for name, note in export.notes()))
    return Finished(files=("counts.txt",), command="cat counts.txt")
