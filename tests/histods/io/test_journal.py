"""A journal keeps all whole records of a killed run, and drops what is torn, damaged or of another kind."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from histods.errors import HistodsError
from histods.io.journal import Journal

SCHEMA = pa.schema([("key", pa.string()), ("size", pa.int64())])
HEAD = b"a journal of tests, version 1\n"


def journal(path: Path, *, head: bytes = HEAD, schema: pa.Schema = SCHEMA, fresh: bool = False) -> Journal:
    return Journal(path, schema, head=head, taken="Another test has it.", fresh=fresh)


def rows(*keys: str) -> bytes:
    """An Arrow stream of rows, as workers send them."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist([{"key": key, "size": len(key)} for key in keys], SCHEMA))
    return bytes(sink.getvalue())


def keys(path: Path, *, fresh: bool = False) -> list[str]:
    """What a journal opens with."""
    with journal(path, fresh=fresh) as opened:
        return [str(key) for key in opened.table()["key"].to_pylist()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of two records."""
    path = tmp_path / "new" / "journal"
    with journal(path) as opened:
        assert opened.table().num_rows == 0
        opened.append(rows("a", "b"))
        opened.append(rows("c"))
        assert opened.table()["key"].to_pylist() == ["a", "b", "c"]
    return path


def test_rows_come_back_in_the_order_in_which_they_were_appended(path: Path) -> None:
    with journal(path) as opened:
        opened.append(rows("d"))
    assert keys(path) == ["a", "b", "c", "d"]


def test_rows_are_kept_from_the_append_on(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with journal(path) as opened:
        opened.append(rows("d"))
        copy.write_bytes(path.read_bytes())
    assert keys(copy) == ["a", "b", "c", "d"]


def test_a_record_that_was_torn_anywhere_is_dropped_and_those_before_it_stay(path: Path) -> None:
    whole = path.read_bytes()
    first = whole[: len(HEAD) + 16 + len(rows("a", "b"))]
    for size in (*range(len(first), len(whole), 37), len(whole) - 1):
        path.write_bytes(whole[:size])
        assert keys(path) == ["a", "b"]
        assert path.read_bytes() == first
        with journal(path) as opened:
            opened.append(rows("d"))
        assert keys(path) == ["a", "b", "d"]


def test_a_record_with_a_flipped_bit_ends_what_is_taken(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(HEAD) + 40] ^= 1
    path.write_bytes(whole)
    assert keys(path) == []
    assert path.read_bytes() == HEAD


@pytest.mark.parametrize("content", [b"", HEAD[:5], b"x" * 100, HEAD + b"\xff" * 16, HEAD + bytes(16)])
def test_a_file_that_is_no_journal_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    assert keys(path) == []
    assert path.read_bytes()[: len(HEAD)] == HEAD


def test_a_journal_of_another_version_or_of_other_columns_is_as_good_as_none(path: Path) -> None:
    whole = path.read_bytes()
    with journal(path, head=b"version 2\n") as opened:
        assert opened.table().num_rows == 0
    path.write_bytes(whole)
    with journal(path, schema=pa.schema([("other", pa.int64())])) as opened:
        assert opened.table().num_rows == 0


def test_a_fresh_journal_forgets(path: Path) -> None:
    assert keys(path, fresh=True) == []
    assert path.read_bytes() == HEAD


def test_a_journal_that_is_open_is_refused_and_free_again_afterwards(path: Path) -> None:
    with journal(path), pytest.raises(HistodsError, match="Another test has it"), journal(path):
        pass
    assert keys(path) == ["a", "b", "c"]


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(HistodsError, match="a link"), journal(link):
        pass
