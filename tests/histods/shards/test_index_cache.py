"""Arrays of an index say what the table says, are made once, and are never taken from another index or user."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from histods.dataset.manifest import write_table
from histods.errors import HistodsError
from histods.io.atomic import file_digest
from histods.shards import index_cache
from histods.shards.index_cache import Index, load_index_cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECORD = np.dtype([("row", np.int64), ("shard", np.uint16), ("offset", np.int64), ("crc", np.uint32, (2,))])
COLUMNS = pa.schema(
    [
        ("key", pa.string()),
        ("split", pa.string()),
        ("shard", pa.string()),
        ("classes", pa.list_(pa.uint16())),
        ("offset", pa.int64()),
        ("crc", pa.list_(pa.uint32())),
    ]
)


def rows(number: int = 11, **first: Any) -> list[dict[str, Any]]:
    """Rows in two splits and shards; every third has no mask, and the first is as asked for."""
    found = [
        {
            "key": f"ä{place}",
            "split": "test" if place % 4 == 1 else "train",
            "shard": f"s{place % 2}",
            "classes": None if place % 3 == 2 else [0, 1 + place % 2],
            "offset": None if place % 5 == 4 else 1000 * place,
            "crc": [place, 2**32 - 1 - place],
        }
        for place in range(number)
    ]
    return [found[0] | first, *found[1:]] if found else []


def write(folder: Path, table: list[dict[str, Any]], *splits: str, **changes: Any) -> Index:
    folder.mkdir(exist_ok=True)
    path = folder / "index.parquet"
    write_table(pa.Table.from_pylist(table, COLUMNS), path, {})
    chosen = splits or ("test", "train")
    samples = sum(row["split"] in chosen for row in table)
    options: dict[str, Any] = {"shards": ("s0", "s1"), "classes": 3, "record": RECORD, "samples": samples}
    return Index(path=path, digest=file_digest(path), splits=chosen, **options | changes)


@pytest.mark.parametrize("splits", [(), ("train",), ("test",), ("none",)])
@pytest.mark.parametrize("batch", [2, 65536])
def test_records_and_lists_are_those_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, splits: tuple[str, ...], batch: int
) -> None:
    monkeypatch.setattr(index_cache, "_BATCH", batch)
    table = rows()
    index = write(tmp_path / "shards", table, *splits)
    found = load_index_cache(index)
    wanted = [(place, row) for place, row in enumerate(table) if row["split"] in index.splits]
    assert found.records["row"].tolist() == [place for place, _ in wanted]
    assert found.records["shard"].tolist() == [int(row["shard"][1]) for _, row in wanted]
    assert found.records["offset"].tolist() == [row["offset"] or 0 for _, row in wanted]
    assert found.records["crc"].tolist() == [row["crc"] for _, row in wanted]
    for number in range(3):
        listed = found.lists.samples[found.lists.bounds[number] : found.lists.bounds[number + 1]]
        held = [[0] if row["classes"] is None else row["classes"][1:] for _, row in wanted]
        assert listed.tolist() == [sample for sample, classes in enumerate(held) if number in classes]
    assert [index.key(place) for place, _ in wanted] == [row["key"] for _, row in wanted]


def test_arrays_are_made_once_and_others_for_another_index_or_split(tmp_path: Path) -> None:
    index = write(tmp_path / "shards", rows())
    home = tmp_path / "shards" / ".lookup"
    load_index_cache(index)
    (made,) = home.iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in made.iterdir()}
    load_index_cache(index)
    assert {path.name: path.stat().st_mtime_ns for path in made.iterdir()} == before
    load_index_cache(write(tmp_path / "shards", rows(), "train"))
    load_index_cache(write(tmp_path / "shards", rows(12)))
    assert len([*home.iterdir()]) == 3


def test_a_row_past_the_end_is_said(tmp_path: Path) -> None:
    index = write(tmp_path / "shards", rows())
    with pytest.raises(HistodsError, match="has no such row: it is 1,000 past the end; choose another.$"):
        index.key(1011)


@pytest.mark.parametrize(
    "first",
    [
        {"shard": "s9"},
        {"shard": None},
        {"classes": [0, 3]},
        {"offset": -1},
        {"crc": [1]},
        {"crc": None},
    ],
    ids=str,
)
def test_an_index_of_impossible_rows_is_refused_and_leaves_nothing(tmp_path: Path, first: dict[str, Any]) -> None:
    index = write(tmp_path / "shards", rows(**first))
    with pytest.raises(HistodsError) as caught:
        load_index_cache(index)
    assert str(caught.value).startswith(f"{index.path} does not say where the samples of its shards are (")
    assert "\n" not in str(caught.value)
    assert [*(tmp_path / "shards" / ".lookup").iterdir()] == []


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda made: cut(made / "records.npy"),
    "empty": lambda made: (made / "samples.npy").write_bytes(b""),
    "text": lambda made: (made / "bounds.npy").write_text("no array"),
    "another type": lambda made: np.save(made / "records.npy", np.zeros(11)),
    "fewer bounds": lambda made: np.save(made / "bounds.npy", np.zeros(2, np.int64)),
    "bounds that fall": lambda made: np.save(made / "bounds.npy", np.array([0, 9, 2, 11])),
    "bounds past the end": lambda made: np.save(made / "bounds.npy", np.array([0, 1, 2, 10**9])),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_arrays_are_refused_with_the_folder_to_remove(tmp_path: Path, damage: str) -> None:
    index = write(tmp_path / "shards", rows())
    load_index_cache(index)
    (made,) = (tmp_path / "shards" / ".lookup").iterdir()
    DAMAGE[damage](made)
    with pytest.raises(HistodsError, match="remove that folder.$") as caught:
        load_index_cache(index)
    assert str(made) in str(caught.value)


def test_a_folder_of_another_user_in_the_temporary_folder_is_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone may make a folder, or a link, of that name before this user does."""
    index = write(tmp_path / "shards", rows())
    (tmp_path / "shards" / ".lookup").write_text("not a folder")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "trap").mkdir()
    home = tmp_path / f"histods-lookup-{os.getuid()}"
    home.symlink_to("trap")
    with pytest.raises(HistodsError, match="it belongs to another user.*make one of them writable.$"):
        load_index_cache(index)
    assert [*(tmp_path / "trap").iterdir()] == []
    home.unlink()
    assert len(load_index_cache(index).records) == 11
    assert home.is_dir()
