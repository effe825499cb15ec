"""Notes of where generated images are: one for each folder outside the workspace."""

from __future__ import annotations

import os
from pathlib import Path

from histods.io.samples_elsewhere import note_place, read_places
from histods.io.workspace import Workspace


def test_each_folder_is_noted_once_by_its_absolute_path(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for name in ("a", "b", "link"):
        note_place(space, space.runs / "x", tmp_path / name)
    problems: list[str] = []
    assert sorted(read_places(space, problems)) == [tmp_path / "a", tmp_path / "b"]
    assert not problems


def test_what_the_report_finds_anyway_or_does_not_show_is_not_noted(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    note_place(space, space.runs / "x", space.folder / "samples" / "x")
    note_place(space, space.runs / "x", space.evaluations / "e" / "images")
    note_place(space, tmp_path / "foreign" / "x", tmp_path / "a")
    assert not space.folder.exists()


def test_a_folder_whose_name_is_no_utf_8_is_noted_and_found(tmp_path: Path) -> None:
    space, folder = Workspace(tmp_path / "out"), Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    note_place(space, space.runs / "x", folder)
    problems: list[str] = []
    assert read_places(space, problems) == [folder]
    assert not problems
