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
_HEAD = f"histods measurements, version {_VERSION}\n".encode()


def open_journal(path: Path, *, fresh: bool = False) -> Journal:
    """The journal of an audit at work; `fresh` forgets what an interrupted audit left in it."""
    taken = f"Another audit is at work in {path.parent}; wait for it or choose another --workspace."
    return Journal(path, SCHEMA, head=_HEAD, taken=taken, fresh=fresh)


def read_measurements(path: Path) -> pa.Table:
    """Measurements of the last audit; none where there was no audit or they are of another version."""
    try:
        table = read_table(path)
    except HistodsError:
        return SCHEMA.empty_table()
    if (table.schema.metadata or {}).get(b"version") != _VERSION.encode():
        return SCHEMA.empty_table()
    try:  # written from polars, whose texts and lists are large ones
        return table.replace_schema_metadata(None).cast(SCHEMA)
    except (ValueError, pa.ArrowException):
        return SCHEMA.empty_table()


def write_measurements(table: pa.Table, path: Path) -> None:
    """Write measurements; the caller sorts them, so that the same files give the same bytes."""
    write_table(table, path, {"version": _VERSION})
