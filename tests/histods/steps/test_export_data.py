"""export-data: what is exported and what is not, resuming, refusals, and what the command says."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from histods import HistodsError, audit, export_data, remap, split
from histods.engines import Engine
from histods.errors import StaleFileError
from histods.exports import writer
from histods.io.atomic import write_bytes
from histods.steps import export_data as step
from tests.commands import histods
from tests.conftest import LOOKUP, Site, make_site
from tests.histods.exports.conftest import read_rows
from tests.in_process import Here

KILL = """
import os, signal, sys
from histods.engines import Engine
from histods.exports import writer
from histods.steps import export_data as step
from tests.in_process import Here

calls = 0
write = writer.write_bytes

def kill(path, content):
    global calls
    calls += 1
    if calls == int(sys.argv[4]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.{os.getpid()}.part").write_bytes(content[:9])
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, content)

writer.write_bytes = kill
step.engine_for = lambda *_: Engine(Here())
step.export_data(to=sys.argv[2], format=sys.argv[3], workspace=sys.argv[1])
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A dataset without a split, which no test changes."""
    site = make_site(tmp_path_factory.mktemp("export"), pairs=24)
    remap(workspace=site.workspace, map=site.map)
    return site


@pytest.fixture
def own(tmp_path: Path) -> Site:
    """A dataset for one test."""
    site = make_site(tmp_path, pairs=16)
    remap(workspace=site.workspace, map=site.map)
    return site


def tree(folder: Path) -> dict[str, str]:
    """Digest of each file; `export.json`, which has the folder in its command, is left out."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "export.json"
    }


def labelled(site: Site) -> set[str]:
    return {key for key, labels in site.labels.items() if labels is not None and LOOKUP[labels].any()}


def folder_for(name: str, parent: Path) -> Path:
    return parent / f"Dataset001_{name}"


def test_samples_that_say_nothing_are_left_out_and_counted(site: Site, tmp_path: Path) -> None:
    result = export_data(to=tmp_path / "x", format="semantic", workspace=site.workspace, workers=1)
    assert set(read_rows(tmp_path / "x")) == labelled(site)
    assert result.unlabelled == len(site.labels) - len(labelled(site)) > 0
    assert result.splits == {"train": len(labelled(site))}
    assert sum(row.pixels for row in result.classes) == 48 * 48 * len(labelled(site))
    for row in result.classes:
        masks = [LOOKUP[labels] for key in labelled(site) if (labels := site.labels[key]) is not None]
        assert row.pixels == sum(int((mask == row.index).sum()) for mask in masks)
        assert row.images == sum(bool((mask == row.index).any()) for mask in masks)


@pytest.mark.parametrize(("unknown", "value"), [("ignore", 255), ("background", 0)])
def test_all_samples_are_kept_where_that_is_asked_for(
    unknown: str, value: int, site: Site, tmp_path: Path
) -> None:
    result = export_data(
        to=tmp_path / "x",
        format="semantic",
        unknown=unknown,  # type: ignore[arg-type]
        keep_unlabelled=True,
        workspace=site.workspace,
        workers=1,
    )
    rows = read_rows(tmp_path / "x")
    assert set(rows) == set(site.labels)
    assert result.unlabelled == 0
    for key, labels in site.labels.items():
        mask = np.asarray(Image.open(tmp_path / "x" / rows[key]["mask"]))
        classes = np.zeros((48, 48), np.uint8) if labels is None else LOOKUP[labels]
        assert np.array_equal(mask, np.array([value, 0, 1] if value else [0, 1, 2], np.uint8)[classes])
    assert sum(row.pixels for row in result.classes) == 48 * 48 * len(site.labels)


def test_as_background_zero_masks_are_examples_and_images_without_masks_are_not(
    site: Site, tmp_path: Path
) -> None:
    result = export_data(
        to=tmp_path / "x", format="semantic", unknown="background", workspace=site.workspace, workers=1
    )
    assert set(read_rows(tmp_path / "x")) == {key for key, labels in site.labels.items() if labels is not None}
    assert result.unlabelled == sum(labels is None for labels in site.labels.values())


@pytest.mark.parametrize("name", ["nnunet", "coco"])  # one that writes masks, and one that keeps notes
def test_a_killed_export_resumes_and_ends_with_the_same_bytes(name: str, site: Site, tmp_path: Path) -> None:
    whole = folder_for(name, tmp_path / "whole")
    export_data(to=whole, format=name, workspace=site.workspace, workers=2)
    torn = folder_for(name, tmp_path / "torn")
    arguments = [str(site.workspace), str(torn), name, "9"]
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", KILL, *arguments], env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert json.loads((torn / "export.json").read_text())["outcome"] is None
    assert not (torn / "samples.csv").exists()
    result = export_data(to=torn, format=name, workspace=site.workspace, workers=1)
    assert result.present > 0
    assert result.written > 0
    assert result.present + result.written == len(labelled(site))
    assert tree(torn) == tree(whole)


