"""Measurements that outlive a run: a journal while an audit works, one table when it is done.

A journal of another version is as good as none.
The table is `measurements.parquet`, sorted by path: the next audit takes from it whatever has not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from histods.dataset.manifest import read_table, write_table
from histods.errors import HistodsError
from histods.io.journal import Journal
from histods.measurement.worker import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = "4"
"""2: TIFF masks as stored; 3: orientation, depth and palettes, too; 4: checksums of PNG masks are proved."""


def open_journal(path: Path, *, schema: pa.Schema = SCHEMA, fresh: bool = False) -> Journal:
    """The journal of an audit at work; `fresh` forgets what an interrupted audit left in it."""
    taken = f"Another audit is at work in {path.parent}; wait for it or choose another --workspace."
    return Journal(path, schema, head=_head(schema), taken=taken, fresh=fresh)


def _head(schema: pa.Schema) -> bytes:
    """The first line of a journal: one of another version, or with other columns, is as good as none."""
    own = "".join(f" {name}" for name in schema.names[len(SCHEMA) :])
    return f"histods measurements, version {_VERSION}{own}\n".encode()


def read_measurements(path: Path, schema: pa.Schema = SCHEMA) -> pa.Table:
    """Measurements of the last audit; none where there was no audit or they are of another version.

    Columns that checks had of their own then and have no more are left out; new ones are null.
    """
    try:
        table = read_table(path)
    except HistodsError:
        return schema.empty_table()
    if (table.schema.metadata or {}).get(b"version") != _VERSION.encode():
        return schema.empty_table()
    try:  # written from polars, whose texts and lists are large ones
        columns = [
            table[column.name].cast(column.type)
            if column.name in table.column_names or column.name in SCHEMA.names
            else pa.nulls(len(table), column.type)
            for column in schema
        ]
        return pa.table(columns, schema=schema)
    except (KeyError, ValueError, pa.ArrowException):
        return schema.empty_table()


def write_measurements(table: pa.Table, path: Path) -> None:
    """Write measurements; the caller sorts them, so that the same files give the same bytes."""
    write_table(table, path, {"version": _VERSION})
