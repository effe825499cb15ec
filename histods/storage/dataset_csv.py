"""The list of a dataset's classes as DiffInfinite-style code reads it: `name,c0 c1 ...`, without a header."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from histods.errors import HistodsError
from histods.storage.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def write_dataset_csv(path: Path, keys: Iterable[str], classes: Iterable[Sequence[int]]) -> None:
    """Write `name,c0 c1 ...` lines; class 0 stands for a mask that is missing.

    Args:
        path: the file.
        keys: names of the samples.
        classes: the classes of each, ascending; none where it has no mask.

    Raises:
        HistodsError: the path is a folder.
    """
    if path.is_dir():
        raise HistodsError(f"Expected a file for --dataset-csv, found the folder {path}; name a file in it.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for key, found in zip(keys, classes, strict=True):
        writer.writerow([key, " ".join(map(str, found or [0]))])
    write_text(path, text.getvalue())
