"""Measurements outlive a run, and those of another version or with other columns are never taken for these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from histods.dataset.manifest import read_table, write_table
from histods.errors import HistodsError
from histods.measurement import cache
from histods.measurement.cache import open_journal, read_measurements, write_measurements
from histods.measurement.worker import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

OWN = pa.schema([*SCHEMA, ("longest", pa.uint32())])


def table(schema: pa.Schema = SCHEMA, **values: Any) -> pa.Table:
    """A mask and an image that was refused; all other columns are null."""
    rows = [
        {"path": "ä_mask.png", "is_mask": True, "how": "values", "labels": [0, 3], "pixels": [5, 4], **values},
        {"path": "日本.jpg", "is_mask": False, "error": "damaged"},
    ]
    return pa.Table.from_pylist([dict.fromkeys(schema.names) | row for row in rows], schema)


def stream(rows: pa.Table) -> bytes:
    """Rows as a worker sends them."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def test_what_was_written_is_read_even_from_large_types(tmp_path: Path) -> None:
    path = tmp_path / "measurements.parquet"
    write_measurements(table(), path)
    assert read_measurements(path).equals(table())
    large = table().set_column(0, "path", table()["path"].cast(pa.large_string()))  # as polars writes texts
    write_measurements(large, path)
    assert read_measurements(path).equals(table())


def test_a_column_of_a_check_is_null_where_it_is_new_and_left_out_where_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "measurements.parquet"
    write_measurements(table(), path)
    assert read_measurements(path, OWN)["longest"].to_pylist() == [None, None]
    write_measurements(table(OWN, longest=7), path)
    assert read_measurements(path, OWN)["longest"].to_pylist() == [7, None]
    assert read_measurements(path).equals(table())


@pytest.mark.parametrize(
    "damage", ["no file", "no table", "other version", "no version", "a column gone", "another type"]
)
def test_what_is_no_table_of_this_version_is_as_good_as_none(tmp_path: Path, damage: str) -> None:
    path, version = tmp_path / "measurements.parquet", {"version": cache._VERSION}
    match damage:
        case "no table":
            path.write_bytes(b"PAR1 or so")
        case "other version":
            write_table(table(), path, {"version": "3"})
        case "no version":
            write_table(table(), path, {})
        case "a column gone":
            write_table(table().drop_columns(["between"]), path, version)
        case "another type":
            texts = pa.array(["many", "more"])
            write_table(table().set_column(2, "bytes", texts), path, version)
    found = read_measurements(path)
    assert (len(found), found.schema) == (0, SCHEMA)


def test_a_journal_continues_and_one_with_other_columns_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "out" / "audit.journal"
    with open_journal(path) as journal:
        journal.append(stream(table()))
    with open_journal(path) as journal:
        assert journal.table().equals(table())
    with open_journal(path, schema=OWN) as journal:
        assert len(journal.table()) == 0
        journal.append(stream(table(OWN, longest=7)))
    with open_journal(path, schema=OWN, fresh=True) as journal:
        assert len(journal.table()) == 0


def test_two_audits_never_share_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "audit.journal"
    with open_journal(path), pytest.raises(HistodsError) as caught, open_journal(path):
        pass
    assert str(caught.value) == (
        f"Another audit is at work in {tmp_path}; wait for it or choose another --workspace."
    )


def test_equal_measurements_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_measurements(table(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_table(tmp_path / "a").schema.metadata == {b"version": cache._VERSION.encode()}