def test_a_finished_export_is_left_alone_and_a_damaged_one_made_whole(site: Site, tmp_path: Path) -> None:
    first = export_data(to=tmp_path / "x", format="coco", workspace=site.workspace, workers=1)
    before = tree(tmp_path / "x")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "x").rglob("*")}
    again = export_data(to=tmp_path / "x", format="coco", workspace=site.workspace, workers=1)
    assert (again.written, again.present) == (0, first.written)
    assert (again.splits, again.classes, again.remarks, again.command) == (
        first.splits,
        first.classes,
        first.remarks,
        first.command,
    )
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "x").rglob("*")} == times
    for victim in (next((tmp_path / "x" / "images" / "train").iterdir()), tmp_path / "x" / "samples.csv"):
        victim.unlink()
        export_data(to=tmp_path / "x", format="coco", workspace=site.workspace, workers=1)
        assert tree(tmp_path / "x") == before


def test_what_a_kill_left_of_a_part_is_written_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "x"
    export_data(to=to, format="voc", workspace=site.workspace, workers=1)
    whole = tree(to)
    monkeypatch.setattr("histods.steps.export_data.remove_parts", lambda _: None)
    shutil.rmtree(to)
    export_data(to=to, format="voc", workspace=site.workspace, workers=1)
    monkeypatch.undo()
    document = json.loads((to / "export.json").read_text())
    (to / "export.json").write_text(json.dumps({**document, "outcome": None}))
    parts = sorted((to / "parts").iterdir())
    parts[0].write_bytes(b"torn")
    parts[1].write_bytes(parts[2].read_bytes())
    next((to / "JPEGImages").iterdir()).write_bytes(b"short")
    result = export_data(to=to, format="voc", workspace=site.workspace, workers=1)
    assert 2 <= result.written <= 3
    assert tree(to) == whole


