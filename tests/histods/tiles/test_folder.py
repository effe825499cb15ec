"""A folder of tiles: whose it is, what of it is done, and the tables that complete it."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest

from histods.dataset.manifest import read_table
from histods.errors import HistodsError
from histods.io.atomic import file_digest
from histods.io.strict_yaml import MAX_BYTES
from histods.labels.label_map_file import read_label_map
from histods.tiles.cut import CUT
from histods.tiles.folder import (
    COLUMNS,
    claim,
    copy_label_maps,
    open_journal,
    read_done,
    write_tables,
)
from histods.tiles.mark import PAIRS, TABLE, read_mark, write_mark
from tests.histods.tiles.test_mark import PLAIN

if TYPE_CHECKING:
    from pathlib import Path


def row(source: str, x: int, **more: Any) -> dict[str, Any]:
    place = f"pairs/{source}/x{x:06d}_y000000"
    written = {"image_path": f"{place}.png", "mask_path": f"{place}_mask.png", "image_bytes": 3, "mask_bytes": 2}
    plain = {"source": source, "status": "written", "x": x, "y": 0, "width": 8, "height": 8, "tissue": 0.5}
    return plain | written | more


def blank(source: str, x: int) -> dict[str, Any]:
    none = dict.fromkeys(("image_path", "mask_path", "image_bytes", "mask_bytes"))
    return row(source, x, status="blank", **none)


def fill(folder: Path, *rows: dict[str, Any]) -> None:
    for one in rows:
        for kind in ("image", "mask"):
            if one[f"{kind}_path"] is not None:
                path = folder / one[f"{kind}_path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes(one[f"{kind}_bytes"]))


def record(folder: Path, *rows: dict[str, Any]) -> None:
    """Append rows to the journal, as a run does before it is killed."""
    with open_journal(folder) as journal:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, CUT) as writer:
            writer.write_batch(pa.RecordBatch.from_pylist(list(rows), CUT))
        journal.append(bytes(sink.getvalue()))


def done(folder: Path) -> list[tuple[str, int]]:
    with open_journal(folder) as journal:
        return read_done(folder, read_mark(folder), journal).select("source", "x").rows()


def finish(folder: Path, *rows: dict[str, Any]) -> None:
    table = pl.DataFrame(pa.Table.from_pylist(list(rows), CUT))
    extra = ("source_image", "source_mask", "role", "group", "split")
    write_tables(folder, table.with_columns(pl.lit(None, pl.String).alias(name) for name in extra), PLAIN)


def test_a_folder_is_free_continued_or_of_other_tiles(tmp_path: Path) -> None:
    assert claim(tmp_path, PLAIN) is None
    (tmp_path / "tiles.journal").touch()
    assert claim(tmp_path, PLAIN) is None
    (tmp_path / "x.png").touch()
    with pytest.raises(HistodsError, match="already holds x.png; choose a new or empty folder"):
        claim(tmp_path, PLAIN)
    write_mark(tmp_path, PLAIN, "digest")
    assert claim(tmp_path, PLAIN) == replace(PLAIN, tiles_digest="digest")
    with pytest.raises(HistodsError, match="tiles of other options, those of 'histods tile"):
        claim(tmp_path, replace(PLAIN, size=32))
    with pytest.raises(HistodsError, match="tiles of the same dataset as it was before"):
        claim(tmp_path, replace(PLAIN, plan_digest="other"))
    with pytest.raises(HistodsError, match="tiles of /data, not of /else"):
        claim(tmp_path, replace(PLAIN, plan_digest="other", root="/else"))


def test_tables_list_every_tile_in_order_and_the_mark_proves_them(tmp_path: Path) -> None:
    rows = [row("b", 8), blank("b", 0), row("a", 0, mask_path=None, mask_bytes=None), row("ä,\n", 8)]
    finish(tmp_path, *rows)
    table = read_table(tmp_path / TABLE, list(COLUMNS))
    assert list(zip(table["source"].to_pylist(), table["x"].to_pylist(), strict=True)) == [
        ("a", 0), ("b", 0), ("b", 8), ("ä,\n", 8),
    ]  # fmt: skip
    assert table["key"].to_pylist()[0] == "pairs/a/x000000_y000000"
    with (tmp_path / PAIRS).open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["image", "mask", "group", "split"],
            ["pairs/a/x000000_y000000.png", "", "", ""],
            ["pairs/b/x000008_y000000.png", "pairs/b/x000008_y000000_mask.png", "", ""],
            ["pairs/ä,\n/x000008_y000000.png", "pairs/ä,\n/x000008_y000000_mask.png", "", ""],
        ]
    mark = read_mark(tmp_path)
    assert mark == replace(PLAIN, tiles_digest=file_digest(tmp_path / TABLE))
    before = (tmp_path / TABLE).read_bytes(), (tmp_path / PAIRS).read_bytes()
    finish(tmp_path, *rows[::-1])
    assert ((tmp_path / TABLE).read_bytes(), (tmp_path / PAIRS).read_bytes()) == before


def test_images_whose_tiles_are_all_whole_are_done(tmp_path: Path) -> None:
    rows = [row("a", 0), row("a", 8), row("b", 0), blank("b", 8), row("c", 0), blank("d", 0)]
    fill(tmp_path, *rows)
    record(tmp_path, *rows)
    assert done(tmp_path) == []  # another plan, perhaps
    write_mark(tmp_path, PLAIN)
    assert len(done(tmp_path)) == 6
    (tmp_path / rows[1]["mask_path"]).unlink()
    (tmp_path / rows[4]["image_path"]).write_bytes(b"torn!")
    assert done(tmp_path) == [("b", 0), ("b", 8), ("d", 0)]


def test_a_finished_table_counts_with_the_journal_if_it_is_the_one_of_the_mark(tmp_path: Path) -> None:
    old, new = [row("a", 0), row("a", 8)], [row("b", 0)]
    fill(tmp_path, *old, *new)
    finish(tmp_path, *old)
    record(tmp_path, *new)
    assert done(tmp_path) == [("a", 0), ("a", 8), ("b", 0)]
    record(tmp_path, row("a", 8, image_bytes=9))
    (tmp_path / old[1]["image_path"]).write_bytes(bytes(9))
    assert ("a", 8) in done(tmp_path)  # the later record counts
    with (tmp_path / TABLE).open("ab") as file:
        file.write(b"x")
    assert done(tmp_path) == [("b", 0), ("a", 8)]


def test_only_one_process_cuts_into_a_folder(tmp_path: Path) -> None:
    with open_journal(tmp_path), pytest.raises(HistodsError, match="Another process is cutting tiles in"):
        open_journal(tmp_path).__enter__()


def test_label_maps_come_along_and_nothing_else(tmp_path: Path) -> None:
    root, folder = tmp_path / "data", tmp_path / "tiles"
    root.mkdir()
    folder.mkdir()
    text = "none: [0]\ntumour: [3]\n"
    for name in ("a.yml", "B.YAML", "C.Yml", "日本.yaml"):
        (root / name).write_text(text)
    (root / ".hidden.yml").write_text(text)
    (root / "large.yml").write_bytes(b"#" * (MAX_BYTES + 1))
    (root / "folder.yml").mkdir()
    (root / "x.yaml.png").touch()
    (tmp_path / "secret").write_text(text)
    (root / "out.yml").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "pipe.yml")
    names = copy_label_maps(root, folder)
    assert (
        sorted(names)
        == sorted(path.name for path in folder.iterdir())
        == ["B.YAML", "C.Yml", "a.yml", "日本.yaml"]
    )
    assert read_label_map(folder / "C.Yml").table == {0: 0, 3: 1}
