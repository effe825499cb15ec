"""The table of formats, and the functions of each.

To add a format, write a module with the members of `Format`, and add it to `FORMATS`. Modules are imported when
their format is asked for, so the table costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from histods.exports.class_values import ClassValues

FORMATS = {
    "nnunet": "histods.exports.nnunet",
    "semantic": "histods.exports.semantic",
    "voc": "histods.exports.voc",
    "coco": "histods.exports.coco",
}
"""Module of each format."""

Unknown = Literal["ignore", "background"]
UNKNOWN: tuple[Unknown, ...] = ("ignore", "background")
"""What class 0 may become."""


class Places(NamedTuple):
    """Paths of the files of a sample below the folder; `mask` is None where masks are notes."""

    image: str
    mask: str | None


class Encoded(NamedTuple):
    """A mask as a file, or as a note that `finish` gets back: one line of JSON."""

    file: bytes = b""
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """What is in a folder whose images and masks are written.

    Attributes:
        folder: the folder.
        values: the value of each class.
        samples: one row per sample in the order of keys: the columns of `SAMPLES` in `histods.exports.writer`,
            with `split`, which is `train` where there is no split.
        notes: name and note of each sample, in the order of `samples`; called as often as needed.
    """

    folder: Path
    values: ClassValues
    samples: pl.DataFrame
    notes: Callable[[], Iterator[tuple[str, str]]]

    def splits(self) -> list[str]:
        """Names of the splits that have samples: train, val and test first, others by name."""
        found = self.samples["split"].unique().to_list()
        first = ("train", "val", "test")
        return sorted(found, key=lambda name: (first.index(name) if name in first else len(first), name))


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The files that describe an export, and what the user has to know of it.

    Attributes:
        files: paths below the folder.
        remarks: sentences for the user.
        command: the next command to type.
    """

    files: tuple[str, ...]
    remarks: tuple[str, ...] = field(default=())
    command: str


class Format(Protocol):
    """The members of a module for one format."""

    PNG: bool
    """Whether images must be PNG files of 8-bit RGB; else they are copied byte for byte."""

    @staticmethod
    def check(folder: Path, splits: Collection[str]) -> None:
        """Refuse what the format's tools would not read, before anything is written.

        Args:
            folder: the folder of the export.
            splits: names of the splits of its samples.

        Raises:
            HistodsError: the name of the folder or the splits do not do, or a library is missing.
        """

    @staticmethod
    def number(classes: Sequence[str], unknown: Unknown) -> ClassValues:
        """The value of each class in the format's masks.

        Raises:
            HistodsError: there are more classes than the format has values.
        """

    @staticmethod
    def place(name: str, split: str, suffix: str) -> Places:
        """Where a sample goes: `name` is unique, safe and without folders, `suffix` is that of its image."""

    @staticmethod
    def encode(classes: NDArray[np.uint8], values: ClassValues) -> Encoded:
        """Encode the classes [height, width] of a sample, in a worker."""

    @staticmethod
    def finish(export: Export) -> Finished:
        """Write what describes the dataset, after all images and masks; equal samples give equal bytes."""


def format_of(name: str) -> Format:
    """The module of a format.

    Raises:
        HistodsError: there is no such format.
    """
    if name not in FORMATS:
        *most, last = FORMATS
        raise HistodsError(f"There is no format {name!r}; give --format {', '.join(most)} or {last}.")
    return cast("Format", import_module(FORMATS[name]))