def test_a_full_disk_is_one_line_and_the_same_command_continues(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "engine_for", lambda *_: Engine(Here()))
    calls = 0

    def fill(path: Path, content: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls > 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_bytes(path, content)

    monkeypatch.setattr(writer, "write_bytes", fill)
    with pytest.raises(
        HistodsError, match=r"failed \(.*No space left on device\); fix that and run the same command"
    ):
        export_data(to=tmp_path / "x", format="semantic", workspace=site.workspace)
    monkeypatch.setattr(writer, "write_bytes", write_bytes)
    result = export_data(to=tmp_path / "x", format="semantic", workspace=site.workspace)
    assert result.present > 0
    assert result.present + result.written == len(labelled(site))


def test_a_folder_of_others_is_never_touched(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(HistodsError, match=r"mine already holds letter.txt; choose a new or empty folder"):
        export_data(to=tmp_path / "mine", format="semantic", workspace=site.workspace)
    with pytest.raises(HistodsError, match="letter.txt is a file; --to must name a folder"):
        export_data(to=tmp_path / "mine" / "letter.txt", format="semantic", workspace=site.workspace)
    with pytest.raises(HistodsError, match="is not outside the dataset"):
        export_data(to=site.root / "x", format="semantic", workspace=site.workspace)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_another_export_of_the_same_folder_is_refused(site: Site, tmp_path: Path) -> None:
    export_data(to=tmp_path / "x", format="semantic", workspace=site.workspace, workers=1)
    before = tree(tmp_path / "x")
    for options in ({"format": "coco"}, {"unknown": "background"}, {"keep_unlabelled": True}):
        with pytest.raises(
            HistodsError, match="x holds another export: that of 'histods export-data --format sem"
        ):
            export_data(to=tmp_path / "x", workspace=site.workspace, **{"format": "semantic", **options})  # type: ignore[arg-type]
    assert tree(tmp_path / "x") == before
    (tmp_path / "x" / "export.json").write_text("{}")
    with pytest.raises(HistodsError, match="export.json is not what 'histods export-data' wrote"):
        export_data(to=tmp_path / "x", format="semantic", workspace=site.workspace)


def test_a_stale_split_manifest_or_file_is_refused_with_the_command_that_refreshes_it(
    own: Site, tmp_path: Path
) -> None:
    space = own.workspace
    split(workspace=space, test=0.3)
    image = own.images[min(labelled(own))]
    content, status = image.read_bytes(), image.stat()
    os.utime(image, ns=(0, 0))
    with pytest.raises(StaleFileError, match=r"is not as the audit read it.*run 'histods audit"):
        export_data(to=tmp_path / "x", format="semantic", workspace=space, workers=1)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    export_data(to=tmp_path / "x", format="semantic", workspace=space, workers=1)
    assert content == (tmp_path / "x" / read_rows(tmp_path / "x")[min(labelled(own))]["image"]).read_bytes()
    next(path for path in own.root.rglob("*_mask.png")).unlink()
    audit(own.root, workspace=space, group_regex=r"^(slide\.\d)", allow_unpaired=True, workers=1)
    with pytest.raises(StaleFileError, match=r"was made from an earlier audit; run 'histods split --test 0.3"):
        export_data(to=tmp_path / "y", format="semantic", workspace=space)
    with (space / "manifest.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(StaleFileError, match="has changed since the audit wrote it"):
        export_data(to=tmp_path / "y", format="semantic", workspace=space)


def test_a_mask_whose_pixels_changed_unseen_is_refused(own: Site, tmp_path: Path) -> None:
    (key, *_) = (key for key in sorted(labelled(own)) if (own.root / f"{key}_mask.tif").is_file())
    path, labels = own.root / f"{key}_mask.tif", own.labels[key]
    assert labels is not None
    status, content = path.stat(), path.read_bytes()
    pixels = labels.astype(np.uint8).tobytes()
    path.write_bytes(content.replace(pixels, bytes([labels.max()]) + pixels[1:]))
    assert path.read_bytes() != content
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(StaleFileError, match=r"does not have the pixels that were audited .*changed.* --fresh'"):
        export_data(to=tmp_path / "x", format="semantic", workspace=own.workspace, workers=1)


def damage(path: Path) -> None:
    """Lose pixels of a PNG whose structure and checksums stay sound."""
    content = bytearray(path.read_bytes())
    place = content.index(b"IDAT")
    length = int.from_bytes(content[place - 4 : place])
    content[place + length // 2 : place + length // 2 + 40] = bytes(40)
    content[place + 4 + length : place + 8 + length] = zlib.crc32(content[place : place + 4 + length]).to_bytes(4)
    path.write_bytes(content)


def test_excluded_samples_are_not_exported_and_images_that_cannot_be_decoded_are_named(
    own: Site, tmp_path: Path
) -> None:
    keys = sorted(key for key in labelled(own) if own.images[key].suffix == ".png")
    broken = own.images[keys[0]]
    steps = np.random.default_rng(0).integers(0, 9, (48, 48, 3), dtype=np.uint8)  # so few that they are compressed
    Image.fromarray(steps).save(broken)
    damage(broken)
    orphan = own.root / "slide.1" / "alone_mask.png"
    Image.fromarray(np.ones((48, 48), np.uint8)).save(orphan)
    audit(own.root, workspace=own.workspace, group_regex=r"^(slide\.\d)", allow_unpaired=True, workers=1)
    folder = tmp_path / "Dataset001_x"
    result = export_data(to=folder, format="nnunet", workspace=own.workspace, workers=1)
    assert result.excluded == 1
    assert [path for path, _ in result.unreadable] == [broken.relative_to(own.root).as_posix()]
    assert set(read_rows(folder)) == labelled(own) - {keys[0]}
    assert sum(result.splits.values()) == len(labelled(own)) - 1
    assert len(json.loads((folder / "dataset.json").read_text())["dataset"]) == len(labelled(own)) - 1
    again = export_data(to=folder, format="nnunet", workspace=own.workspace, workers=1)
    assert again.unreadable == result.unreadable
    copied = export_data(to=tmp_path / "x", format="semantic", workspace=own.workspace, workers=1)
    assert not copied.unreadable  # not decoded


def test_keys_of_hostile_names_are_in_the_table(tmp_path: Path) -> None:
    root = tmp_path / "data"
    keys = [
        "a/b",
        "a_b",
        "A_B",
        "-rf",
        "$(id)",
        'quo"te,comma',
        "日本/ä",
        "new\nline",
        "carriage\rreturn",
        "'; rm -rf",
        "x" * 200,
        "a.b.c",
    ]
    for number, key in enumerate(keys):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / f"{key}.png")
        Image.fromarray(np.full((8, 8), 1 + number % 3, np.uint8)).save(root / f"{key}_mask.png")
    (tmp_path / "free").mkdir()
    Image.new("RGB", (8, 8), (99, 0, 0)).save(tmp_path / "free" / "w.png")
    audit(root, workspace=tmp_path / "w", unconditional=tmp_path / "free", workers=1)
    result = export_data(
        to=tmp_path / "x", format="voc", keep_unlabelled=True, workspace=tmp_path / "w", workers=1
    )
    rows = read_rows(tmp_path / "x")
    assert set(rows) == {*keys, "../free/w"}
    assert result.written == len(keys) + 1
    for number, key in enumerate([*keys, "../free/w"]):
        with Image.open(tmp_path / "x" / rows[key]["image"]) as image:
            assert image.getpixel((0, 0)) == (99 if key.startswith("..") else number, 0, 0)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of masks of 0 and 1, and of one with label 300 where that is asked for."""
    folder = tmp_path_factory.mktemp("binary")
    (folder / "data").mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / "data" / f"{number}.png")
        mask = np.zeros((8, 8), np.uint8)
        mask[number:] = 1
        Image.fromarray(mask).save(folder / "data" / f"{number}_mask.png")
    audit(folder / "data", workspace=folder / "w", workers=1)
    return folder / "w"


def test_the_command_says_that_nothing_is_left_to_tell_apart(binary: Path, tmp_path: Path) -> None:
    done = histods("export-data", "--format", "semantic", "--to", tmp_path / "x", "-w", binary)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "Class 0 (label 0) is ignored: its pixels have the value 255." in text
    assert "warning: label 1 is the only class that is not ignored" in text
    assert "There is no split yet, so that all samples are in train." in text
    assert f"histods split --test 0.1 --val 0.1 -w {binary}" in text.replace("\\ ", "")
    done = histods(
        *("export-data", "--format", "semantic", "--unknown", "background", "--to", tmp_path / "y"),
        *("-w", binary, "--json"),
    )
    document = json.loads(done.stdout)
    assert [row["value"] for row in document["classes"]] == [0, 1]
    assert document["ignore"] is None
    assert document["splits"] == {"train": 4}
    assert "Next:" in done.stderr


def test_numbers_between_labels_have_no_row_but_are_counted(tmp_path: Path) -> None:
    """One mask of 0, 1 and 200 has 198 classes without a pixel."""
    data = tmp_path / "data"
    data.mkdir()
    Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(data / "a.png")
    mask = np.zeros((32, 32), np.uint8)
    mask[8:] = 1
    mask[20:] = 200
    Image.fromarray(mask).save(data / "a_mask.png")
    audit(data, workspace=tmp_path / "w", workers=1)
    call = ("export-data", "--format", "semantic", "-w", tmp_path / "w", "--to")
    shown = histods(*call, tmp_path / "x").stdout
    assert [line.split()[0] for line in shown.splitlines()[2:5]] == ["0", "1", "200"]
    assert "198 classes without a pixel are not in this table; --json lists them." in shown
    assert len(json.loads(histods(*call, tmp_path / "x", "--json").stdout)["classes"]) == 201


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--format", "nothing"], "There is no format 'nothing'; give --format nnunet, semantic, voc or coco."),
        (["--format", "nnunet"], "nnU-Net reads folders that are called like Dataset101_skin, not "),
        (["--format", "voc", "--map", "nowhere.yml"], "nowhere.yml"),
        (["--format", "voc", "--workers", "0"], "--workers 0 is below 1"),
    ],
)
def test_a_wrong_call_is_one_line(options: list[str], line: str, binary: Path, tmp_path: Path) -> None:
    done = histods("export-data", *options, "--to", tmp_path / "x", "-w", binary)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x" / "export.json").exists()


def test_labels_that_do_not_fit_and_datasets_without_classes_are_one_line(site: Site, tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match=r"Label \d+ is above 255, so the labels cannot stay as they are"):
        export_data(to=tmp_path / "x", format="semantic", map="labels", workspace=site.workspace)
    (tmp_path / "none.yml").write_text("name: none\nclasses: [Unknown, A]\nmap: {A: [700]}\nunmapped: Unknown\n")
    with pytest.raises(HistodsError, match=r"None of the 24 samples has a pixel of a class other than class 0"):
        export_data(to=tmp_path / "x", format="semantic", map=tmp_path / "none.yml", workspace=site.workspace)
    with pytest.raises(HistodsError, match="--unknown cannot be 'maybe'"):
        export_data(to=tmp_path / "x", format="voc", unknown="maybe", workspace=site.workspace)  # type: ignore[arg-type]


def test_samples_of_which_none_is_for_training_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    rows = ["image,mask,group,split"]
    for number in range(2):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / f"p{number}.png")
        Image.fromarray(np.full((8, 8), 1, np.uint8)).save(root / f"q{number}.png")
        rows.append(f"p{number}.png,q{number}.png,g{number},{('other', 'test')[number]}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    audit(root, workspace=tmp_path / "w", pairs=tmp_path / "pairs.csv", workers=1)
    split(workspace=tmp_path / "w", test=0.5)
    folder = tmp_path / "Dataset001_x"
    with pytest.raises(HistodsError, match="No sample to export is in train, val or a fold, but in other, test"):
        export_data(to=folder, format="nnunet", workspace=tmp_path / "w")
    assert not folder.exists()
    table = pq.read_table(tmp_path / "w" / "split.parquet")
    pq.write_table(table.slice(1), tmp_path / "w" / "split.parquet")
    with pytest.raises(StaleFileError, match=r"split.parquet does not have each sample once; run 'histods split"):
        export_data(to=tmp_path / "x", format="semantic", workspace=tmp_path / "w")
