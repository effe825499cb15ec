"""remap: labels files and maps that changed since the audit, and drafts of maps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from histods import audit
from histods.cli.main import main
from histods.dataset.manifest import Manifest
from histods.errors import HistodsError, StaleFileError
from histods.steps.remap import remap
from tests.histods.steps.remap_sites import MAP, Mask, Site, draw, make_site, save


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def test_a_labels_file_that_changed_or_lost_its_colours_is_stale(tmp_path: Path) -> None:
    root, labels_file = tmp_path / "data", tmp_path / "labels.csv"
    save(root / "x_mask.png", draw([0, 3]))
    Image.new("RGB", (32, 24)).save(root / "x.jpg")
    content = "label,name,colour\n0,background,#000000\n3,tumour,#ff0000\n"
    labels_file.write_text(content)
    audit(root, workspace=tmp_path / "out", labels=labels_file, workers=1)
    command = f"histods audit {root} --labels {labels_file} -w {tmp_path}/out"
    labels_file.write_text(content.replace("ff", "fe"))
    with pytest.raises(StaleFileError) as refusal:
        remap(workspace=tmp_path / "out")
    assert str(refusal.value) == (
        f"The labels file {labels_file} has changed since the audit read it; run '{command}' again."
    )
    labels_file.unlink()
    with pytest.raises(StaleFileError) as refusal:
        remap(workspace=tmp_path / "out")
    assert str(refusal.value) == (
        f"The labels file {labels_file}, whose colours the audit used, is gone; "
        f"restore it, or run '{command}' with another."
    )
    labels_file.write_text(content)
    assert [row.name for row in remap(workspace=tmp_path / "out").classes] == [
        "background",
        "label 1",
        "label 2",
        "tumour",
    ]
    with (tmp_path / "out" / "manifest.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(StaleFileError) as refusal:
        remap(workspace=tmp_path / "out")
    assert str(refusal.value).endswith(f"has changed since the audit wrote it; run '{command}' again.")


def test_a_labels_file_is_found_from_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    save(root / "x_mask.png", draw([0, 3]))
    Image.new("RGB", (32, 24)).save(root / "x.jpg")
    (tmp_path / "labels.yml").write_text("0: background\n2: named, but in no mask\n3: tumour\n")
    monkeypatch.chdir(tmp_path)
    audit(root, workspace=tmp_path / "out", labels="labels.yml", workers=1)
    monkeypatch.chdir(root)
    assert [row.name for row in remap(workspace=tmp_path / "out").classes] == [
        "background",
        "label 1",
        "named, but in no mask",
        "tumour",
    ]


def test_pixels_of_unknown_colours_need_a_map_and_are_called_so(tmp_path: Path) -> None:
    root, labels_file = tmp_path / "data", tmp_path / "labels.csv"
    save(root / "rgb_mask.png", draw([0, 3, 5]))  # 5 has a colour that no label has
    Image.new("RGB", (32, 24)).save(root / "rgb.jpg")
    labels_file.write_text("label,name,colour\n0,background,#000000\n3,tumour,#ff0000\n")
    audit(root, workspace=tmp_path / "out", labels=labels_file, workers=1)
    with pytest.raises(HistodsError) as refusal:
        remap(workspace=tmp_path / "out")
    assert str(refusal.value) == (
        "Some pixels have colours that are not in the labels file, so labels cannot stay as "
        "they are; add their colours, or give a --map that has a class for label 65535."
    )
    (tmp_path / "map.yml").write_text("0: 0\n65535: 0\n3: 1\n")
    assert len(remap(workspace=tmp_path / "out", map=tmp_path / "map.yml").classes) == 2


def test_another_map_of_the_same_name_replaces_the_first_and_says_so(site: Site) -> None:
    assert remap(workspace=site.space.folder, map=site.map).warnings == ()
    files = [site.space.remap_table("three"), site.space.remap_summary("three")]
    first = [file.read_bytes() for file in files]
    assert remap(workspace=site.space.folder, map=site.map).warnings == ()
    site.map.write_text(MAP.replace("[0, 1]", "[0]").replace("[3]", "[1, 3]"))
    warning = "replaces the class system three, which was made from another map"
    assert remap(workspace=site.space.folder, map=site.map).warnings == (warning,)
    assert [file.read_bytes() for file in files] != first
    site.map.write_text(MAP)
    assert remap(workspace=site.space.folder, map=site.map).warnings == (warning,)
    assert [file.read_bytes() for file in files] == first


@pytest.mark.parametrize("name", ["x" * 251, "ä" * 125 + "x", "組" * 83])
def test_the_longest_legal_names_are_remapped(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path, {"x": Mask(path=f"{name}.png", labels=draw([0, 3, 9]))})
    site.map.write_text(MAP.replace("three", "組" * 80))
    folder = tmp_path / "masks"
    result = remap(workspace=site.space.folder, map=site.map, write_masks=folder, workers=1)
    assert (result.name, result.masks_written) == ("組" * 80, 1)
    assert sorted(path.name for path in folder.iterdir()) == sorted(["remap.json", f"{name}.png"])
    assert site.space.class_systems() == ["組" * 80]


def test_a_draft_is_a_map_that_remap_reads_once_it_is_edited(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    space, draft = str(site.space.folder), tmp_path / "my map.yml"
    monkeypatch.setattr("sys.argv", ["histods", "remap", "--draft", str(draft), "-w", space])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert f"histods remap --map '{draft}' -w {space}" in " ".join(printed.replace("\\\n", " ").split())
    assert not site.space.class_systems()
    drafted = remap(workspace=space, map=draft)
    labels = Manifest.read(site.space.manifest).table["labels"].to_pylist()
    assert drafted.name == "my-map"
    assert {3, 9, 700} < {label for (label,) in drafted.labels[1:]} <= {one for row in labels for one in row or ()}
    draft.write_text(re.sub(r".*: \[9\].*\n", "", draft.read_text()).replace("[3]", "[3, 9]"))
    assert (3, 9) in remap(workspace=space, map=draft).labels


def test_a_draft_never_takes_the_place_of_a_file(site: Site, tmp_path: Path) -> None:
    draft = tmp_path / "draft.yml"
    draft.write_text("mine")
    for path, problem in (
        (draft, f"{draft} exists already; move it away or choose another name"),
        (
            tmp_path / "draft.csv",
            "--draft writes YAML, so its path cannot be 'draft.csv': choose a name that ends in .yml",
        ),
        (site.root / "m.yml", f"{site.root / 'm.yml'} is inside the dataset, which is never written to"),
    ):
        with pytest.raises(HistodsError) as error:
            remap(workspace=site.space.folder, draft=path)
        assert str(error.value).startswith(problem)
    assert draft.read_text() == "mine"
    others: tuple[dict[str, Any], ...] = (
        {"map": site.map},
        {"write_masks": tmp_path / "masks"},
        {"dataset_csv": tmp_path / "d.csv"},
    )
    for options in others:
        with pytest.raises(HistodsError, match="--draft does not go together with --map"):
            remap(workspace=site.space.folder, draft=tmp_path / "new.yml", **options)
    assert not (tmp_path / "new.yml").exists()


def test_a_table_of_counts_can_be_drafted_too(tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text("Label ID,Class Name,Pixel Count\n0,none,70\n3,tumour,20\n9,stroma,10\n")
    draft = tmp_path / "draft.yml"
    assert [row.pixels for row in remap(counts=tmp_path / "counts.csv", draft=draft).classes] == [70, 20, 10]
    result = remap(counts=tmp_path / "counts.csv", map=draft)
    assert [row.name for row in result.classes] == ["none", "tumour", "stroma"]
