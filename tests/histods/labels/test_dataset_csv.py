"""`dataset.csv`: the list that is written is read back, other tables are none, and label maps are found once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.labels.dataset_csv import list_class_systems, read_dataset_csv, write_dataset_csv

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, st.sets(st.integers(0, 65535), max_size=4).map(sorted), min_size=1, max_size=6))
def test_any_names_and_classes_that_are_written_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, list[int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "dataset.csv"
    write_dataset_csv(path, rows, rows.values())
    table = read_dataset_csv(path)
    assert table is not None
    assert dict(table.iter_rows()) == {name: classes or [0] for name, classes in rows.items()}


def test_the_form_is_that_of_the_code_that_reads_it(tmp_path: Path) -> None:
    write_dataset_csv(tmp_path / "d.csv", ["a", "sub/b, c", "d"], [[0, 3], [12], []])
    assert (tmp_path / "d.csv").read_bytes() == b'a,0 3\n"sub/b, c",12\nd,0\n'
    with pytest.raises(HistodsError, match="is a folder; name a file in it"):
        write_dataset_csv(tmp_path, [], [])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,1 2\n", [("a", [1, 2])]),
        ('a,"2, 1;1"\nb,\n', [("a", [1, 2]), ("b", [])]),
        ("split,Class,ID\nx,7,a\n", [("a", [7])]),
        ("a,65535\nb,65536\nc,0\n", [("a", [65535]), ("b", None), ("c", [0])]),
        ("a,1\nb,-1\nc,1.5\nd,2\ne,3\n", [("a", [1]), ("b", None), ("c", None), ("d", [2]), ("e", [3])]),
        ("ä,1\r\n日本,٣\r\n\r\nc,2\r\n", [("ä", [1]), ("日本", None), ("c", [2])]),
    ],
)
def test_numbers_are_read_and_what_is_none_is_null(
    tmp_path: Path, text: str, rows: list[tuple[str, list[int] | None]]
) -> None:
    (tmp_path / "d.csv").write_bytes(text.encode())
    table = read_dataset_csv(tmp_path / "d.csv")
    assert table is not None
    assert table.rows() == rows


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"a\nb\n", b"a,x\nb,1\n", b"a,b,c\n1,2,3\n", b"\xff\xfe\x00", b'a,"1\n', b"\x89PNG\r\n"],
)
def test_another_table_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.csv").write_bytes(content)
    assert read_dataset_csv(tmp_path / "d.csv") is None
    assert read_dataset_csv(tmp_path / "gone.csv") is None
    assert read_dataset_csv(tmp_path) is None


def test_maps_of_the_folder_come_first_and_equal_ones_once(tmp_path: Path) -> None:
    (tmp_path / "b.YML").write_text("none: [0]\ntumour: [3, 4]\n")
    (tmp_path / "c.json").write_text('{"ground": [0], "other": [3, 4]}')  # the same classes under other names
    (tmp_path / "a.yaml").write_text("none: [0, 3]\ntumour: [4]\n")
    (tmp_path / "labels.yml").write_text("0: none\n3: tumour\n")
    (tmp_path / "notes.yml").write_bytes(b"\xff\0")
    (tmp_path / "folder.yml").mkdir()
    os.mkfifo(tmp_path / "pipe.yml")
    systems = list_class_systems(tmp_path)
    assert list(systems) == ["a.yaml", "b.YML", "label_map_10.yml", "label_map_5.yml"]
    assert systems["b.YML"].table == {0: 0, 3: 1, 4: 1}
