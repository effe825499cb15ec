"""fix: what is refused before anything moves."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from histods import fix
from histods.checks import CHECKS
from tests.histods.steps.moved import line, look, make_pairs, move, names, tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_pairs(tmp_path / "data")


def test_wrong_calls_are_refused_in_one_line(root: Path) -> None:
    look(root)
    out, away = root.parent / "out", root.parent / "away"
    codes = ", ".join(check.code for check in CHECKS)
    apart = f" is not apart from the dataset {root} and the workspace {out}"
    advice = f"; choose another folder for --to, such as {root}-zero_mask."
    alone = "--undo JOURNAL takes no other options; leave them out."
    neither = (
        "There is nothing to fix or undo here; give a code and --to DIR, such as 'histods fix "
        "unreadable_mask --to DIR', or --undo JOURNAL."
    )
    near = f"There is no finding 'zero_masks'; did you mean zero_mask? The codes are {codes}."
    assert line(lambda: fix("zero_mask", undo=away)) == alone
    assert line(lambda: fix(undo=away, apply=True)) == alone
    nowhere = (
        "There is no folder yet to move the files to; give one outside the dataset: "
        "'histods fix zero_mask --to DIR'."
    )
    assert line(fix) == line(lambda: fix(to=away)) == neither
    assert line(lambda: fix("zero_mask")) == nowhere
    assert line(lambda: fix("zero_masks")) == near
    assert line(lambda: fix("zero_masks", to=away, workspace=out)) == near
    assert line(lambda: fix("?!", to=away, workspace=out)) == (f"There is no finding '?!'; choose one of {codes}.")
    (root.parent / "link").symlink_to(root)
    for place in (
        root,
        root / "deep",
        root / "new",
        root.parent,
        Path("/"),
        out,
        out / "new",
        root.parent / "link",
    ):
        assert line(lambda: fix("zero_mask", to=place, workspace=out)) == f"{place}{apart}{advice}"  # noqa: B023
    assert line(lambda: fix("zero_mask", to=away, workspace=root.parent / "none")) == (
        f"There is no audit in {root.parent / 'none'} yet; run 'histods audit DATASET -w {root.parent / 'none'}'."
    )
    root.rename(root.parent / "renamed")
    assert line(lambda: fix("zero_mask", to=away, workspace=out)) == (
        f"The dataset {root} is gone; bring it back or audit again."
    )


def test_the_folder_of_masks_is_kept_apart_too(root: Path) -> None:
    masks = root.rename(root.parent / "free-masks")
    look(masks)
    assert line(lambda: move(masks, "zero_mask", to="free")).startswith(
        f"{root.parent / 'free'} is not apart from the dataset"
    )
    assert move(masks, "constant_mask", to="free").files_moved == 8


def test_a_file_that_changed_or_went_since_the_audit_is_refused(root: Path) -> None:
    look(root)
    again = f"; run 'histods audit {root} -w {root.parent / 'out'}' again."
    (root / "-dash_mask.png").rename(root.parent / "elsewhere")
    os.utime(root / "dots.in.tiff-1.png", ns=(0, 1))
    before = tree(root)
    for apply in (False, True):
        assert line(lambda: move(root, "constant_mask", apply=apply)) == (  # noqa: B023
            "dots.in.tiff-1.png is not as the last audit read it: it has another size or time "
            f"(and 1 more changed){again}"
        )
    assert tree(root) == before
    (root / "dots.in.tiff-1.png").unlink()
    (root / "dots.in.tiff-1_mask.png").unlink()
    (root.parent / "elsewhere").rename(root / "-dash_mask.png")
    assert line(lambda: move(root, "constant_mask")) == (
        f"dots.in.tiff-1.png is not as the last audit read it: it is gone (and 1 more changed){again}"
    )
    assert not (root.parent / "away").exists()


def test_changed_findings_or_manifests_are_refused(root: Path) -> None:
    look(root)
    out = root.parent / "out"
    for name in ("findings.parquet", "manifest.parquet"):
        content = (out / name).read_bytes()
        (out / name).write_bytes(content + b"x")
        assert line(lambda: move(root, "constant_mask")) == (
            f"{out / name} has changed since the audit wrote it; run 'histods audit {root} -w {out}' again."
        )
        (out / name).write_bytes(content)


def test_a_file_in_the_way_is_refused_and_stays(root: Path) -> None:
    look(root)
    away = root.parent / "away"
    for name in ("-dash.png", "deep/er/x.png"):
        (away / name).parent.mkdir(parents=True, exist_ok=True)
        (away / name).write_bytes(b"mine")
    before = tree(root), tree(away)
    assert line(lambda: move(root, "constant_mask")) == (
        f"{away}/-dash.png exists already (and 1 more like it); choose another folder for --to."
    )
    assert (tree(root), tree(away)) == before
    shutil.copy2(root / "%s{key}.png", away / "%s{key}.png")  # the very file counts as well
    assert line(lambda: move(root, "constant_mask")) == (
        f"{away}/-dash.png exists already (and 2 more like it); choose another folder for --to."
    )
    assert (away / "-dash.png").read_bytes() == b"mine"


def test_undoing_is_refused_where_it_would_lose_something(root: Path) -> None:
    look(root)
    before = tree(root)
    journal = move(root, "constant_mask").journal
    away = root.parent / "away"
    (root / "-dash.png").write_bytes(b"newer")
    (away / "dots.in.tiff-1.png").write_bytes(b"edited")
    state = tree(root.parent)
    advice = "fix that and run the same command again."
    assert line(lambda: fix(undo=journal)) == (
        f"{away}/dots.in.tiff-1.png has another size or time than was planned; {advice}"
    )
    content, mtime_ns = before["dots.in.tiff-1.png"]
    assert isinstance(content, bytes)
    (away / "dots.in.tiff-1.png").write_bytes(content)
    os.utime(away / "dots.in.tiff-1.png", ns=(0, mtime_ns))
    assert line(lambda: fix(undo=journal)) == f"{root}/-dash.png exists already; {advice}"
    assert names(root.parent) == set(state) - {name for name, (content, _) in state.items() if content is None}
    (root / "-dash.png").unlink()
    (away / "-dash.png").rename(root.parent / "lost")
    assert line(lambda: fix(undo=journal)) == (
        f"{away}/-dash.png is gone, and there is no {root}/-dash.png either; {advice}"
    )
    (root.parent / "lost").rename(away / "-dash.png")
    fix(undo=journal)
    assert tree(root) == before
    assert line(lambda: fix(undo=journal)) == (f"The fix in {journal} is already undone; leave it.")
    assert tree(root) == before


def test_two_at_a_time_are_refused(root: Path) -> None:
    look(root)
    journal = move(root, "constant_mask").journal
    assert journal is not None
    look(root)
    fixes = journal.parent
    with (fixes / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for call in (lambda: move(root, "zero_mask"), lambda: fix(undo=journal)):
            assert line(call) == (
                f"Another process already moves files in {fixes}; wait for it or choose another folder."
            )
