"""The audit finds exactly what is there, reads every file once, and always ends with the same bytes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from histods import HistodsError, Manifest, audit
from histods.io.workspace import Workspace
from histods.synthetic import make_demo
from tests.datasets.benchmark import drsk_proportions, make_benchmark
from tests.datasets.conventions import CONVENTIONS, Convention, make_convention
from tests.histods.test_interrupts import ended, start
from tests.watchdog import eventually

if TYPE_CHECKING:
    from histods.measurement.audit_result import AuditResult
    from tests.conftest import Site

ARTEFACTS = ("manifest.parquet", "findings.parquet", "measurements.parquet")


def summary(workspace: Path) -> dict[str, Any]:
    """audit.json without what may differ between two runs."""
    document: dict[str, Any] = json.loads((workspace / "audit.json").read_text())
    document.pop("timing")
    return document


def assert_same_files(one: Path, other: Path) -> None:
    for name in ARTEFACTS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert summary(one) == summary(other)


def found(result: AuditResult) -> set[tuple[str, str]]:
    return {(finding.code, finding.path) for finding in result.iter_findings()}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("benchmark") / "data"
    orphans, zero_masks = drsk_proportions(600)
    make_benchmark(root, pairs=600, orphans=orphans, zero_masks=zero_masks, size=64, workers=1)
    return root


@pytest.mark.parametrize("layout", ["suffix", "folders"])
def test_planted_defects_are_found_all_of_them_and_nothing_else(tmp_path: Path, layout: Any) -> None:
    planted = make_demo(tmp_path / "data", pairs=120, size=96, layout=layout, seed=3)
    result = audit(
        planted.root,
        workspace=tmp_path / "out",
        labels=planted.labels_file,
        hash=True,
        group_regex=planted.group_regex,
        workers=2,
    )
    truth = {(fault.code, fault.path) for fault in planted.faults}
    assert found(result) == truth
    assert result.layout.kind == layout
    rows = result.manifest.to_polars()
    errors = {finding.key for finding in result.iter_findings() if finding.severity == "error"}
    assert errors <= set(rows.filter(role="excluded")["key"])
    assert rows["key"].to_list() == sorted(rows["key"])
    sizes = rows.filter(pl.col("labels").is_not_null() & pl.col("image_path").is_null().not_())
    assert (sizes["pixels"].list.len() == sizes["labels"].list.len()).all()


def test_counts_are_exact_and_bytes_equal_for_any_number_of_workers(benchmark: Path, tmp_path: Path) -> None:
    for workers in (1, 2, 4):
        audit(benchmark, workspace=tmp_path / str(workers), workers=workers)
    orphans, zero_masks = drsk_proportions(600)
    counts = summary(tmp_path / "1")["counts"]
    assert counts == {
        "images": 600,
        "masks": 600 + orphans,
        "pairs": 600,
        "orphan_masks": orphans,
        "images_without_mask": 0,
        "zero_masks": zero_masks,
        "meaningful_masks": 600 - zero_masks,
        "conditional": 600 - zero_masks,
        "unconditional": zero_masks,
        "excluded": orphans,
    }
    assert_same_files(tmp_path / "1", tmp_path / "2")
    assert_same_files(tmp_path / "1", tmp_path / "4")


def test_labels_and_pixels_equal_what_numpy_and_pillow_give(benchmark: Path, tmp_path: Path) -> None:
    result = audit(benchmark, workspace=tmp_path)
    for row in result.manifest.to_polars().iter_rows(named=True):
        labels, pixels = np.unique(np.asarray(Image.open(benchmark / row["mask_path"])), return_counts=True)
        assert (row["labels"], row["pixels"]) == (labels.tolist(), pixels.tolist())
        with Image.open(benchmark / (row["image_path"] or row["mask_path"])) as image:
            assert (row["width"], row["height"]) == image.size
    in_use = result.counts.masks - result.counts.orphan_masks
    assert sum(label.pixels for label in result.labels) == in_use * 64 * 64


def test_a_second_audit_reads_nothing_and_a_touched_file_is_read_again(benchmark: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(benchmark, root)
    first = audit(root, workspace=tmp_path / "out")
    again = audit(root, workspace=tmp_path / "out")
    assert (first.files_reused, again.files_read, again.files_reused) == (0, 0, first.files_read)
    for path in sorted(root.iterdir())[:10]:
        os.utime(path, ns=(1, time.time_ns()))
    assert audit(root, workspace=tmp_path / "out").files_read == 10
    assert audit(root, workspace=tmp_path / "out", fresh=True).files_read == first.files_read
    assert audit(root, workspace=tmp_path / "out", hash=True).files_read == first.counts.images
    audit(root, workspace=tmp_path / "other", hash=True)
    assert_same_files(tmp_path / "out", tmp_path / "other")


def test_removed_and_added_files_leave_no_trace_of_the_past(benchmark: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(benchmark, root)
    audit(root, workspace=tmp_path / "out")
    for path in sorted(root.glob("*.jpg"))[:5]:
        path.unlink()
    (root / "new.jpg").write_bytes(min(root.glob("*.jpg")).read_bytes())
    result = audit(root, workspace=tmp_path / "out")
    assert (result.files_read, result.counts.orphan_masks) == (1, 5 + drsk_proportions(600)[0])
    audit(root, workspace=tmp_path / "fresh")
    assert_same_files(tmp_path / "out", tmp_path / "fresh")


def test_a_killed_audit_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    make_benchmark(root, pairs=2000, orphans=2, zero_masks=1000, size=64, workers=2)
    audit(root, workspace=tmp_path / "undisturbed")
    arguments: list[object] = ["audit", root, "-w", tmp_path / "killed", "--workers", "1", "--quiet"]
    process = start(tmp_path, arguments, SLOW_NAME="patch_001990.jpg")  # which is never read to its end
    journal = tmp_path / "killed" / "audit.journal"
    eventually(lambda: journal.is_file() and journal.stat().st_size > 50_000)
    os.killpg(process.pid, signal.SIGKILL)
    assert ended(process)[0] == -signal.SIGKILL
    assert not (tmp_path / "killed" / "audit.json").exists()
    with journal.open("ab") as file:  # and the kill tore the last record
        file.write(b"\x40\x00\x00\x00\x00\x00\x00\x00half a record")
    result = audit(root, workspace=tmp_path / "killed")
    assert result.files_reused >= 500
    assert result.files_read + result.files_reused == 4_002
    assert_same_files(tmp_path / "undisturbed", tmp_path / "killed")


@pytest.mark.parametrize("name", CONVENTIONS)
def test_real_conventions_pair_fully(tmp_path: Path, name: Convention) -> None:
    """By themselves, or with the pattern that the first audit proposes."""
    truth = make_convention(tmp_path / "data", name, pairs=12)
    options: dict[str, Any] = {"pairs": truth.pairs_file, "labels": truth.labels_file}
    options |= {"workers": 1, "workspace": tmp_path / "out"}
    result = audit(truth.root, **options)
    if result.counts.pairs < 12:
        assert result.suggestion is not None
        patterns: dict[str, Any] = {
            "image_pattern": result.suggestion.image_pattern,
            "mask_pattern": result.suggestion.mask_pattern,
        }
        result = audit(truth.root, **options, **patterns)
    pairs = result.manifest.to_polars().filter(pl.col("role") == "conditional")
    assert set(pairs.select("image_path", "mask_path").iter_rows()) == set(truth.pairs)
    pictures = [name for name in truth.others if name.endswith(".png")]
    assert (result.counts.pairs, result.counts.excluded) == (12, len(pictures))
    assert set(found(result)) - {("constant_mask", mask) for _, mask in truth.pairs} == {
        ("looks_like_mask", name) for name in pictures
    }


def write_pair(root: Path, name: str, value: int = 1) -> None:
    root.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(root / f"{name}.jpg")
    Image.new("L", (8, 8), value).save(root / f"{name}_mask.png")


def test_groups_come_from_the_key(tmp_path: Path) -> None:
    for name in ("s1.tiff-a_1", "s1.tiff-a_2", "s2.tiff-b_1", "loose"):
        write_pair(tmp_path / "data", name)
    rows = audit(
        tmp_path / "data", workspace=tmp_path / "o", group_regex=r"^(.+)\.tiff", workers=1
    ).manifest.to_polars()
    assert dict(rows.select("key", "group").iter_rows()) == {
        "loose": None,
        "s1.tiff-a_1": "s1",
        "s1.tiff-a_2": "s1",
        "s2.tiff-b_1": "s2",
    }
    whole = audit(tmp_path / "data", workspace=tmp_path / "o", group_regex=r"s\d", workers=1).manifest.to_polars()
    assert whole["group"].to_list() == [None, "s1", "s1", "s2"]


def test_unconditional_folders_need_no_masks_inside_or_outside_the_root(tmp_path: Path) -> None:
    write_pair(tmp_path / "data", "a")
    for folder in (tmp_path / "data" / "free", tmp_path / "elsewhere" / "deep"):
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "image.jpg")
    result = audit(
        tmp_path / "data", workspace=tmp_path / "o", unconditional=["free", tmp_path / "elsewhere"], workers=1
    )
    assert result.findings == {"constant_mask": 1}
    assert (result.counts.unconditional, result.counts.conditional) == (2, 1)
    assert set(result.manifest.to_polars()["image_path"]) == {
        "a.jpg",
        "free/image.jpg",
        "../elsewhere/deep/image.jpg",
    }


def test_csv_rows_name_files_groups_and_what_is_not_there(tmp_path: Path) -> None:
    write_pair(tmp_path / "data", "a")
    rows = "image,mask,group\na.jpg,a_mask.png,slide1\nb.jpg,,slide2\n"
    (tmp_path / "pairs.csv").write_text(rows)
    result = audit(tmp_path / "data", workspace=tmp_path / "o", pairs=tmp_path / "pairs.csv", workers=1)
    table = result.manifest.to_polars()
    assert table.select("key", "group", "role").rows() == [
        ("a", "slide1", "conditional"),
        ("b", "slide2", "excluded"),
    ]
    assert ("unreadable_image", "b.jpg") in found(result)


def test_links_that_leave_the_root_are_named_and_excluded(tmp_path: Path) -> None:
    write_pair(tmp_path / "elsewhere", "x")
    write_pair(tmp_path / "data", "a")
    (tmp_path / "data" / "x.jpg").symlink_to(tmp_path / "elsewhere" / "x.jpg")
    (tmp_path / "data" / "x_mask.png").symlink_to(tmp_path / "elsewhere" / "x_mask.png")
    (tmp_path / "data" / "folder").symlink_to(tmp_path / "elsewhere")
    result = audit(tmp_path / "data", workspace=tmp_path / "o", workers=1)
    assert {path for code, path in found(result) if code == "outside_root"} == {"folder", "x.jpg", "x_mask.png"}
    assert dict(result.manifest.to_polars().select("key", "role").iter_rows()) == {
        "a": "conditional",
        "x": "excluded",
    }


def test_a_name_that_is_not_utf8_is_a_row_with_a_reason(tmp_path: Path) -> None:
    write_pair(tmp_path / "data", "a")
    with open(os.fsencode(tmp_path) + b"/data/caf\xe9.jpg", "wb") as file:  # noqa: PTH123 - bytes, not text
        file.write(b"x")
    result = audit(tmp_path / "data", workspace=tmp_path / "o", workers=1)
    (finding,) = [finding for finding in result.iter_findings() if finding.code == "unreadable_image"]
    assert finding.path == "caf\\xe9.jpg"
    assert "its name is not UTF-8" in finding.message


def test_hostile_names_come_back_whole(tmp_path: Path) -> None:
    names = ["-rf", "a b", "äöü 組織", "x\ny", "[bold]red[\\bold]", "%s{key}", "'; DROP TABLE", "a.b.c.tiff-1"]
    for name in names:
        write_pair(tmp_path / "data", name)
    result = audit(tmp_path / "data", workspace=tmp_path / "o", workers=1)
    assert result.manifest.to_polars()["key"].to_list() == sorted(names)
    assert result.counts.conditional == len(names)


def test_the_manifest_survives_a_round_trip(benchmark: Path, tmp_path: Path) -> None:
    result = audit(benchmark, workspace=tmp_path)
    read = Manifest.read(tmp_path / "manifest.parquet")
    assert read.table.equals(result.manifest.table)
    read.write(tmp_path / "copy.parquet")
    assert (tmp_path / "copy.parquet").read_bytes() == (tmp_path / "manifest.parquet").read_bytes()
    assert read.to_pandas()["key"].tolist() == read.to_polars()["key"].to_list()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"root": "nowhere"},
            "nowhere does not exist; give the folder that holds the dataset.",
        ),
        (
            {"nearest_colour": True},
            "--nearest-colour needs a --labels file that gives colours; give one.",
        ),
        (
            {"layout": "csv"},
            "--pairs FILE and --layout csv go together, but there is no --pairs; give both or neither.",
        ),
        (
            {"pairs": "pairs.csv", "image_pattern": "{key}.jpg"},
            "--image-pattern and --mask-pattern do not go together with --pairs; omit one.",
        ),
        (
            {"layout": "folders", "mask_pattern": "{key}_m.png"},
            "--image-pattern and --mask-pattern do not go together with --layout folders; omit one.",
        ),
        ({"verify": "deep"}, "--verify cannot be 'deep'; choose structure or decode."),
        (
            {"layout": "flat"},
            "There is no layout 'flat'; choose suffix, folders, pattern or csv.",
        ),
        ({"workers": 0}, "--workers 0 is below 1; omit --workers to use all cores."),
        (
            {"group_regex": "nothing(x)"},
            "--group-regex 'nothing(x)' matches none of the 1 keys, the first is 'a'; correct the expression.",
        ),
    ],
)
def test_wrong_calls_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    write_pair(tmp_path / "data", "a")
    monkeypatch.chdir(tmp_path)
    arguments: dict[str, Any] = {"root": tmp_path / "data", "workspace": tmp_path / "o", "workers": 1} | options
    with pytest.raises(HistodsError) as caught:
        audit(**arguments)
    assert str(caught.value) == message


def test_a_bad_group_expression_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    write_pair(tmp_path / "data", "a")
    with pytest.raises(HistodsError, match=r"^--group-regex '\(a' is not a regular expression \(.+\); correct"):
        audit(tmp_path / "data", workspace=tmp_path / "o", group_regex="(a", workers=1)


def test_one_unconditional_folder_may_be_given_as_text(tmp_path: Path) -> None:
    write_pair(tmp_path / "data", "a")
    (tmp_path / "free").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "free" / "image.jpg")
    counts = [
        audit(tmp_path / "data", workspace=tmp_path / "o", unconditional=folders, workers=1).counts
        for folders in (str(tmp_path / "free"), tmp_path / "free", [tmp_path / "free"])
    ]
    assert counts[0] == counts[1] == counts[2]
    assert (counts[0].images, counts[0].unconditional) == (2, 1)


def test_a_folder_that_cannot_be_listed_is_an_error_and_the_rest_is_audited(tmp_path: Path) -> None:
    write_pair(tmp_path / "data", "a")
    write_pair(tmp_path / "data", "d")  # its key is like the folder's name, and it must not be excluded for it
    here = os.open(tmp_path / "data", os.O_RDONLY)
    names = ["d", *["d" * 250] * 20]  # paths too long to be listed
    for name in names:
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        result = audit(tmp_path / "data", workspace=tmp_path / "o", workers=1)
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "data" / "d")], check=True)
    (finding,) = [finding for finding in result.iter_findings() if finding.severity == "error"]
    assert (finding.code, finding.path.startswith("d/ddd")) == ("unreadable_image", True)
    assert finding.message == (
        "the folder cannot be listed: File name too long; make it readable, or move it out of the dataset"
    )
    assert result.severities["error"] == 1
    assert (result.counts.conditional, result.counts.excluded) == (2, 0)
    again = audit(tmp_path / "data", workspace=tmp_path / "o", workers=1)
    assert "error" not in again.severities


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_summary_is_made_again(tmp_path: Path, damage: bytes) -> None:
    write_pair(tmp_path / "data", "a")
    audit(tmp_path / "data", workspace=tmp_path / "o", workers=1)
    audit(tmp_path / "data", workspace=tmp_path / "whole", workers=1)
    (tmp_path / "o" / "audit.json").write_bytes(damage)
    audit(tmp_path / "data", workspace=tmp_path / "o", workers=1)
    assert_same_files(tmp_path / "o", tmp_path / "whole")


def test_a_hidden_file_that_is_named_as_a_pair_is_said_to_be_passed_over(tmp_path: Path) -> None:
    write_pair(tmp_path / "data", "a")
    write_pair(tmp_path / "data" / ".store", "b")
    (tmp_path / "pairs.csv").write_text("image,mask\na.jpg,a_mask.png\n.store/b.jpg,\nc.jpg,\n")
    result = audit(tmp_path / "data", workspace=tmp_path / "o", pairs=tmp_path / "pairs.csv", workers=1)
    reasons = {finding.path: finding.message for finding in result.iter_findings() if finding.severity == "error"}
    assert reasons == {
        ".store/b.jpg": "image cannot be read: hidden files and folders (a leading dot) are skipped, "
        "although the pairs file names this one; restore it from its source",
        "c.jpg": "image cannot be read: there is no such file, although the pairs file names it; "
        "restore it from its source",
    }


def test_the_recorded_command_makes_the_same_audit_from_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data set"
    for name in ("s1_a", "s2_b"):
        write_pair(root, name, value=3)
    for folder in (root / "free", tmp_path / "more images"):
        folder.mkdir()
        Image.new("RGB", (8, 8)).save(folder / "s3_image.jpg")
    (tmp_path / "labels.yml").write_text("3: tumour\n")
    monkeypatch.chdir(tmp_path)
    audit(
        "data set",
        workspace="o",
        layout="suffix",
        labels="labels.yml",
        unconditional=["free", "more images"],
        group_regex="^([^_]+)_",
        verify="decode",
        hash=True,
        workers=1,
    )
    command = summary(Path("o"))["command"]
    assert str(tmp_path / "labels.yml") in command
    words = shlex.split(command)
    assert words[:3] == ["histods", "audit", str(root)]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    arguments = [sys.executable, "-m", *words, "-w", str(tmp_path / "again"), "--workers", "1", "--quiet"]
    subprocess.run(arguments, cwd=elsewhere, env=environment, check=True)
    for name in ARTEFACTS:
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    one, other = summary(Path("o")), summary(tmp_path / "again")
    assert one["options"] == other["options"]
    assert one["options"]["labels"] == str(tmp_path / "labels.yml")


def test_links_in_a_circle_cost_no_other_file(tmp_path: Path) -> None:
    write_pair(tmp_path / "data", "a")
    (tmp_path / "data" / "x.jpg").symlink_to("y.jpg")
    (tmp_path / "data" / "y.jpg").symlink_to("x.jpg")
    result = audit(tmp_path / "data", workspace=tmp_path / "o", workers=1)
    assert result.counts.conditional == 1
    reasons = {finding.path: finding.message for finding in result.iter_findings() if finding.severity == "error"}
    assert reasons == dict.fromkeys(
        ("x.jpg", "y.jpg"), "image cannot be read: a link that leads to itself; restore it from its source"
    )


def test_a_link_to_a_name_that_is_not_utf8_is_a_finding(tmp_path: Path) -> None:
    write_pair(tmp_path / "data", "a")
    outside = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    outside.mkdir()
    (tmp_path / "data" / "link").symlink_to(outside)
    result = audit(tmp_path / "data", workspace=tmp_path / "o", workers=1)
    (finding,) = [finding for finding in result.iter_findings() if finding.code == "outside_root"]
    assert "caf\\xe9, outside the dataset" in finding.message


def test_another_dataset_in_the_same_workspace_is_said(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(site.root, other)
    result = audit(other, workspace=site.workspace, allow_unpaired=True, workers=1)
    assert any(f"another dataset, {site.root}" in note for note in result.notes)
    again = audit(other, workspace=site.workspace, allow_unpaired=True, workers=1, fresh=True)
    assert not any("another dataset" in note for note in again.notes)


def test_options_that_the_audit_before_had_and_this_one_lacks_are_said(site: Site) -> None:
    before = audit(site.root, workspace=site.workspace, hash=True, group_regex="^(slide)", workers=1)
    result = audit(site.root, workspace=site.workspace, allow_unpaired=True, workers=1)
    (note,) = [note for note in result.notes if "The audit before" in note]
    assert "had --group-regex, --hash, this one has not" in note
    assert note.endswith(f"To repeat it: {before.command}{Workspace(site.workspace).option}")
    again = audit(site.root, workspace=site.workspace, hash=True, group_regex="^(.)", workers=1)
    assert not any("--hash" in note or "--group-regex" in note for note in again.notes)
