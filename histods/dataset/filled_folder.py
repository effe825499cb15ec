"""A folder that a command fills, and that a killed run leaves to be continued: tiles, imports and exports.

A JSON file marks it: what was asked for, what it was made from, and whether it is complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import polars as pl

from histods.dataset.scan import ask_states
from histods.errors import HistodsError
from histods.io.checked import build
from histods.io.workspace import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Mark = TypeVar("Mark")


def read_mark(kind: type[Mark], path: Path, command: str) -> Mark | None:
    """Read the mark of a folder; None if there is none.

    Args:
        kind: the dataclass of the mark.
        path: the file of the mark.
        command: the command that writes such files, such as `histods tile`.

    Raises:
        HistodsError: the file is not a valid mark.
    """
    if not path.is_file():
        return None
    try:
        mark: Mark = build(kind, read_json(path))
    except ValueError as error:
        raise HistodsError(
            f"{path} is not what '{command}' wrote ({error}); remove that file, or choose another folder."
        ) from error
    return mark


def refuse_others(folder: Path, own: str | None = None) -> None:
    """Refuse a folder without a mark that holds files other than incomplete ones of a killed run.

    Args:
        folder: the folder.
        own: the name of a file that this command writes before the mark.

    Raises:
        HistodsError: it holds something else.
    """
    for name in sorted(path.name for path in folder.iterdir()):
        if name != own and not (name.startswith(".") and name.endswith(".part")):
            raise HistodsError(f"{folder} already holds {name}; choose a new or empty folder for --to.")


def keep_intact(folder: Path, rows: pl.DataFrame, by: str) -> pl.DataFrame:
    """The rows of those sources whose files all exist with the size that they were written with.

    Args:
        folder: the folder.
        rows: `image_path`, `mask_path`, `image_bytes`, `mask_bytes`, and the column `by`; a path is null without a
            file.
        by: the column that names the source of a row: all its rows are kept, or none.
    """
    files = pl.concat(
        [
            rows.select(by, path=f"{kind}_path", bytes=f"{kind}_bytes").drop_nulls("path")
            for kind in ("image", "mask")
        ]
    )
    sizes, _ = ask_states(folder, files["path"].to_list())
    torn = files.filter(pl.col("bytes") != pl.Series(sizes))[by]
    return rows.filter(~pl.col(by).is_in(torn.implode()))


def remove_incomplete(folders: Iterable[Path]) -> None:
    """Remove the incomplete files that a killed run left in some folders."""
    for folder in folders:
        for part in folder.glob(".*.part"):
            part.unlink(missing_ok=True)
