"""Planted faults: the ground truth that an audit of a synthetic dataset must reproduce."""

from __future__ import annotations

import csv
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError
from histods.io.atomic import write_text
from histods.io.csv_table import to_csv

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_COLUMNS = ("code", "key", "path", "note")
_SPECK_PIXELS = 3
_SPECK_SHARE = 0.2
_SPECK_RUNS = 16


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Fault:
    """One finding that an audit must report.

    Attributes:
        code: the audit's code.
        key: path without suffix of the image; of the mask for an orphan, of the link for a linked folder.
        path: the file (or linked folder) concerned, relative to the dataset, with forward slashes.
        note: how it was made.
    """

    code: str
    key: str
    path: str
    note: str


def write_faults(path: Path, faults: Iterable[Fault]) -> None:
    """Write faults as CSV with the columns code, key, path and note, in the given order."""
    write_text(path, to_csv([_COLUMNS, *map(astuple, faults)]))


def read_faults(path: str | Path) -> tuple[Fault, ...]:
    """Read faults written by `write_faults`.

    Raises:
        HistodsError: the file cannot be read or has other columns.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return tuple(Fault(**{column: row[column] for column in _COLUMNS}) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise HistodsError(
            f"{path} is not a list of planted faults with the columns {', '.join(_COLUMNS)} "
            f"({type(error).__name__}); make the demo again in a new folder."
        ) from error


def speck_share(labels: NDArray[np.uint8] | NDArray[np.uint16]) -> tuple[float, int]:
    """Share of a mask's runs that are specks, and the number of specks.

    A run is a maximal stretch of equal labels in row-major order. It is a speck if it is at most 3 px
    long and the runs before and after it have different labels.
    """
    flat = labels.ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(flat.astype(np.int64))) + 1])
    lengths = np.diff(np.append(starts, flat.size))
    values = flat[starts]
    specks = int(np.sum((values[:-2] != values[2:]) & (lengths[1:-1] <= _SPECK_PIXELS)))
    return specks / len(starts), specks


def codes_of_labels(labels: NDArray[np.uint8] | NDArray[np.uint16], known: frozenset[int]) -> list[str]:
    """Codes that the values of a mask cause in any file format; `known` are the named labels.

    It covers zero_mask, constant_mask, unknown_label and speckled_mask; whether a mask was multiplied is known
    from how it was made.
    """
    present = set(np.unique(labels).tolist())
    share, specks = speck_share(labels)
    judged = {
        "zero_mask": present == {0},
        "constant_mask": len(present) == 1 and present != {0},
        "unknown_label": not present <= known,
        "speckled_mask": share >= _SPECK_SHARE and specks >= _SPECK_RUNS,
    }
    return [code for code, holds in judged.items() if holds]
