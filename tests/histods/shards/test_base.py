"""A folder of shards is what its description says, or it is refused with what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from histods.errors import HistodsError
from histods.shards.base import Shard, read_index, write_index
from histods.shards.images.shard_set import INDEX, ShardSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def index(*keys: str) -> pa.Table:
    """Rows of an index of which only the key matters."""
    return INDEX.empty_table().from_pylist([dict.fromkeys(INDEX.names) | {"key": key} for key in keys], INDEX)


@pytest.fixture
def shards(tmp_path: Path) -> ShardSet:
    """Three shards in two splits; their bytes do not matter here."""
    sizes = {"train-0": 40, "train-1": 30, "test-0": 20}
    for name, size in sizes.items():
        (tmp_path / f"{name}.tar").write_bytes(bytes(size))
    made = ShardSet(
        folder=tmp_path,
        shards=tuple(
            Shard(name=name, split=name[:-2], samples=size // 10, bytes=size, sha256="0", plan="1")
            for name, size in sizes.items()
        ),
        map="ärzte",
        classes=("Unknown", "日本"),
        labels=((0,), (1, 65535)),
        map_digest="2",
        index_digest=write_index(index(*"abcdefghi"), tmp_path),
        manifest_digest="3",
        split_digest=None,
    )
    made.write()
    return made


def edit(described: ShardSet, **changes: Any) -> None:
    path = described.folder / "shards.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_a_description_comes_back_and_adds_up(shards: ShardSet) -> None:
    assert ShardSet.read(shards.folder) == shards
    assert shards.splits == {"train": (2, 7, 70), "test": (1, 2, 20)}
    document = json.loads((shards.folder / "shards.json").read_text(encoding="utf-8"))
    assert (document["samples"], document["bytes"]) == (9, 90)
    assert read_index(shards)["key"].to_pylist() == [*"abcdefghi"]
    assert read_index(shards, ["shard", "key"]).column_names == ["shard", "key"]


def test_splits_are_chosen_by_name_in_one_order(shards: ShardSet) -> None:
    assert shards.choose([]) == shards.choose(["train", "test"]) == ("test", "train")
    assert shards.choose(["train"]) == ("train",)
    with pytest.raises(HistodsError, match="has no split 'valid'; choose one of test, train.$"):
        shards.choose(["train", "valid"])


DAMAGE: dict[str, tuple[Callable[[ShardSet], object], str]] = {
    "a shard is gone": (lambda one: one.path("test-0").unlink(), "test-0.tar is missing"),
    "a shard grew": (
        lambda one: one.path("train-1").write_bytes(bytes(1234)),
        "train-1.tar has 1,234 bytes instead of 30",
    ),
    "the index is gone": (lambda one: one.index.unlink(), "index.parquet is missing"),
    "another index": (
        lambda one: write_index(index("a"), one.folder),
        "index.parquet is not the one that shards.json describes",
    ),
    "an index of fewer rows, described": (
        lambda one: edit(one, index_digest=write_index(index("a"), one.folder)),
        "index.parquet is not an index of the shards that shards.json lists",
    ),
    "an index of other columns, described": (
        lambda one: edit(one, index_digest=write_index(index(*"abcdefghi").drop_columns("key"), one.folder)),
        "index.parquet is not an index of the shards that shards.json lists",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_differs_from_the_description_is_named(shards: ShardSet, damage: str) -> None:
    change, problem = DAMAGE[damage]
    change(shards)
    with pytest.raises(HistodsError) as caught:
        ShardSet.read(shards.folder)
    assert str(caught.value) == (
        f"The shards in {shards.folder} are not sound: {problem}; "
        "remove what is wrong and run 'histods shard' again."
    )


def test_of_many_problems_five_are_listed_and_the_others_counted(shards: ShardSet) -> None:
    shards.refuse([])
    with pytest.raises(HistodsError, match="are not sound: 0; 1; 2; 3; 4; and 1,195 more; remove"):
        shards.refuse([str(number) for number in range(1200)])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 2}, "another version than 1"),
        ({"classes": "two"}, "classes"),
        ({"classes": ["one"]}, "1 classes and the labels of 2"),
        ({"classes": ["x"] * 257, "labels": [[0]] * 257}, "257 classes and the labels of 257"),
        ({"shards": []}, "no shards"),
        ({"map": 3}, "map 3"),
    ],
    ids=["version", "no list", "fewer", "too many", "none", "map"],
)
def test_a_description_of_nonsense_is_refused(shards: ShardSet, changes: dict[str, Any], reason: str) -> None:
    edit(shards, **changes)
    with pytest.raises(HistodsError, match=f"{reason}.*run 'histods shard' into a new folder.$"):
        ShardSet.describe(shards.folder)


@pytest.mark.parametrize(
    "wrong",
    [{"name": "../x"}, {"name": "a/b"}, {"name": ""}, {"name": "train-1"}, {"samples": 0}, {"samples": 41}],
    ids=str,
)
def test_no_shard_has_an_impossible_name_or_number(shards: ShardSet, wrong: dict[str, Any]) -> None:
    first, *others = shards.shards
    with pytest.raises(ValueError, match="a shard named|two shards|samples in the 40 bytes"):
        replace(shards, shards=(replace(first, **wrong), *others)).check_numbers()


def test_a_folder_without_shards_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(HistodsError) as caught:
        ShardSet.read(tmp_path)
    assert str(caught.value) == (
        f"There are no finished shards in {tmp_path} (no shards.json); run 'histods shard --out {tmp_path}'."
    )
