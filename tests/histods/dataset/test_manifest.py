"""The manifest on disk: what earlier versions wrote is read, or refused with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from histods import Manifest, audit
from histods.dataset.manifest import metadata_of, read_table, write_table
from histods.errors import HistodsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Of a pair, and of an image without a mask in a folder beside the dataset."""
    for folder, names in {"data": ("a.png", "a_mask.png"), "free": ("b.png",)}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("L" if "mask" in name else "RGB", (8, 8), 1).save(tmp_path / folder / name)
    return audit(
        tmp_path / "data", unconditional=tmp_path / "free", workspace=tmp_path / "out", workers=1
    ).manifest


def test_it_is_read_as_it_was_written(manifest: Manifest, tmp_path: Path) -> None:
    read = Manifest.read(tmp_path / "out" / "manifest.parquet")
    assert read.table.equals(manifest.table)
    assert read.provenance["beside"] == '["../free"]'


def test_one_of_version_0_1_without_folders_beside_is_read(manifest: Manifest, tmp_path: Path) -> None:
    inside = manifest.table.slice(1)  # sorted by key: "../free/b" comes first
    Manifest(inside, {"histods_version": "0.1.0"}).write(tmp_path / "old.parquet")
    assert Manifest.read(tmp_path / "old.parquet").table["key"].to_pylist() == ["a"]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (
            "0.1.0",
            "by histods 0.1.0, which did not record the folders of --unconditional .'../free/b' out",
        ),
        (
            "0.2.0",
            "has paths or numbers that no dataset has .'../free/b' outside it.; run 'histods audit",
        ),
    ],
)
def test_one_that_names_files_outside_is_refused(
    manifest: Manifest, version: str, said: str, tmp_path: Path
) -> None:
    Manifest(manifest.table, {"histods_version": version}).write(tmp_path / "old.parquet")
    with pytest.raises(HistodsError, match=said):
        Manifest.read(tmp_path / "old.parquet")


def test_one_without_the_newest_columns_is_read_with_nulls(manifest: Manifest, tmp_path: Path) -> None:
    path, old = tmp_path / "out" / "manifest.parquet", tmp_path / "old.parquet"
    table = read_table(path)
    names = table.schema.names
    for missing in (1, 2, 3):
        write_table(table.select(names[:-missing]), old, metadata_of(table))
        assert Manifest.read(old).table.equals(manifest.table)
    for wrong in (names[:-4], [*names[:-2], names[-1]], [names[1], names[0], *names[2:]]):
        write_table(table.select(wrong), old, metadata_of(table))
        with pytest.raises(HistodsError, match="is not a manifest of schema version 1"):
            Manifest.read(old)
