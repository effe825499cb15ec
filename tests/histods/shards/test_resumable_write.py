"""What a killed run finished is kept, everything else of it is removed, and nothing of others is ever touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from histods.errors import HistodsError
from histods.shards.base import Shard
from histods.shards.images.shard_set import INDEX, ShardSet
from histods.shards.resumable_write import begin_shards, clean_up, collect_shards, part_of, write_part

if TYPE_CHECKING:
    from pathlib import Path


def rows(*keys: str, split: str = "train") -> pa.Table:
    table = [dict.fromkeys(INDEX.names) | {"key": key, "split": split} for key in keys]
    return INDEX.empty_table().from_pylist(table, INDEX)


def finish(folder: Path, name: str, *keys: str, plan: str = "p") -> Shard:
    """Write a shard as a worker does: the file, then its part of the index."""
    (folder / f"{name}.tar").write_bytes(b"shard of " + name.encode())
    size = (folder / f"{name}.tar").stat().st_size
    write_part(folder, name, rows(*keys), size=size, sha256=name, plan=plan)
    return Shard(name=name, split="train", samples=len(keys), bytes=size, sha256=name, plan=plan)


def begin(folder: Path, *names: str, plan: str = "p", kept: tuple[Shard, ...] = ()) -> list[str]:
    return begin_shards(ShardSet, folder, dict.fromkeys(names, plan), kept)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_resumed_run_writes_only_what_no_killed_run_finished(tmp_path: Path) -> None:
    assert begin(tmp_path, "a", "b", "c") == ["a", "b", "c"]
    finish(tmp_path, "a", "1")
    (tmp_path / "b.tar").write_bytes(b"without its part")
    finish(tmp_path, "c", "2")
    (tmp_path / "c.tar").write_bytes(b"of another size")
    (tmp_path / ".b.tar.part").write_bytes(b"torn")
    (tmp_path / "parts" / ".c.parquet.part").write_bytes(b"torn")
    assert begin(tmp_path, "a", "b", "c") == ["b", "c"]
    assert files(tmp_path) == {"a.tar", "parts/a.parquet", "unfinished.json"}


def test_shards_of_another_plan_are_removed_and_kept_ones_stay(tmp_path: Path) -> None:
    begin(tmp_path, "old", "new", "kept")
    kept = finish(tmp_path, "kept", "1")
    for name in ("old", "new"):
        finish(tmp_path, name, "2")
    assert begin(tmp_path, "new", plan="q", kept=(kept,)) == ["new"]
    assert files(tmp_path) == {"kept.tar", "unfinished.json"}


def test_parts_become_an_index_by_key_and_leave_nothing_behind(tmp_path: Path) -> None:
    begin(tmp_path, "a", "b")
    made = [finish(tmp_path, "a", "ä", "c"), finish(tmp_path, "b", "b")]
    shards, index = collect_shards(tmp_path, rows("0", "z", split="test"))
    assert shards == made
    assert index["key"].to_pylist() == ["0", "b", "c", "z", "ä"]
    clean_up(tmp_path)
    assert files(tmp_path) == {"a.tar", "b.tar"}
    assert not (tmp_path / "parts").exists()
    clean_up(tmp_path)
    assert collect_shards(tmp_path, rows("x")) == ([], rows("x"))


@pytest.mark.parametrize("name", ["foreign.tar", "latents.json"])
def test_a_folder_of_others_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(HistodsError, match=r"holds (foreign.tar|other shards).*choose (a new|another) folder"):
        begin(tmp_path, "a")
    assert files(tmp_path) == {name}


def test_parts_behind_a_link_are_never_removed(tmp_path: Path) -> None:
    folder, other = tmp_path / "shards", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "mine.parquet").touch()
    (folder / "parts").symlink_to("../other")
    with pytest.raises(HistodsError, match="is a link, not a folder of this command; remove it.$"):
        begin(folder, "a")
    assert (other / "mine.parquet").exists()


@pytest.mark.parametrize("names", ["a", [3], None, ["../../x"], ["a/b"], [""]], ids=str)
def test_a_mark_of_nonsense_removes_no_file(tmp_path: Path, names: object) -> None:
    (tmp_path / "x.tar").touch()
    (tmp_path / "unfinished.json").write_text(json.dumps({"shards": names}))
    with pytest.raises(HistodsError, match="does not hold names of shards .*remove that file and run"):
        begin(tmp_path, "a")
    assert files(tmp_path) == {"x.tar", "unfinished.json"}


def test_what_is_no_part_is_named(tmp_path: Path) -> None:
    finish(tmp_path, "a", "1")
    write_part(tmp_path, "b", rows(), size=1, sha256="", plan="")  # without rows, which no shard is
    with pytest.raises(HistodsError) as caught:
        collect_shards(tmp_path, rows())
    assert str(caught.value) == (
        f"{part_of(tmp_path, 'b')} is not a part of the index; remove that file and run the same command again."
    )
