"""fix moves what it says and nothing else, and its journal brings every byte and every time back."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from histods import fix
from histods.checks import CHECKS
from histods.moves.plan import EXCLUDED, KEPT, LINKED, OUTSIDE, SHARED, UNOPENED
from histods.steps.fix import CODES, to_document
from histods.synthetic import make_demo
from tests.commands import histods
from tests.histods.steps.moved import NAMES, look, make_pairs, move, names, tree, write_pair


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_pairs(tmp_path / "data")


def test_a_dry_run_writes_nothing_and_shows_what_would_move(root: Path) -> None:
    look(root)
    before = tree(root.parent)
    result = move(root, "constant_mask", apply=False)
    assert tree(root.parent) == before
    assert (result.state, result.samples, len(result.moves), result.journal) == ("planned", 4, 8, None)
    assert result.bytes == sum(Path(entry.source).stat().st_size for entry in result.moves)
    assert [(folder, files) for folder, files, _ in result.folders()] == [(".", 6), ("deep/er", 2)]
    assert sum(size for _, _, size in result.folders()) == result.bytes
    assert {entry.target for entry in result.moves} == {
        entry.source.replace(str(root), str(root.parent / "away")) for entry in result.moves
    }


def test_moving_keeps_pairs_and_paths_and_undoing_restores_everything(root: Path) -> None:
    look(root)
    before, above = tree(root), root.parent.stat().st_mtime_ns
    result = move(root, "constant_mask")
    assert (result.state, result.files_moved) == ("moved", 8)
    assert result.journal == root.parent / "out" / "fixes" / "constant_mask-1.jsonl"
    away = root.parent / "away"
    expected = {f"{name}{end}.png" for name in NAMES[1::2] for end in ("", "_mask")}
    assert names(away) == expected
    assert {path: tree(away)[path] for path in expected} == {path: before[path] for path in expected}
    assert names(root) == {path for path, (content, _) in before.items() if content is not None} - expected
    undone = fix(undo=result.journal)
    assert (undone.state, undone.code, undone.files_moved) == ("undone", "constant_mask", 8)
    assert tree(root) == before
    assert not away.exists()
    assert root.parent.stat().st_mtime_ns == above


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_demo(folder / "data", pairs=120, size=96, seed=5)
    return folder


NOT_PLANTED = {"labels_differ"} | {check.code for check in CHECKS if check.quality}


@pytest.mark.parametrize("code", [code for code in CODES if code not in NOT_PLANTED])
def test_every_code_of_the_demo_is_moved_found_no_more_and_undone(demo: Path, tmp_path: Path, code: str) -> None:
    shutil.copytree(demo, tmp_path / "demo", symlinks=True)
    root = tmp_path / "demo" / "data"
    options: dict[str, Any] = {"labels": root.parent / "data_labels.yml", "hash": True}
    first, before = look(root, **options), tree(root)
    findings = {(entry.code, entry.path) for entry in first.iter_findings()}
    result = move(root, code)
    sources = {os.path.relpath(entry.source, root) for entry in result.moves}
    if code == "outside_root":
        assert (result.moves, result.journal) == ((), None)
        assert [stay.reason for stay in result.stays] == [LINKED]
        assert tree(root) == before
        return
    flagged = {path for kind, path in findings if kind == code}
    free = [root.parent / "away"] if code == "zero_mask" else []
    after = look(root, unconditional=free, **options)
    left = {entry.path for entry in after.iter_findings() if entry.code == code}
    if code == "duplicate_image":
        assert len(flagged - sources) == 3 == result.stays[0].samples
        assert result.stays[0].reason == KEPT
        assert not left
    else:
        assert flagged <= sources
        assert not left
    assert names(root) | sources == {path for path, (content, _) in before.items() if content is not None}
    assert result.journal is not None
    fix(undo=result.journal)
    assert tree(root) == before
    assert look(root, **options).findings == first.findings


def test_zero_masks_leave_their_images_to_be_audited_as_unconditional(root: Path) -> None:
    first = look(root)
    result = move(root, "zero_mask", to="free")
    assert names(root.parent / "free") == {f"{name}.png" for name in NAMES[::2]}
    assert names(root.parent / "free-masks") == {f"{name}_mask.png" for name in NAMES[::2]}
    after = look(root, unconditional=[root.parent / "free"])
    assert after.counts.images == first.counts.images
    assert (after.counts.conditional, after.counts.unconditional) == (4, 4)
    assert (first.counts.conditional, first.counts.unconditional) == (4, 4)
    assert (after.counts.masks, after.counts.zero_masks) == (4, 0)
    assert (result.to.name, result.masks_to.name) == ("free", "free-masks")


def test_zero_masks_of_samples_with_errors_stay(root: Path) -> None:
    Image.new("L", (9, 9), 0).save(root / "a_mask.png")
    (root / "lonely_mask.png").write_bytes((root / "-dash_mask.png").read_bytes())
    Image.new("L", (8, 8), 0).save(root / "lonely_mask.png")
    look(root)
    result = move(root, "zero_mask")
    assert result.samples == 3
    assert [(stay.reason, stay.samples, stay.first) for stay in result.stays] == [(EXCLUDED, 2, "a.png")]
    assert {"a.png", "a_mask.png", "lonely_mask.png"} <= names(root)


def test_the_best_of_equal_images_stays(root: Path) -> None:
    """The first by key; but not one that cannot be used where another can."""
    for name, value in (("q1", 1), ("q2", 1), ("r1", None), ("r2", 2), ("s1", 1), ("s2", 3)):
        write_pair(root, name, value, shade={"q": 100, "r": 101, "s": 102}[name[0]])
    (root / "s1_mask.png").write_bytes(b"broken")
    look(root, hash=True)
    result = move(root, "duplicate_image")
    assert names(root.parent / "away") == {"q2.png", "q2_mask.png", "r1.png", "s1.png", "s1_mask.png"}
    assert [(stay.reason, stay.samples, stay.first) for stay in result.stays] == [(KEPT, 3, "q1.png")]


def test_all_files_that_share_a_key_move(root: Path) -> None:
    Image.new("RGB", (8, 8)).save(root / "a.jpg")
    look(root)
    assert move(root, "key_collision").samples == 2
    assert names(root.parent / "away") == {"a.jpg", "a.png", "a_mask.png"}


def test_a_link_and_what_it_leads_to_stay_with_their_pairs(root: Path) -> None:
    write_pair(root, "other/b", 1, shade=200)
    (root / "c.png").symlink_to("other/b.png")
    (root / "c_mask.png").write_bytes((root / "other/b_mask.png").read_bytes())
    (root / "folder").symlink_to("deep")
    look(root, hash=True)
    before = tree(root)
    result = move(root, "constant_mask")
    (stay,) = result.stays
    assert (stay.reason, stay.samples) == (LINKED, 4)  # c, other/b; deep/er/x by both its names
    assert names(root.parent / "away") == {
        f"{name}{end}.png" for name in ("-dash", "dots.in.tiff-1", "%s{key}") for end in ("", "_mask")
    }
    assert fix(undo=result.journal).files_moved == 6
    assert tree(root) == before
    assert [stay.reason for stay in move(root, "duplicate_image").stays] == [LINKED]


def test_a_mask_that_another_image_uses_stays(root: Path) -> None:
    write_pair(root, "b", None, shade=9)
    (root / "b.png").write_bytes(b"broken")
    pairs = root.parent / "pairs.csv"
    pairs.write_text("image,mask\na.png,a_mask.png\nb.png,a_mask.png\ngone.png,-dash_mask.png\n")
    look(root, pairs=pairs)
    result = move(root, "unreadable_image")
    assert names(root.parent / "away") == {"b.png"}
    assert [(stay.reason, stay.samples, stay.first) for stay in result.stays] == [
        (UNOPENED, 1, "gone.png"),
        (SHARED, 1, "a_mask.png"),
    ]
    assert result.pairs_file == str(pairs.resolve())


def test_a_mask_that_only_moving_images_use_moves_once(root: Path) -> None:
    write_pair(root, "b", None, shade=9)
    (root.parent / "pairs.csv").write_text("image,mask\na.png,a_mask.png\nb.png,a_mask.png\n")
    look(root, pairs=root.parent / "pairs.csv")
    result = move(root, "zero_mask", to="free")
    assert (result.samples, len(result.moves), result.stays) == (2, 3, ())
    assert names(root.parent / "free-masks") == {"a_mask.png"}


def test_files_outside_the_root_stay_where_they_are(root: Path) -> None:
    free = root.parent / "free"
    write_pair(free, "x", None)
    (free / "x.png").write_bytes(b"broken")
    look(root, unconditional=[free])
    result = move(root, "unreadable_image")
    assert (result.moves, result.journal) == ((), None)
    assert [(stay.reason, stay.first) for stay in result.stays] == [(OUTSIDE, "../free/x.png")]


def test_several_fixes_are_undone_one_after_the_other(root: Path) -> None:
    look(root)
    before = tree(root)
    one = move(root, "constant_mask")
    middle = tree(root)
    look(root)
    two = move(root, "zero_mask")
    assert not names(root)
    fix(undo=two.journal)
    assert tree(root) == middle
    fix(undo=one.journal)
    assert tree(root) == before
    assert not (root.parent / "away").exists()
    look(root)
    assert move(root, "constant_mask").journal == root.parent / "out" / "fixes" / "constant_mask-2.jsonl"
    fix(undo=root.parent / "out" / "fixes" / "constant_mask-2.jsonl")
    assert tree(root) == before


def test_the_command_shows_moves_and_undoes(root: Path) -> None:
    (root / "deep").rename(root / "[bold]x")
    look(root)
    out, free = root.parent / "out", root.parent / "free"
    environment = {**os.environ, "COLUMNS": "1000"}
    shown = histods("fix", "zero_mask", "--to", free, "-w", out, env=environment)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = [text.rstrip() for text in shown.stdout.splitlines()]
    size = sum(path.stat().st_size for name in NAMES[::2] for path in root.glob(f"{name}*.png"))
    assert lines[0] == f"zero_mask: 8 files of 4 samples, {size:,} bytes"
    assert f"    histods fix zero_mask --to {free} --apply -w {out}" in lines
    moved = histods("fix", "zero_mask", "--to", free, "-w", out, "--apply", env=environment)
    lines = [text.rstrip() for text in moved.stdout.splitlines()]
    assert "8 files moved. To move them back:" in lines
    assert f"    histods fix --undo {out}/fixes/zero_mask-1.jsonl" in lines
    assert f"    histods audit {root} -w {out} --unconditional {free}" in lines
    back = histods("fix", "--undo", out / "fixes" / "zero_mask-1.jsonl", "--json")
    assert (back.returncode, json.loads(back.stdout)["state"]) == (0, "undone")
    nothing = histods("fix", "lossy_mask", "--to", free, "-w", out, env=environment)
    assert (nothing.returncode, nothing.stdout.strip()) == (0, "lossy_mask: nothing to move.")
    assert histods("fix", "lossy_mask", "--to", free, "-w", out, "--quiet").stdout == ""
    refused = histods("fix", "zero_mask", "--to", root, "-w", out)
    assert (refused.returncode, refused.stderr.count("\n"), refused.stdout) == (2, 1, "")
    assert refused.stderr.startswith(f"histods: {root} is not apart from the dataset ")


def test_lines_fit_80_columns(root: Path) -> None:
    look(root)
    environment = {**os.environ, "COLUMNS": "80"}
    for more in ([], ["--apply"]):
        result = histods(
            "fix", "zero_mask", "--to", root.parent / "free", "-w", root.parent / "out", *more, env=environment
        )
        assert result.returncode == 0
        words = [line.rstrip("\\").split() for line in result.stdout.splitlines() if len(line) > 80]
        assert all(len(line) == 1 for line in words)  # a path in a command is not cut


def test_the_document_says_all_that_the_lines_say(root: Path) -> None:
    look(root)
    result = move(root, "constant_mask", apply=False)
    document = to_document(result)
    assert json.loads(json.dumps(document)) == document
    assert (document["samples"], document["files"], document["bytes"]) == (4, 8, result.bytes)
    assert document["first_moves"][0]["source"] == result.moves[0].source
    assert sum(row["files"] for row in document["folders"]) == 8
    assert document["stays"] == []
