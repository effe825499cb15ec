"""A journal of rows, from which the next run can resume the work of a killed run.

The file is append-only: a header line, then records of a length, a digest and the Arrow stream that a worker made.
A killed run leaves at most one incomplete record at the end, which is dropped; all earlier records count as done.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pyarrow as pa
import xxhash

from histods.errors import HistodsError
from histods.io.atomic import lock, naming, open_own

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_RECORD = struct.Struct("<QQ")  # bytes, xxh3-64 of the payload


class Journal:
    """Append chunks of rows to a file as they come; use it in a `with` statement.

    It starts with the records of an interrupted run.

    Args:
        path: the file.
        schema: columns of the rows.
        head: first line of the file; a journal with another one is ignored.
        taken: message for the user if another process has the journal.
        fresh: discard the records of an interrupted run.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, head: bytes, taken: str, fresh: bool = False) -> None:
        self._path = path
        self._schema = schema
        self._head = head
        self._taken = taken
        self._fresh = fresh
        self._payloads: list[bytes] = []

    def __enter__(self) -> Journal:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open_own(self._path)
        try:
            lock(self._file, self._taken)
        except HistodsError:
            self._file.close()
            raise
        self._payloads = sound = [] if self._fresh else _read_records(self._path, self._head, self._schema)
        with naming(self._path):
            if sound:
                self._file.truncate(len(self._head) + sum(_RECORD.size + len(payload) for payload in sound))
            else:
                self._file.truncate(0)
                self._file.write(self._head)
                self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with naming(self._path):  # closing writes what an append could not write
            self._file.close()

    def append(self, payload: bytes) -> None:
        """Append one chunk of rows (an Arrow IPC stream), which from then on survive a kill."""
        with naming(self._path):
            self._file.write(_RECORD.pack(len(payload), xxhash.xxh3_64_intdigest(payload)) + payload)
            self._file.flush()
        self._payloads.append(payload)

    def table(self) -> pa.Table:
        """All rows of this and the interrupted run, in the order of appending."""
        batches = [batch for payload in self._payloads for batch in pa.ipc.open_stream(payload)]
        return pa.Table.from_batches(batches, self._schema)

    def remove(self) -> None:
        """Remove the file, once everything in it has been written to the table."""
        self._path.unlink()


def _read_records(path: Path, head: bytes, schema: pa.Schema) -> list[bytes]:
    """Payloads of a journal up to an incomplete record; empty if there is no journal."""
    if not path.is_file():
        return []
    content, position, payloads = path.read_bytes(), len(head), []
    if not content.startswith(head):
        return []
    while position + _RECORD.size <= len(content):
        length, digest = _RECORD.unpack_from(content, position)
        payload = content[position + _RECORD.size : position + _RECORD.size + length]
        if len(payload) < length or xxhash.xxh3_64_intdigest(payload) != digest or not _is_sound(payload, schema):
            break
        payloads.append(payload)
        position += _RECORD.size + length
    return payloads


def _is_sound(payload: bytes, schema: pa.Schema) -> bool:
    """Whether a record holds rows with these columns; a matching digest proves nothing about an unknown file."""
    try:
        with pa.ipc.open_stream(payload) as stream:
            return bool(stream.schema.equals(schema)) and len(stream.read_all()) >= 0
    except (ValueError, OSError, pa.ArrowException):
        return False
