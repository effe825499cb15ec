"""Reading samples out of shards: the arrays beside the index say the same as the index."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from histods import shard, split
from histods.errors import HistodsError
from histods.sampling.draws import list_classes
from histods.shards import index_cache as lookup
from histods.shards.images import reader as shard_reader
from histods.shards.images.reader import ShardReader

if TYPE_CHECKING:
    from tests.conftest import Site


@pytest.fixture
def folder(site: Site) -> Path:
    """Shards of two splits."""
    split(workspace=site.workspace, test=0.25)
    shard(workspace=site.workspace, map=site.map, workers=1)
    return site.workspace / "shards"


@pytest.mark.parametrize("splits", [(), ("train",), ("test", "train")])
def test_samples_and_their_classes_are_those_of_the_index(
    folder: Path, site: Site, splits: tuple[str, ...]
) -> None:
    reader = ShardReader(folder, splits)
    index = pl.read_parquet(folder / "index.parquet").filter(pl.col("split").is_in(splits or ["test", "train"]))
    assert [reader.key(sample) for sample in range(len(reader))] == index["key"].to_list()
    for sample, key in enumerate(index["key"]):
        files = reader.read(sample)
        assert files.image == site.images[key].read_bytes()
        assert (files.mask is None) == (site.labels[key] is None)
    held = [classes or [] for classes in index["classes"].to_list()]
    flat = np.array([c for classes in held for c in classes], dtype=np.uint16)
    expected = list_classes(flat, np.concatenate([[0], np.cumsum([len(c) for c in held])]), 3)
    np.testing.assert_array_equal(reader.lists.samples, expected.samples)
    np.testing.assert_array_equal(reader.lists.bounds, expected.bounds)


def test_small_pieces_of_a_large_index_give_the_same_arrays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ShardReader(folder)
    samples, bounds = np.array(whole.lists.samples), np.array(whole.lists.bounds)
    for path in (folder / ".lookup").rglob("*.npy"):
        path.unlink()
    monkeypatch.setattr(lookup, "_BATCH", 3)
    pieces = ShardReader(folder)
    np.testing.assert_array_equal(pieces.lists.samples, samples)
    np.testing.assert_array_equal(pieces.lists.bounds, bounds)


def test_the_arrays_are_mapped_not_loaded(folder: Path) -> None:
    reader = ShardReader(folder)
    assert isinstance(reader.lists.samples, np.memmap)
    assert shard_reader.RECORD.itemsize == 48


def _count(folder: Path) -> int:
    return len(ShardReader(folder))


def test_processes_that_begin_together_do_not_disturb_each_other(folder: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(_count, [folder] * 8) == [40] * 8
    assert len(list((folder / ".lookup").iterdir())) == 1


def test_shards_in_a_folder_that_cannot_be_written_to_are_read_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".lookup").write_text("not a folder")  # stands in the way even of root
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reader = ShardReader(folder)
    assert len(reader) == 40
    assert isinstance(reader.lists.samples, np.memmap)
    assert len(list(tmp_path.glob("histods-lookup-*/*/bounds.npy"))) == 1


def test_an_unknown_split_is_named(folder: Path) -> None:
    with pytest.raises(HistodsError) as caught:
        ShardReader(folder, ["valid"])
    assert str(caught.value) == (f"{folder} has no split 'valid'; choose one of test, train.")


def test_nothing_is_left_open_or_copied_when_a_reader_goes_to_another_process(folder: Path) -> None:
    reader = ShardReader(folder)
    files = reader.read(0)
    again = pickle.loads(pickle.dumps(reader))  # noqa: S301 - our own bytes
    assert again.read(0) == files
    before = len(list(Path("/proc/self/fd").iterdir()))
    del reader, again
    assert len(list(Path("/proc/self/fd").iterdir())) < before
