"""Measurements that outlive a run: a journal while an audit works, one table when it is done.

The journal is append-only: a line with the version, then records of a length, a digest and the Arrow stream that
a worker made. A journal of another version is as good as none. A killed audit leaves at most one torn record at
its end, which is dropped; all before it count as done.
The table is `measurements.parquet`, sorted by path: the next audit takes from it whatever has not changed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pyarrow as pa
import xxhash

from histods.errors import HistodsError
from histods.storage.atomic import lock, open_own
from histods.storage.manifest import read_table, write_table
from histods.storage.measure import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_RECORD = struct.Struct("<QQ")  # bytes, xxh3-64 of the payload
_VERSION = "3"  # 3: orientation, depth and palettes are measured too; 2: TIFF masks as stored
_HEAD = f"histods measurements, version {_VERSION}\n".encode()


class Journal:
    """Append measured chunks to a file as they come; use it in a `with` statement.

    It opens with what an interrupted run left; `fresh` forgets that.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._path = path
        self._fresh = fresh
        self._payloads: list[bytes] = []

    def __enter__(self) -> Journal:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open_own(self._path)
        try:
            lock(
                self._file,
                f"Expected {self._path.parent} for this audit alone, found another audit at work there; "
                "wait for it or choose another --workspace.",
            )
        except HistodsError:
            self._file.close()
            raise
        self._payloads = sound = [] if self._fresh else _read_records(self._path)
        if sound:
            self._file.truncate(len(_HEAD) + sum(_RECORD.size + len(payload) for payload in sound))
        else:
            self._file.truncate(0)
            self._file.write(_HEAD)
            self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, payload: bytes) -> None:
        """Keep one chunk's measurements (an Arrow IPC stream); they survive a kill from here on."""
        try:
            self._file.write(_RECORD.pack(len(payload), xxhash.xxh3_64_intdigest(payload)) + payload)
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        self._payloads.append(payload)

    def table(self) -> pa.Table:
        """All measurements of this and the interrupted run, in the order in which they were appended."""
        batches = [batch for payload in self._payloads for batch in pa.ipc.open_stream(payload)]
        return pa.Table.from_batches(batches, SCHEMA)

    def remove(self) -> None:
        """Remove the file: everything in it has been written to the table."""
        self._path.unlink()


def _read_records(path: Path) -> list[bytes]:
    """Payloads of a journal up to its torn end; none where there is no journal."""
    if not path.is_file():
        return []
    content, position, payloads = path.read_bytes(), len(_HEAD), []
    if not content.startswith(_HEAD):
        return []
    while position + _RECORD.size <= len(content):
        length, digest = _RECORD.unpack_from(content, position)
        payload = content[position + _RECORD.size : position + _RECORD.size + length]
        if len(payload) < length or xxhash.xxh3_64_intdigest(payload) != digest or not _is_sound(payload):
            break
        payloads.append(payload)
        position += _RECORD.size + length
    return payloads


def _is_sound(payload: bytes) -> bool:
    """Whether a record holds measurements: whoever wrote the file may have written its digest, too."""
    try:
        with pa.ipc.open_stream(payload) as stream:
            return bool(stream.schema.equals(SCHEMA)) and len(stream.read_all()) >= 0
    except (ValueError, OSError, pa.ArrowException):
        return False


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
