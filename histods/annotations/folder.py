"""A new dataset folder being filled: its ownership, the progress of a killed run, and the final tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from histods.annotations.draw import MADE
from histods.annotations.mark import LEFT_OUT, SCHEMA_VERSION, TABLE, read_mark, write_mark
from histods.dataset.filled_folder import keep_intact, refuse_others
from histods.dataset.manifest import read_table, to_polars, write_table
from histods.errors import HistodsError
from histods.io.atomic import file_digest, write_text
from histods.io.journal import Journal
from histods.measurement.findings_file import to_csv

if TYPE_CHECKING:
    from pathlib import Path

    from histods.annotations.mark import ImportMark
    from histods.annotations.plan import Plan

_JOURNAL = "import.journal"
_HEAD = f"histods import-data, version {SCHEMA_VERSION}\n".encode()
LEFT_OUT_COLUMNS = ("annotations", "image", "item", "class", "reason")


def claim(folder: Path, wanted: ImportMark) -> ImportMark | None:
    """Check that a folder is empty, or holds the same import, finished or not.

    Args:
        folder: the new dataset folder.
        wanted: the mark that it will get.

    Returns:
        The existing mark, or None.

    Raises:
        HistodsError: the folder holds something else.
    """
    known = read_mark(folder)
    if known is None:
        refuse_others(folder, _JOURNAL)
        return None
    if known.plan_digest != wanted.plan_digest:
        raise HistodsError(
            f"{folder} holds an import of other annotations, images or options, that of '{known.command}'; "
            "remove that folder, or choose another with --to."
        )
    return known


def open_journal(folder: Path) -> Journal:
    """The journal of a new dataset folder."""
    taken = f"Another process is writing in {folder}; wait for it."
    return Journal(folder / _JOURNAL, MADE, head=_HEAD, taken=taken)


def read_done(folder: Path, mark: ImportMark | None, journal: Journal) -> pl.DataFrame:
    """Rows of `MADE` of the images that earlier runs of the same plan completed, if their files are intact."""
    if mark is None:
        return to_polars(MADE.empty_table())
    rows = to_polars(journal.table())
    table = folder / TABLE
    if mark.table_digest is not None and table.is_file() and file_digest(table) == mark.table_digest:
        stored = read_table(table, MADE.names).cast(MADE)
        rows = pl.concat([to_polars(stored).filter(pl.col("key").is_not_null()), rows])
    rows = rows.filter(status="written").unique("key", keep="last", maintain_order=True)
    return keep_intact(folder, rows, "key")


def write_tables(folder: Path, made: pl.DataFrame, plan: Plan, mark: ImportMark) -> None:
    """Write the two tables, and finally the mark that they are complete.

    Args:
        folder: the new dataset folder.
        made: rows of `MADE`, one per image that was planned, in any order.
        plan: the plan, for the images and annotations that are not in it.
        mark: the mark without the digest.
    """
    made = made.sort("key")
    rows = [(file, image, *one) for file, image, one in plan.lost]
    lost = made.filter(pl.col("left_out").list.len() > 0)
    for file, image, key, left_out in lost.select("annotations", "source", "key", "left_out").iter_rows():
        rows += [(file, image or key, *row.values()) for row in left_out]
    schema = dict.fromkeys(LEFT_OUT_COLUMNS, pl.String)
    write_text(folder / LEFT_OUT, to_csv(pl.DataFrame(rows, schema=schema, orient="row")))
    skipped = [
        {"source": one.image or None, "annotations": one.file or None, "status": one.status, "reason": one.reason}
        for one in sorted(plan.skipped)
    ]
    table = pa.concat_tables([made.to_arrow().cast(MADE), pa.Table.from_pylist(skipped, MADE)])
    metadata = {"schema_version": str(SCHEMA_VERSION), "plan_digest": mark.plan_digest}
    write_table(table, folder / TABLE, metadata)
    write_mark(folder, mark, file_digest(folder / TABLE))
