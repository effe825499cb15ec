"""A workspace and a dataset are apart; what earlier versions wrote inside a dataset hides nothing of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histods import audit, plot, remap, shard, split
from histods.errors import HistodsError


def write_pair(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (200, 100, 150)).save(folder / f"{name}.jpg")
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(folder / f"{name}_mask.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pairs in two folders, and a link to one of these beside the dataset."""
    for part in ("part_00000", "part_00001"):
        for name in ("a", "b"):
            write_pair(tmp_path / "data" / part, name)
    (tmp_path / "link").symlink_to(tmp_path / "data" / "part_00001")
    return tmp_path / "data"


def tree(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("data/part_00001", "data/part_00001 inside it"),
        ("data/new", "data/new inside it"),
        ("data/part_00001/new/deep", "data/part_00001/new/deep inside it"),
        ("link", "link inside it"),
        ("link/new", "link/new inside it"),
        ("data", "data, which is the dataset"),
        ("data/part_00001/..", "data/part_00001/.., which is the dataset"),
        (".", ", which holds the dataset"),
        ("free/out", "free/out inside it"),
    ],
)
def test_a_workspace_that_is_not_apart_is_refused_before_anything_is_written(
    tmp_path: Path, root: Path, place: str, found: str
) -> None:
    write_pair(tmp_path / "free", "c")
    before = tree(tmp_path)
    with pytest.raises(HistodsError) as error:
        audit(root, workspace=tmp_path / place, unconditional=tmp_path / "free", workers=1)
    assert found in str(error.value)
    dataset = tmp_path / "free" if place.startswith("free") else root
    assert f"; run 'histods audit {root} --unconditional" in str(error.value)
    assert str(error.value).endswith(f" -w {dataset}-histods'.")
    assert tree(tmp_path) == before


def test_the_workspace_by_default_is_refused_in_the_dataset_with_a_command_that_works(root: Path) -> None:
    command = [sys.executable, "-m", "histods", "audit", ".", "-q"]
    environment = {"PYTHONPATH": str(Path.cwd()), "PATH": ""}
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    advice = result.stderr.rpartition("run 'histods ")[2].rstrip("'.\n")
    result = subprocess.run(
        [*command[:3], *advice.split(), "-q"], cwd=root, env=environment, capture_output=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert not (root / "histods-out").exists()


@pytest.mark.parametrize("place", ["data-out", "other/data", "dat", "data2/data"])
def test_a_workspace_that_only_has_a_name_like_it_is_apart(tmp_path: Path, root: Path, place: str) -> None:
    assert audit(root, workspace=tmp_path / place, workers=1).counts.images == 4


def test_a_workspace_inside_the_dataset_from_before_is_not_written_to(tmp_path: Path, root: Path) -> None:
    audit(root, workspace=tmp_path / "o", workers=1)
    shutil.move(tmp_path / "o", root / "histods-out")
    before = tree(root)
    for step in (remap, split, shard, plot):
        with pytest.raises(
            HistodsError, match=rf"histods-out inside it; run 'histods audit {root} -w {root}-histods'"
        ):
            step(workspace=root / "histods-out")
    assert tree(root) == before


def test_an_old_workspace_in_the_dataset_is_told_and_hides_nothing(tmp_path: Path, root: Path) -> None:
    """As `histods audit DATASET -w DATASET/part_00001` once left it."""
    audit(root, workspace=tmp_path / "o", workers=1)
    split(workspace=tmp_path / "o", test=0.5)
    remap(workspace=tmp_path / "o", write_masks=tmp_path / "o" / "masks", workers=1)
    shard(workspace=tmp_path / "o", workers=1)
    plot(workspace=tmp_path / "o")
    shutil.copytree(tmp_path / "o", root / "part_00001", dirs_exist_ok=True)
    write_pair(root / "part_00001" / "charts", "c")
    write_pair(root / "part_00001" / "masks", "d")
    result = audit(root, workspace=tmp_path / "new", workers=1)
    keys = result.manifest.table["key"].to_pylist()
    assert keys == [
        *("part_00000/a", "part_00000/b", "part_00001/a", "part_00001/b"),
        *("part_00001/charts/c", "part_00001/masks/d"),
    ]
    assert result.counts.conditional == 6
    told = {name for name in result.other_files if name.endswith("(written by histods)")}
    assert told == {f"part_00001{below}/ (written by histods)" for below in ("", "/masks", "/shards")}
