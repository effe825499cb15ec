"""Drafts are written outside the dataset, never over another file, and read back as what they draft."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from histods.errors import HistodsError
from histods.labels.draft_files import check_draft_path, write_draft, write_map_draft
from histods.labels.label_map import LabelTable

if TYPE_CHECKING:
    from pathlib import Path

LABELS = np.array([0, 3, 65535], dtype=np.uint16)
PIXELS = np.array([7, 1, 2], dtype=np.int64)
NAMES = LabelTable(names={3: "größer: 中"})


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("new.yml", None),
        ("folder/new.YAML", None),
        ("there.yml", "exists already"),
        ("link.yml", "exists already"),
        ("data/new.yml", "is inside the dataset"),
        ("into/deep/new.yml", "is inside the dataset"),
        ("data/../data/new.yml", "is inside the dataset"),
        ("database/new.yml", None),
        ("new.json", "writes YAML"),
        ("new", "writes YAML"),
        (".yml", "writes YAML"),
    ],
)
def test_a_draft_may_go_to_a_new_file_outside_the_dataset_alone(
    tmp_path: Path, place: str, reason: str | None
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "into").symlink_to(tmp_path / "data")
    (tmp_path / "there.yml").write_text("mine")
    (tmp_path / "link.yml").symlink_to(tmp_path / "nowhere.yml")
    path = tmp_path / place
    if reason is None:
        assert check_draft_path(str(path), tmp_path / "data") == path
        return
    with pytest.raises(HistodsError, match=reason) as refused:
        check_draft_path(path, tmp_path / "data", "--draft")
    assert "--draft" in str(refused.value)


def test_a_file_that_came_up_in_between_is_kept(tmp_path: Path) -> None:
    path = check_draft_path(tmp_path / "a.yml", None)
    path.write_text("mine")
    with pytest.raises(HistodsError, match="exists already"):
        write_draft(path, "draft", tmp_path / "data")
    assert path.read_text() == "mine"
    with pytest.raises(HistodsError, match="No mask has colours or labels"):
        write_draft(tmp_path / "b.yml", None, tmp_path / "data")
    write_draft(tmp_path / "b.yml", "ü\n", tmp_path / "data")
    assert (tmp_path / "b.yml").read_bytes() == "ü\n".encode()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("map.yml", "map"),
        ("my map (1).yml", "my-map-1"),
        ("---.yml", "classes"),
        ("日本.yaml", "日本"),
        ("labels.yml", "classes"),
        ("x" * 200 + ".yml", "x" * 80),
        ("no.yml", "no"),
        ("1.5.yml", "1.5"),
    ],
)
def test_a_map_draft_is_a_map_of_its_labels_named_after_its_file(tmp_path: Path, file: str, name: str) -> None:
    drafted = write_map_draft(tmp_path / file, None, LABELS, PIXELS, None, NAMES)
    assert drafted.name == name
    assert set(drafted.table) == set(LABELS.tolist())
    assert drafted.classes[drafted.table[3]] == "größer: 中"
    assert drafted.table[0] == drafted.table[65535] == 0  # pixels of unknown colours have no class of their own


def test_a_map_draft_tells_shares_and_masks(tmp_path: Path) -> None:
    write_map_draft(tmp_path / "a.yml", None, LABELS, PIXELS, np.array([4, 1, 2]), NAMES)
    write_map_draft(tmp_path / "b.yml", None, LABELS, np.zeros(3, dtype=np.int64), None, NAMES)
    (line,) = [line for line in (tmp_path / "a.yml").read_text().splitlines() if "größer" in line]
    assert " ".join(line.split()) == '"größer: 中": [3] # 1 pixels, 10 %, masks: 1'
    assert "nan" not in (tmp_path / "b.yml").read_text()


def test_without_labels_there_is_nothing_to_draft(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="no labels to draft a map from"):
        write_map_draft(tmp_path / "a.yml", None, LABELS[:0], PIXELS[:0], None, NAMES)
    assert not (tmp_path / "a.yml").exists()
