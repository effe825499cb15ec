"""The list of a dataset's classes for DiffInfinite-style code: `name,c0 c1 ...`, without a header.

A list in the dataset's folder is independent evidence of the contents of masks; its header may be `name,labels`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from histods.errors import HistodsError
from histods.io.atomic import write_text
from histods.io.csv_table import to_csv
from histods.labels.label_map_file import BUNDLED, read_label_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from histods.labels.label_map import LabelMap

NAME = "dataset.csv"
_MAX_BYTES = 256 << 20
_MAX_MAPS = 50
_NAMES = ("name", "image", "key", "file", "filename", "sample", "id")
_LABELS = ("labels", "label", "classes", "class")
_FIT_SHARE = 0.5  # of the rows: with fewer rows of names and numbers, the file is another kind of table


def read_dataset_csv(path: Path) -> pl.DataFrame | None:
    """Read a list of labels; None if the file is another kind of table.

    Returns:
        The columns `name` and `listed`, a list of labels, null if a row has no numbers from 0 to 65535.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        table = pl.read_csv(path, has_header=False, infer_schema=False).fill_null("")
    except (OSError, pl.exceptions.PolarsError):
        return None
    table = table.filter(pl.any_horizontal(pl.all().str.strip_chars() != ""))  # polars keeps empty lines
    if table.is_empty() or table.width < 2:
        return None
    header = [cell.strip().lower() for cell in table.row(0)]
    named, listed = ([place for place, cell in enumerate(header) if cell in names] for names in (_NAMES, _LABELS))
    if named and listed:
        table = table[1:].select(name=pl.nth(named[0]), text=pl.nth(listed[0]))
    elif table.width == 2:
        table = table.select(name=pl.nth(0), text=pl.nth(1))
    else:
        return None
    numbers = pl.col("text").str.extract_all(r"[0-9]+").cast(pl.List(pl.UInt16), strict=False)
    is_list = pl.col("text").str.contains(r"^\s*([0-9]{1,5}([\s,;]+|$))*$")
    fits = is_list & ~numbers.list.contains(None).fill_null(value=False)
    table = table.select("name", pl.when(fits).then(numbers.list.unique().list.sort()).alias("listed"))
    return table if table["listed"].count() > _FIT_SHARE * len(table) else None


def list_class_systems(root: Path) -> dict[str, LabelMap]:
    """The label maps in the dataset's folder, then the bundled ones: file name -> map."""
    systems: dict[str, LabelMap] = {}
    known: list[tuple[object, object]] = []
    here = sorted(path for path in root.iterdir() if path.suffix.lower() in (".yml", ".yaml", ".json"))
    for path in (*here[:_MAX_MAPS], *sorted(BUNDLED.glob("label_map*.yml"))):
        try:
            label_map = read_label_map(path)
        except HistodsError:  # names of labels, or something else
            continue
        if (label_map.table, label_map.unmapped) not in known:
            known.append((label_map.table, label_map.unmapped))
            systems[path.name] = label_map
    return systems


def write_dataset_csv(path: Path, keys: Iterable[str], classes: Iterable[Sequence[int]]) -> None:
    """Write `name,c0 c1 ...` lines; class 0 means that there is no mask.

    Args:
        path: the file.
        keys: names of the samples.
        classes: the classes of each, ascending; empty if it has no mask.

    Raises:
        HistodsError: the path is a folder.
    """
    if path.is_dir():
        raise HistodsError(f"{path} is a folder; name a file in it for --dataset-csv.")
    rows = ([key, " ".join(map(str, found or [0]))] for key, found in zip(keys, classes, strict=True))
    write_text(path, to_csv(rows))
