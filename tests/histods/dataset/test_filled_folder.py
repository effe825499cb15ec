"""Folders that commands fill: others are refused, torn sources are made again, and incomplete files go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from histods.dataset.filled_folder import keep_intact, read_mark, refuse_others, remove_incomplete
from histods.errors import HistodsError


@dataclass(frozen=True, kw_only=True)
class Mark:
    name: str


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}', "{"])
def test_what_is_no_mark_is_refused_with_its_command(tmp_path: Path, text: str) -> None:
    assert read_mark(Mark, tmp_path / "mark.json", "histods tile") is None
    (tmp_path / "mark.json").write_text(text)
    with pytest.raises(HistodsError, match=r"mark\.json"):
        read_mark(Mark, tmp_path / "mark.json", "histods tile")
    (tmp_path / "mark.json").write_text('{"name": "a"}')
    assert read_mark(Mark, tmp_path / "mark.json", "histods tile") == Mark(name="a")


def test_a_folder_with_files_of_others_is_refused(tmp_path: Path) -> None:
    refuse_others(tmp_path)
    for name in ("own.journal", ".a.png.1.part"):
        (tmp_path / name).touch()
    refuse_others(tmp_path, "own.journal")
    for name in (".hidden", "ours", "x.part"):
        (tmp_path / name).touch()
        with pytest.raises(HistodsError, match=f"already holds {name}; choose a new or empty folder"):
            refuse_others(tmp_path, "own.journal")
        (tmp_path / name).unlink()


def test_a_source_stays_only_if_all_of_its_files_are_whole(tmp_path: Path) -> None:
    rows = []
    for source, sizes in {"whole": (3, 2), "short": (3, 1), "gone": (None, 2), "alone": (3, None)}.items():
        row: dict[str, object] = {"source": source, "image_bytes": 3, "mask_bytes": 2}
        for kind, size in zip(("image", "mask"), sizes, strict=True):
            row[f"{kind}_path"] = f"{source}_{kind}"
            if size is not None:
                (tmp_path / f"{source}_{kind}").write_bytes(bytes(size))
        if source == "alone":
            row |= {"mask_path": None, "mask_bytes": None}
        rows.append(row)
    second = {**rows[1], "image_path": "whole_image", "mask_path": "whole_mask"}  # a whole row of a torn source
    table = pl.DataFrame([*rows, second])
    assert keep_intact(tmp_path, table, "source")["source"].to_list() == ["whole", "alone"]
    assert keep_intact(tmp_path, table.clear(), "source").is_empty()


def test_only_incomplete_files_are_removed(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("a/x.png", "a/.hidden", "b/.y.png.part", "x.part")]
    parts = [tmp_path / name for name in ("a/.x.png.1.part", ".tiles.csv.part")]
    for path in (*parts, *kept):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    remove_incomplete([tmp_path, tmp_path / "a", tmp_path / "never"])
    assert [path.exists() for path in (*parts, *kept)] == [False] * 2 + [True] * 4
