"""The demo makes its dataset once, resumes after a kill, and leaves every folder alone that it did not make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from histods import HistodsError
from histods.demo_pipeline import MARK, SAMPLED_MASKS, _plant, _write_masks, demo
from histods.images.reader import read_mask
from histods.synthetic import Fault
from histods.synthetic.faults import write_faults

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_planted_is_read_and_not_made_again(tmp_path: Path) -> None:
    faults = (Fault(code="turned", key="a", path="ä.png", note="n"),)
    write_faults(tmp_path / "planted.csv", faults)
    (tmp_path / "mine.txt").touch()
    assert _plant(tmp_path, tmp_path / "dataset") == faults
    assert {path.name for path in tmp_path.iterdir()} == {"planted.csv", "mine.txt"}


@pytest.mark.parametrize("kind", ["file", "folder with files"])
def test_a_folder_with_other_files_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "demo"
    if kind == "file":
        place.write_text("x")
    else:
        place.mkdir()
        (place / "mine.txt").write_text("x")
    with pytest.raises(HistodsError) as refused:
        demo(place)
    assert str(refused.value) == f"{place} is not new, empty or from an earlier demo; choose another folder."
    assert {path.name for path in tmp_path.rglob("*.txt")} <= {"mine.txt"}


def test_a_killed_demo_makes_only_what_it_had_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With folders that stand for a dataset, which takes seconds to make."""
    made: list[str] = []

    class Planted:
        faults = (Fault(code="turned", key="a", path="a.png", note=""),)

        def write_planted_csv(self, path: Path) -> None:
            write_faults(path, self.faults)

    def make(folder: Path, **_: object) -> Planted:
        assert not folder.exists()
        made.append(folder.name)
        return Planted()

    monkeypatch.setattr("histods.demo_pipeline.make_demo", make)
    monkeypatch.setattr("histods.demo_pipeline.make_unconditional", make)
    (tmp_path / MARK).touch()
    for name in ("dataset", "unlabelled", "dataset_outside", ".dataset.123.part", "histods-out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    assert _plant(tmp_path, tmp_path / "dataset") == Planted.faults
    assert made == ["unlabelled", "dataset"]
    assert {path.name for path in tmp_path.iterdir()} == {MARK, "planted.csv", "histods-out"}
    assert _plant(tmp_path, tmp_path / "dataset") == Planted.faults
    assert len(made) == 2


def test_masks_of_the_test_split_with_most_classes_are_taken(folder: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    from histods.shards.images import reader

    class Test(reader.ShardReader):
        def __init__(self, *_: object) -> None:
            super().__init__(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "ShardReader", Test)
        _write_masks(shards, tmp_path / "masks")
    written = [*(tmp_path / "masks").iterdir()]
    assert len(written) == SAMPLED_MASKS
    assert all("/" not in path.name and path.name.endswith("_mask.png") for path in written)
    assert min(len(np.unique(read_mask(path).labels)) for path in written) > 1
