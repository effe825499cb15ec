"""A workspace and a dataset are apart; what earlier versions wrote inside a dataset hides nothing of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histods import audit, fix, plot, remap, shard, split
from histods.errors import HistodsError
from histods.io import atomic
from histods.io.atomic import write_bytes
from histods.io.workspace import Workspace
from reports.class_table import read_systems


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
        ("data/part_00001", "data/part_00001 is inside the dataset "),
        ("data/new", "data/new is inside the dataset "),
        ("data/part_00001/new/deep", "data/part_00001/new/deep is inside the dataset "),
        ("link", "link is inside the dataset "),
        ("link/new", "link/new is inside the dataset "),
        ("data", "data is the dataset "),
        ("data/part_00001/..", "data/part_00001/.. is the dataset "),
        ("free/out", "free/out is inside the dataset "),
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


def test_a_dataset_may_lie_in_a_workspace_but_not_where_commands_write(tmp_path: Path) -> None:
    for place in ("data", "shards"):
        write_pair(tmp_path / place, "a")
    audit(tmp_path / "data", workspace=tmp_path, workers=1)
    with pytest.raises(
        HistodsError,
        match=r"/shards, where the dataset .* lies, and a workspace must be apart from it; run 'histods audit ",
    ):
        audit(tmp_path / "shards", workspace=tmp_path, workers=1)


def test_the_workspace_by_default_is_refused_in_the_dataset_with_a_command_that_works(root: Path) -> None:
    command = [sys.executable, "-m", "histods", "audit", ".", "-q"]
    environment = {"PYTHONPATH": str(Path.cwd()), "PATH": ""}
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    advice = result.stderr.rpartition("run 'histods ")[2].rstrip("'.\n")
    advised = subprocess.run(
        [*command[:3], *advice.split(), "-q"], cwd=root, env=environment, capture_output=True, check=False
    )
    assert (advised.returncode, advised.stderr) == (0, b"")
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
            HistodsError,
            match=rf"histods-out is inside the dataset {root}, .*; run 'histods audit {root} -w {root}-histods'",
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


FOLDERS: dict[str, Callable[[Path, Path], object]] = {
    "remap": lambda out, _: remap(workspace=out),
    "charts": lambda out, _: plot(workspace=out),
    "shards": lambda out, _: shard(workspace=out, workers=1),
    "fixes": lambda out, _: fix("constant_mask", to=out.parent / "moved", workspace=out),
    "latents": lambda out, _: split(workspace=out, test=0.5),
    "runs": lambda out, root: audit(root, workspace=out, workers=1),
}


@pytest.mark.parametrize("target", ["data", "data/part_00001", "."])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_the_workspace_is_no_way_into_the_dataset(
    tmp_path: Path, root: Path, name: str, target: str
) -> None:
    audit(root, workspace=tmp_path / "o", workers=1)
    (tmp_path / "o" / name).symlink_to(tmp_path / target)
    before = tree(tmp_path)
    with pytest.raises(
        HistodsError,
        match=rf"/o/{name} (is|is inside|holds) the dataset {root}, and a workspace must be apart from it",
    ):
        FOLDERS[name](tmp_path / "o", root)
    assert tree(tmp_path) == before


def test_folders_of_a_workspace_may_be_links_to_another_disk(tmp_path: Path, root: Path) -> None:
    audit(root, workspace=tmp_path / "o", workers=1)
    for name, step in FOLDERS.items():
        (tmp_path / "disk" / name).mkdir(parents=True)
        (tmp_path / "o" / name).symlink_to(tmp_path / "disk" / name)
        step(tmp_path / "o", root)


@pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
@pytest.mark.parametrize("name", ["audit.journal", "fixes/.lock"])
def test_a_file_that_is_written_in_place_is_no_other_file(
    tmp_path: Path, root: Path, name: str, make: str
) -> None:
    audit(root, workspace=tmp_path / "o", workers=1)
    image = root / "part_00000" / "a.jpg"
    before = image.read_bytes()
    (tmp_path / "o" / "fixes").mkdir()
    getattr(tmp_path / "o" / name, make)(image)
    with pytest.raises(
        HistodsError, match=rf"/o/{name} is a .*, not a file that only histods writes; remove it\."
    ):
        if name == "audit.journal":
            audit(root, workspace=tmp_path / "o", workers=1, fresh=True)
        else:
            fix("constant_mask", to=tmp_path / "moved", workspace=tmp_path / "o", apply=True)
    assert image.read_bytes() == before


READERS: dict[str, Callable[[Path, Path], object]] = {
    "audit.journal": lambda out, root: audit(root, workspace=out, workers=1, hash=True),
    "measurements.parquet": lambda out, root: audit(root, workspace=out, workers=1, hash=True),
    "audit.json": lambda out, _: remap(workspace=out),
    "manifest.parquet": lambda out, _: split(workspace=out),
    "findings.parquet": lambda out, _: fix("constant_mask", to=out.parent / "moved", workspace=out),
    "split.parquet": lambda out, _: split(workspace=out, keep=True),
    "remap/labels.json": lambda out, _: read_systems(Workspace(out)),
    "remap/labels.parquet": lambda out, _: read_systems(Workspace(out)),
    "fixes/zero_mask-1.jsonl": lambda out, _: fix(undo=out / "fixes" / "zero_mask-1.jsonl"),
    "fixes/zero_mask-2.jsonl": lambda out, _: fix("constant_mask", to=out.parent / "moved", workspace=out),
    "shards/shards.json": lambda out, _: shard(workspace=out, verify=True, workers=1),
    "shards/index.parquet": lambda out, _: shard(workspace=out, verify=True, workers=1),
    "shards/unfinished.json": lambda out, _: shard(workspace=out, workers=1),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset and its workspace, in which every step has written."""
    folder = tmp_path_factory.mktemp("done")
    for name in ("a", "b"):
        write_pair(folder / "data", name)
    audit(folder / "data", workspace=folder / "o", workers=1)
    remap(workspace=folder / "o")
    split(workspace=folder / "o", test=0.5)
    shard(workspace=folder / "o", workers=1)
    return folder


@pytest.mark.parametrize("name", READERS)
def test_no_step_waits_for_a_pipe_in_the_place_of_a_file(done: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "o"
    shutil.copytree(done / "o", out)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).unlink(missing_ok=True)
    os.mkfifo(out / name)
    with suppress(HistodsError):  # some files are made again
        READERS[name](out, done / "data")


def test_a_planted_link_with_a_temporary_name_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"tissue")
    (tmp_path / f".file.{atomic._machine()}-{os.getpid()}.part").symlink_to(tmp_path / "image")
    write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "image").read_bytes() == b"tissue"
    assert not (tmp_path / "file").is_symlink()


def test_a_second_mount_of_the_dataset_is_the_dataset(tmp_path: Path, root: Path) -> None:
    audit(root, workspace=tmp_path / "o", workers=1)
    (tmp_path / "mount").mkdir()
    command = ["mount", "--bind", str(root), str(tmp_path / "mount")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    before = tree(root)
    try:
        with pytest.raises(HistodsError, match="mount/new is inside the dataset"):
            audit(root, workspace=tmp_path / "mount" / "new", workers=1)
        with pytest.raises(HistodsError, match="outside the dataset"):
            remap(workspace=tmp_path / "o", write_masks=tmp_path / "mount" / "masks")
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "mount")], check=True)
    assert tree(root) == before
