"""Files that histods wrote into a dataset are known by their names; all others there are those of the user."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.dataset.own_files import OwnFolder, own_folder, stems_of
from histods.dataset.scan import scan


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def found(folder: Path) -> OwnFolder | None:
    return own_folder(str(folder), "", list(os.scandir(folder)))


MARK = '{"map_digest": "1", "manifest_digest": "2"}'


def test_files_that_histods_wrote_are_passed_over_and_their_folders_named(tmp_path: Path) -> None:
    fill(tmp_path, "x.png", "other/audit.json", "other/manifest.parquet", "other/charts/labels-percent.png")
    fill(tmp_path, "other/runs/one/config.yaml", "other/runs/one/samples/step-00000100.png")
    fill(tmp_path, "other/remap/drsk.json", "other/fixes/zero_mask-1.jsonl", "other/split.parquet")
    fill(tmp_path, "shards/shards.json", "shards/index.parquet", "shards/train-00000.tar", "mine/audit.json")
    fill(tmp_path, "latents/latents.json", "latents/index.parquet", "latents/all-00000.safetensors")
    fill(tmp_path, "overview/samples.json", "overview/contact_sheet.png", "overview/pairs.csv", "masks/x.png")
    (tmp_path / "masks" / "remap.json").write_text(MARK)
    listing = scan(tmp_path)
    assert sorted(listing.paths) == ["mine/audit.json", "x.png"]
    assert listing.own == ["latents", "masks", "other", "overview", "shards"]
    assert sorted(scan(tmp_path / "masks").paths) == ["remap.json", "x.png"], "what was asked for is listed"


@pytest.mark.parametrize(
    "path",
    [
        "other/a.jpg",
        "other/a_mask.png",
        "other/deep/er/a.tif",
        "other/charts/photo.png",
        "other/charts/deep/labels-percent.png",
        "other/runs/one/samples/a.jpg",
        "other/runs/labels-percent.png",
        "other/shards/a.jpg",
        "other/shards/parts/deep/a.jpg",
        "shards/a.png",
        "overview/a.png",
        "overview/deep/contact_sheet.png",
        "masks/a.jpg",
        "masks/other.png",
    ],
)
def test_whatever_else_lies_among_files_of_histods_is_listed(tmp_path: Path, path: str) -> None:
    fill(tmp_path, "x.png", "other/audit.json", "other/manifest.parquet", "other/charts/labels-percent.png")
    fill(tmp_path, "other/shards/shards.json", "other/shards/index.parquet", "masks/x.png")
    fill(tmp_path, "shards/shards.json", "shards/index.parquet", "overview/samples.json")
    fill(tmp_path, "overview/contact_sheet.png", path)
    (tmp_path / "masks" / "remap.json").write_text(MARK)
    assert sorted(scan(tmp_path).paths) == sorted(["x.png", path])


def test_remapped_masks_beside_which_images_were_put_are_the_masks_of_a_dataset(tmp_path: Path) -> None:
    fill(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png", "masks/b.png")
    (tmp_path / "masks" / "remap.json").write_text(MARK)
    listing = scan(tmp_path)
    assert sorted(listing.paths) == [
        "images/a.jpg",
        "images/b.jpg",
        "masks/a.png",
        "masks/b.png",
        "masks/remap.json",
    ]
    assert listing.own == []


@pytest.mark.parametrize("content", ["", "[]", '{"map_digest": "1"}', "\x00\xff", "[" * 9999])
def test_a_file_that_happens_to_be_called_remap_json_is_no_mark(tmp_path: Path, content: str) -> None:
    fill(tmp_path, "x.png", "masks/x.png")
    (tmp_path / "masks" / "remap.json").write_bytes(content.encode("latin-1"))
    assert "masks/x.png" in scan(tmp_path).paths


@pytest.mark.parametrize(
    ("marks", "own", "mine"),
    [
        (("audit.json", "manifest.parquet"), "runs/a/checkpoints/deep/x.png", "runs/a/x.png"),
        (("shards.json", "index.parquet"), "train-00000.tar", "train/00000.tar"),
        (("latents.json", "index.parquet"), "autoencoder/config.json", "autoencoder/deep/config.json"),
        (("samples.json", "contact_sheet.png"), "pairs.csv", "0001.png"),
    ],
)
def test_a_folder_is_known_only_by_all_of_its_marks(
    tmp_path: Path, marks: tuple[str, ...], own: str, mine: str
) -> None:
    for mark in marks:
        assert found(tmp_path) is None
        (tmp_path / mark).touch()
    folder = found(tmp_path)
    assert folder is not None
    taken = [path for path in (*marks, own, mine) if folder.take(path)]
    assert taken == [*marks, own]
    assert folder.passed_over == len(taken)
    assert folder.settle(["x"]) == []


NAMES = st.sampled_from(["a", "b", "deep/a", "a.v1", "日本"])


@settings(max_examples=50, deadline=None)
@given(st.sets(NAMES, min_size=1), st.sets(NAMES))
def test_a_remapped_mask_is_a_copy_if_its_source_is_in_the_dataset(copies: set[str], sources: set[str]) -> None:
    folder = OwnFolder("out/", None)
    paths = [f"out/{name}.png" for name in copies]
    assert all(folder.take(path) for path in [*paths, "out/remap.json"])
    assert not folder.take("out/a.jpg")
    kept = set(folder.settle(sources))
    if copies & sources:
        assert kept == {f"out/{name}.png" for name in copies - sources}
        assert folder.passed_over == len(copies & sources)
    else:  # the folder is a dataset of its own
        assert kept == {*paths, "out/remap.json"}
        assert folder.passed_over == 0


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "large"])
def test_a_mark_that_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "remap.json"
    if kind == "pipe":
        os.mkfifo(mark)
    elif kind == "folder":
        mark.mkdir()
    elif kind == "large":
        mark.write_text('{"map_digest": "' + "1" * 10_000 + '", "manifest_digest": "2"}')
    else:
        mark.symlink_to(tmp_path / "nowhere")
    assert found(tmp_path) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab./é", max_size=8), max_size=5))
def test_stems_are_paths_without_what_follows_the_last_dot_of_the_name(paths: list[str]) -> None:
    assert list(stems_of(paths)) == [re.sub(r"\.[^./]*\Z", "", path) for path in paths]
