"""fix --repair refuses what is unsafe, and no kill, change or hostile journal loses a byte."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from rich.console import Console

from histods import audit, fix, repair
from histods.cli.repair_report import show_repair
from histods.moves.journal import digest_of, mark, to_line
from histods.moves.plan import LINKED
from histods.repairs import run, staging, swap
from histods.steps.repair import to_document
from tests.commands import histods

if TYPE_CHECKING:
    from collections.abc import Callable

    Tree = dict[str, tuple[bytes | None, int, int]]

from tests.histods.steps.repaired import (
    MEMORY,
    PLANTED,
    fix_undo,
    line,
    look,
    make,
    mend,
    tree,
    truth,
    write_image,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "data", PLANTED["wide_mask"])


# What is refused, and what stays.


def test_a_dry_run_writes_nothing(root: Path) -> None:
    look(root)
    before = tree(root.parent)
    result = mend(root, "wide_mask", apply=False)
    assert tree(root.parent) == before
    assert (result.state, len(result.files), result.journal) == ("planned", 3, None)
    assert result.files[0].before == "16-bit grey: 0, 1, 2, 3"
    json.dumps(to_document(result))


def test_wrong_calls_are_refused_in_one_line(root: Path) -> None:
    look(root)
    assert "needs a code, and either --to DIR" in line(lambda: repair("wide_mask"))
    assert "needs a code, and either --to DIR" in line(lambda: repair("wide_mask", to="x", in_place=True))
    assert line(lambda: mend(root, "zero_mask")).startswith("There is no repair for 'zero_mask'; 'histods fix")
    assert line(lambda: mend(root, "turned", remedy="specks")) == (
        "There is no remedy 'specks' for turned; choose one of upright, untag, recode."
    )
    assert "is not outside the dataset" in line(lambda: mend(root, "wide_mask", to=root / "deep"))
    assert line(lambda: repair(undo=root, apply=True)) == "--undo JOURNAL takes no other options; leave them out."
    for options, reason in (
        (("--in-place",), "--in-place is an option of repairs; add --repair."),
        (("--repair", "--undo", "x"), "--undo JOURNAL takes no other options; leave them out."),
    ):
        done = histods("fix", "wide_mask", *options, "-w", root.parent / "out")
        assert (done.returncode, done.stderr) == (2, f"histods: {reason}\n")


def test_files_that_changed_since_the_audit_are_refused(root: Path) -> None:
    look(root)
    os.utime(root / "a0_mask.png", ns=(0, 1))
    before = tree(root)
    for apply in (False, True):
        assert line(lambda: mend(root, "wide_mask", apply=apply)) == (  # noqa: B023
            "a0_mask.png is not as the last audit read it: it has another size or time; "
            f"run 'histods audit {root} -w {root.parent / 'out'}' again."
        )
    assert tree(root) == before
    assert not [path.name for path in (root.parent / "out" / "fixes").iterdir() if path.name != ".lock"]


def test_links_and_their_targets_stay_and_a_shared_mask_is_repaired_once(root: Path) -> None:
    (root / "l.png").symlink_to("a0.png")
    (root / "l_mask.png").symlink_to("a0_mask.png")
    look(root)
    refused = mend(root, "wide_mask", apply=False).refused
    assert [(one.reason, len(one.files)) for one in refused] == [(LINKED, 2)]
    for name in ("l.png", "l_mask.png"):
        (root / name).unlink()
    pairs = root.parent / "pairs.csv"
    pairs.write_text("image,mask\na0.png,a0_mask.png\n-d3.png,a0_mask.png\n")
    look(root, pairs=pairs)
    assert [file.path for file in mend(root, "wide_mask").files] == ["a0_mask.png"]


def test_undoing_is_refused_where_it_would_lose_something(root: Path) -> None:
    look(root)
    result = mend(root, "wide_mask")
    repaired = (root / "a0_mask.png").read_bytes()
    (root / "a0_mask.png").write_bytes(b"edited")
    state = tree(root.parent)
    assert line(lambda: fix_undo(result)) == (
        f"{root}/a0_mask.png has changed since it was repaired; fix that and run the same command again."
    )
    assert tree(root.parent) == state
    assert repaired != b"edited"


@pytest.mark.parametrize("began", [False, True])
def test_a_file_that_changes_while_others_are_replaced_keeps_its_new_content(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, began: bool
) -> None:
    """Even if it is edited through its name after it got a second one among the originals."""
    look(root)
    before = tree(root)
    replace_file, edited = swap.replace_file, root / "with space1_mask.png"

    def edit_the_last(one: swap.Swap, places: swap.Places, token: str) -> None:
        if began and one.path == edited.name:
            kept = Path(places.originals, one.path)
            kept.parent.mkdir(parents=True, exist_ok=True)
            os.link(edited, kept)
        edited.write_bytes(b"edited")
        replace_file(one, places, token)

    with monkeypatch.context() as patch:
        patch.setattr(swap, "replace_file", edit_the_last)
        assert "the file is neither the original nor the repaired one" in line(lambda: mend(root, "wide_mask"))
    assert edited.read_bytes() == b"edited"
    repair(undo=root.parent / "out" / "fixes" / "wide_mask-1.jsonl")
    assert edited.read_bytes() == b"edited"
    assert not (root.parent / "out" / "fixes" / "wide_mask-1").exists()
    assert {path: state for path, state in tree(root).items() if path != edited.name} == {
        path: state for path, state in before.items() if path != edited.name
    }


def test_a_full_disk_replaces_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look(root)
    before = tree(root)

    def fail(path: Path, _: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(staging, "write_bytes", fail)
    message = line(lambda: mend(root, "wide_mask"))
    assert message.startswith("Nothing was replaced, since ")
    assert "(No space left on device)" in message
    assert tree(root) == before
    assert not (root.parent / "out" / "fixes" / "wide_mask-1").exists()


@pytest.mark.parametrize("name", ["wide_mask-1", "wide_mask-1/repaired"])
def test_a_link_in_the_place_of_staged_files_leads_to_no_other_folder(root: Path, name: str) -> None:
    look(root)
    other = root.parent / "other"
    write_image(other / "repaired" / "mine.png", 1)
    place = root.parent / "out" / "fixes" / name
    place.parent.mkdir(parents=True)
    place.symlink_to(other)
    before = tree(other)
    assert line(lambda: mend(root, "wide_mask")) == f"{place} is a link, which histods does not make; remove it."
    assert tree(other) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root may change the owner")
def test_a_repaired_file_has_the_owner_of_the_old_one(root: Path) -> None:
    os.chown(root / "a0_mask.png", 1234, 4321)
    look(root)
    mend(root, "wide_mask")
    status = (root / "a0_mask.png").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1234, 4321, 0o640)


@pytest.mark.parametrize("moving", [False, True])
def test_what_was_done_to_repaired_files_is_undone_first(tmp_path: Path, *, moving: bool) -> None:
    root = make(tmp_path / "data", lambda mask: Image.fromarray(mask * 85).convert("LA"))
    look(root)
    before = tree(root)
    first = mend(root, "gray_alpha")
    look(root)
    between = tree(root)
    beside = mend(root, "scaled_mask", to=tmp_path / "beside")  # stands in nobody's way
    journal: Path | None
    if moving:
        journal = fix("scaled_mask", to=tmp_path / "away", apply=True, workspace=tmp_path / "out").journal
    else:
        journal = mend(root, "scaled_mask").journal
    changed = tree(root)
    assert journal is not None
    assert line(lambda: fix_undo(first)) == (
        f"{journal.name} changed files of this repair afterwards; "
        f"undo that first with 'histods fix --undo {journal}'."
    )
    assert tree(root) == changed
    if moving:
        fix(undo=journal)
    else:
        repair(undo=journal)
    assert tree(root) == between
    fix_undo(first)
    assert tree(root) == before
    assert beside.journal is not None


# Kills.


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("case", ["in_place", "to", "rename", "other disk"])
@pytest.mark.parametrize("last", ["finish", "undo"])
def test_whatever_a_kill_leaves_can_be_finished_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, last: str
) -> None:
    """The process is killed before each of its steps on the disk, one after the other."""
    if case == "other disk":
        if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("needs a second file system")
        monkeypatch.setattr(os, "link", refuse_link)
    root = make(tmp_path / "data", PLANTED["wide_mask"], pairs=2)
    write_image(root / "s.png", 9, format="JPEG")
    Image.fromarray(truth(1)).save(root / "s_mask.png")
    look(root)
    before = tree(root)
    code = "suffix_mismatch" if case == "rename" else "wide_mask"
    options: dict[str, Any] = {"to": tmp_path / "new"} if case == "to" else {}
    expected: dict[str, bytes | None] = {}
    for step in range(40):
        with monkeypatch.context() as patch:
            count = [step]
            for owner, name in (
                (swap, "_keep"),
                (swap, "_carry"),
                (swap, "_copy"),
                (run, "mark"),
                (Path, "unlink"),
            ):
                patch.setattr(owner, name, killing(getattr(owner, name), count))
            try:
                result = mend(root, code, **options)
            except Killed:
                result = None
        if last == "undo" and result is None:
            for journal in (tmp_path / "out" / "fixes").glob(f"{code}-*.jsonl"):
                if b'"undone"' not in journal.read_bytes():
                    repair(undo=journal)
        else:
            whole = result or mend(root, code, **options)
            state = {path: entry[0] for path, entry in tree(options.get("to", root)).items()}
            expected = expected or state
            assert state == expected
            fix_undo(whole)
        assert tree(root) == before
        assert not (tmp_path / "new").exists()
        assert not list((tmp_path / "out" / "fixes").glob("*-*/originals/*"))
        if result is not None:
            assert step >= 3
            return
    pytest.fail("the repair never came to its end")


def refuse_link(*_: object, **__: object) -> None:
    raise OSError(18, "another file system")


def killing(call: Callable[..., Any], count: list[int]) -> Callable[..., Any]:
    def before(*arguments: Any, **options: Any) -> Any:
        if count[0] == 0:
            raise Killed
        count[0] -= 1
        return call(*arguments, **options)

    return before


def test_an_interrupted_repair_blocks_other_fixes_until_it_is_finished(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(root)
    with monkeypatch.context() as patch:
        patch.setattr(run, "mark", killing(mark, [0]))
        with pytest.raises(Killed):
            mend(root, "wide_mask")
    journal = root.parent / "out" / "fixes" / "wide_mask-1.jsonl"
    blocked = (
        f"The fix wide_mask-1.jsonl in {journal.parent} was interrupted; run its command again to finish it, "
        f"or undo it with 'histods fix --undo {journal}'."
    )
    assert line(lambda: mend(root, "palette")) == blocked
    assert line(lambda: fix("wide_mask", to=root.parent / "away", workspace=root.parent / "out")) == blocked
    looked = mend(root, "wide_mask", apply=False)
    assert (looked.interrupted, looked.files) == (True, ())
    done = mend(root, "wide_mask")
    assert (done.state, done.files_changed, done.interrupted) == ("repaired", 0, True)
    console = Console(file=io.StringIO(), width=200)
    show_repair(console, done, root.parent / "out", None)
    assert isinstance(console.file, io.StringIO)
    assert "is finished, with the labels that it was given" in console.file.getvalue()


def test_originals_on_another_disk_are_copied_and_restored(root: Path) -> None:
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == root.stat().st_dev:
        pytest.skip("needs a second file system")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        audit(root, workspace=folder, workers=1)
        before = tree(root)
        result = repair("wide_mask", in_place=True, apply=True, workspace=folder)
        assert result.files_changed == 3
        assert tree(root) != before
        repair(undo=result.journal)
        assert tree(root) == before


def test_hostile_journals_touch_nothing_outside(root: Path) -> None:
    look(root)
    journal = mend(root, "wide_mask").journal
    assert journal is not None
    text = journal.read_text(encoding="utf-8")
    secret = root.parent / "secret"
    secret.write_bytes(b"mine")
    before = tree(root)
    for old, new in (
        ('"path": "a0_mask.png"', '"path": "../secret"'),
        (f'"root": "{root}"', f'"root": "{root.parent}/../{root.parent.name}"'),
        ('"target": "a0_mask.png"', '"target": "/etc/passwd"'),
        ('"new_bytes"', '"other"'),
    ):
        rows = text.replace(old, new).splitlines(keepends=True)
        head = "".join(rows[:4]).encode()
        journal.write_bytes(head + to_line({"digest": digest_of(head)}) + b'{"state": "moved"}\n')
        assert line(lambda: repair(undo=journal)).startswith(str(journal))
    journal.write_bytes(text.encode()[:200])
    assert "is not the journal" in line(lambda: repair(undo=journal))
    assert (tree(root), secret.read_bytes()) == (before, b"mine")
