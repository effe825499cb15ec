"""fix --repair writes what it says and nothing else; a repaired dataset lacks the finding; all can be undone."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from rich.console import Console

from histods import HistodsError, audit, fix, remedies, repair, status
from histods.cli.repair_report import show_repair
from histods.images.reader import decode_mask
from histods.moves.journal import digest_of, mark, to_line
from histods.moves.plan import LINKED
from histods.remedies import base, narrow
from histods.remedies.orientation import UNDECIDED
from histods.repairs import run, staging, swap
from histods.repairs.choose import ALONE, NAMED_IN_CSV, TAKEN, UNPAIRED
from histods.steps.repair import to_document
from tests.commands import histods
from tests.histods.remedies.planted import COLOURS, as_colours, as_palette, regions, tagged

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from histods.measurement.audit_result import AuditResult
    from histods.steps.repair import RepairResult

    Tree = dict[str, tuple[bytes | None, int, int]]

MEMORY = Path("/dev/shm")  # noqa: S108 - another file system, on every Linux
LABELS = "labels:\n" + "".join(
    f"  {label}: {{name: class {label}, color: '#{red:02x}{green:02x}{blue:02x}'}}\n"
    for label, (red, green, blue) in COLOURS.items()
)
SIDE = 64


def truth(number: int) -> NDArray[np.uint8]:
    return regions(number, height=SIDE, width=SIDE)


PLANTED: dict[str, Callable[[NDArray[np.uint8]], Image.Image]] = {
    "wide_mask": lambda mask: Image.fromarray(mask.astype(np.uint16)),
    "scaled_mask": lambda mask: Image.fromarray(mask * 85),
    "not_an_index_mask": lambda mask: Image.fromarray(as_colours(mask)),
    "palette": as_palette,
    "rgb": lambda mask: Image.fromarray(np.dstack([mask] * 3)),
    "rgba": lambda mask: Image.fromarray(mask).convert("RGBA"),
    "gray_alpha": lambda mask: Image.fromarray(mask).convert("LA"),
}


def write_image(path: Path, seed: int, *, side: int = SIDE, **options: Any) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def make(root: Path, plant: Callable[[NDArray[np.uint8]], Image.Image] | None = None, *, pairs: int = 6) -> Path:
    """Pairs under awkward names; the masks of the first three are planted."""
    for number in range(pairs):
        name = ("a", "with space", "deep/er/ärmel", "-d", "e", "f", "g")[number % 7] + str(number)
        write_image(root / f"{name}.png", number)
        draw = plant if plant is not None and number < 3 else Image.fromarray
        draw(truth(number)).save(root / f"{name}_mask.png")
    (root / "a0_mask.png").chmod(0o640)
    return root


def tree(folder: Path) -> Tree:
    """Everything below a folder and the folder itself: content, time and permissions."""
    found: Tree = {}
    for path in [folder, *folder.rglob("*")]:
        state = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path.relative_to(folder))] = (content, state.st_mtime_ns, state.st_mode)
    return found


def look(root: Path, **options: Any) -> AuditResult:
    return audit(root, workspace=root.parent / "out", workers=1, **options)


def mend(root: Path, code: str, **options: Any) -> RepairResult:
    chosen = {"in_place": True} if "to" not in options else {}
    return repair(code, workspace=root.parent / "out", workers=1, **{"apply": True} | chosen | options)


def audit_state(root: Path) -> str:
    parts = status(workspace=root.parent / "out").parts
    return next(part.state for part in parts if part.name == "audit")


def line(call: Callable[[], object]) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "data", PLANTED["wide_mask"])


# Every remedy, from the audit to the audit.


@pytest.mark.parametrize("code", PLANTED)
def test_planted_masks_are_repaired_to_their_truth_and_restored(tmp_path: Path, code: str) -> None:
    root = make(tmp_path / "data", PLANTED[code])
    labels = tmp_path / "labels.yml"
    labels.write_text(LABELS)
    first, before = look(root), tree(root)
    options = {"labels": labels} if code == "not_an_index_mask" else {}
    result = mend(root, code, **options)
    assert (result.state, result.files_changed, result.refused) == ("repaired", 3, ())
    after = look(root)
    assert after.files_read == 3  # what changed, and nothing else
    kinds = set(after.manifest.to_polars()["mask_kind"])
    assert kinds == {"gray8"}
    assert not any(entry.code == code for entry in after.iter_findings())
    masks = sorted(root.rglob("*_mask.png"), key=lambda path: path.stem.removesuffix("_mask")[-1])
    for number, path in enumerate(masks):
        assert np.array_equal(decode_mask(path.read_bytes()).labels, truth(number))
    assert (root / "a0_mask.png").stat().st_mode & 0o777 == 0o640
    undone = fix_undo(result)
    assert (undone.state, undone.files_changed) == ("undone", 3)
    assert tree(root) == before
    assert look(root).findings == first.findings
    assert not (tmp_path / "out" / "fixes" / f"{code}-1").exists()


def fix_undo(result: RepairResult) -> RepairResult:
    return repair(undo=result.journal)


def test_turned_images_are_written_upright(tmp_path: Path) -> None:
    root = tmp_path / "data"
    make(root)
    for number in range(2, 9):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 48, 3), dtype=np.uint8)
        height, width = (48, 32) if number >= 5 else (32, 48)
        Image.fromarray(pixels).save(root / f"t{number}.png", exif=tagged(number))
        Image.fromarray(regions(number, height=height, width=width)).save(root / f"t{number}_mask.png")
    images = [root / f"t{number}.png" for number in range(2, 9)]
    shown = {path: np.asarray(ImageOps.exif_transpose(Image.open(path))) for path in images}
    first, before = look(root), tree(root)
    assert first.findings["turned"] == 7
    result = mend(root, "turned")
    assert [file.path for file in result.files] == [f"t{number}.png" for number in range(5, 9)]
    assert [(one.reason, len(one.files)) for one in result.refused] == [(UNDECIDED, 3)]
    assert look(root).findings["turned"] == 3
    named = mend(root, "turned", remedy="upright")
    assert [file.path for file in named.files] == ["t2.png", "t3.png", "t4.png"]
    after = look(root)
    assert "turned" not in after.findings
    assert "size_mismatch" not in after.findings
    assert all(np.array_equal(np.asarray(Image.open(path)), shown[path]) for path in images)
    fix_undo(named)
    fix_undo(result)
    assert tree(root) == before


@pytest.mark.parametrize("remedy", ["upright", "untag"])
def test_files_with_the_same_tag_are_repaired_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remedy: str
) -> None:
    """Square pairs that agree as stored: a mask turned without its image would be wrong and look right."""
    root = make(tmp_path / "data")
    for number in range(2):
        write_image(root / f"t{number}.png", number, exif=tagged(6))
        Image.fromarray(truth(number)).save(root / f"t{number}_mask.png", exif=tagged(6))
    look(root)
    chosen = getattr(remedies, remedy)
    whole: Callable[[base.Source], base.Repaired] = chosen.REMEDY.repair

    def fail_once(source: base.Source) -> base.Repaired:
        if source.path == "t0.png":
            raise base.RefusedError("no")
        return whole(source)

    monkeypatch.setattr(remedies, "REMEDIES", (replace(chosen.REMEDY, repair=fail_once),))
    result = mend(root, "turned", remedy=remedy, apply=False)
    assert [file.path for file in result.files] == ["t1.png", "t1_mask.png"]
    assert [(one.reason, one.files) for one in result.refused] == [
        (ALONE, (("t0_mask.png", "t0.png"),)),
        ("no", (("t0.png", ""),)),
    ]


def test_a_wrong_suffix_is_renamed_and_the_pair_still_pairs(root: Path) -> None:
    write_image(root / "s.png", 9, format="JPEG")
    Image.fromarray(truth(1)).save(root / "s_mask.png")
    first, before = look(root), tree(root)
    result = mend(root, "suffix_mismatch")
    assert [(file.path, file.target) for file in result.files] == [("s.png", "s.jpg")]
    assert (root / "s.jpg").read_bytes() == before["s.png"][0]
    assert not (root / "s.png").exists()
    after = look(root)
    assert after.counts.pairs == first.counts.pairs
    assert "suffix_mismatch" not in after.findings
    fix_undo(result)
    assert tree(root) == before
    write_image(root / "S.JPG", 10, format="JPEG")
    look(root)
    refused = mend(root, "suffix_mismatch").refused
    assert [(one.reason, one.files) for one in refused] == [(TAKEN, (("s.png", "s.jpg"),))]


def test_names_that_would_pair_no_more_are_refused(root: Path) -> None:
    for number in range(3):
        write_image(root / f"raw_{number}.png", number, format="JPEG" if number == 0 else "PNG")
        Image.fromarray(truth(number)).save(root / f"lab_{number}.png")
    look(root, image_pattern="raw_{key}.png", mask_pattern="lab_{key}.png")
    refused = mend(root, "suffix_mismatch").refused
    assert [(one.reason, one.files) for one in refused] == [(UNPAIRED, (("raw_0.png", "raw_0.jpg"),))]
    pairs = root.parent / "pairs.csv"
    pairs.write_text("image,mask\nraw_0.png,lab_0.png\n")
    look(root, pairs=pairs)
    assert [one.reason for one in mend(root, "suffix_mismatch").refused] == [NAMED_IN_CSV]


def test_specks_are_removed_only_by_name(tmp_path: Path) -> None:
    root = make(tmp_path / "data", pairs=4)
    drawn = regions(3, height=256, width=256) * 60
    small = Image.fromarray(drawn).resize((128, 128), Image.Resampling.BILINEAR)
    write_image(root / "z.png", 1, side=256)
    small.resize((256, 256), Image.Resampling.BILINEAR).save(root / "z_mask.png")
    assert look(root).findings["speckled_mask"] == 1
    assert line(lambda: mend(root, "speckled_mask")).startswith(
        "speckled_mask is repaired only if you name the remedy (--remedy specks: "
    )
    result = mend(root, "speckled_mask", remedy="specks")
    assert [file.path for file in result.files] == ["z_mask.png"]
    assert "speckled_mask" not in look(root).findings
    assert (decode_mask((root / "z_mask.png").read_bytes()).labels != drawn).mean() < 0.02


def test_a_factor_that_is_not_proven_repairs_nothing(tmp_path: Path) -> None:
    root = make(tmp_path / "data", lambda mask: Image.fromarray((mask > 1).astype(np.uint8) * 255))
    look(root)
    result = mend(root, "scaled_mask")
    assert (result.files, result.journal) == ((), None)
    assert [one.reason for one in result.refused] == ["the factor of its labels is not proven"]
    assert "255 may have been multiplied by 255" in result.refused[0].files[0][1]


# A folder beside the dataset.


def test_new_files_beside_the_dataset_are_an_overlay_to_copy_over_it(root: Path) -> None:
    look(root)
    before, to = tree(root), root.parent / "new"
    result = mend(root, "wide_mask", to=to)
    assert tree(root) == before
    assert {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()} == {
        file.path for file in result.files
    }
    assert audit_state(root) == "done"  # the dataset is the audited one
    again = line(lambda: mend(root, "wide_mask", to=to))
    assert again == f"{to}/a0_mask.png exists already (and 2 more like it); choose another folder for --to."
    shutil.copytree(to, root, dirs_exist_ok=True)
    assert "wide_mask" not in look(root).findings
    fix_undo(result)
    assert not to.exists()


def test_a_repair_in_place_leaves_the_audit_out_of_date(root: Path) -> None:
    look(root)
    mend(root, "wide_mask")
    assert audit_state(root) == "stale"


def test_a_folder_beside_the_dataset_leaves_the_dataset_to_others(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be read-only, and files that are added to it later keep the times of its folders."""
    look(root)
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).startswith(str(root)))
    result = mend(root, "wide_mask", to=root.parent / "new")
    write_image(root / "later.png", 1)
    before = tree(root)
    fix_undo(result)
    assert tree(root) == before
    fixes = root.parent / "out" / "fixes"
    assert "is in the folder of journals" in line(lambda: mend(root, "wide_mask", to=fixes / "wide_mask-1"))


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


# The command, workers, and additions.


def test_the_command_shows_examples_the_reasons_and_the_next_command(root: Path) -> None:
    look(root)
    out = root.parent / "out"
    planned = histods("fix", "wide_mask", "--repair", "--in-place", "-w", out, env=os.environ | {"COLUMNS": "300"})
    assert planned.stdout == (
        f"wide_mask: 3 files of {root}\n"
        "narrow, 3 files: Writes labels up to 255 with 8 bits instead of 16.\n"
        "    a0_mask.png\n        16-bit grey: 0, 1, 2, 3 -> 8-bit grey: 0, 1, 2, 3\n"
        "    deep/er/ärmel2_mask.png\n        16-bit grey: 0, 1, 2, 3 -> 8-bit grey: 0, 1, 2, 3\n"
        "    with space1_mask.png\n        16-bit grey: 0, 1, 2, 3 -> 8-bit grey: 0, 1, 2, 3\n"
        "Nothing has been written yet. To write them in the dataset, and keep the originals:\n"
        f"    histods fix wide_mask --repair --in-place --apply -w {out}\n"
    )
    done = histods("fix", "wide_mask", "--repair", "--in-place", "--apply", "-w", out)
    assert "Audit again:" in done.stdout
    assert f"histods audit {root}" in done.stdout.replace(" \\\n      ", " ")
    journal = out / "fixes" / "wide_mask-1.jsonl"
    undone = histods("fix", "--undo", journal, "--json")
    assert json.loads(undone.stdout)["files_changed"] == 3
    assert "is the journal of a repair" in line(lambda: fix(undo=journal))


def test_many_files_are_repaired_by_workers_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "data", PLANTED["wide_mask"])
    look(root)
    here = mend(root, "wide_mask", to=tmp_path / "here")
    monkeypatch.setattr(run, "CHUNK", 1)
    workers = mend(root, "wide_mask", to=tmp_path / "there")
    assert here.files == workers.files
    contents = [{path: entry[0] for path, entry in tree(tmp_path / name).items()} for name in ("here", "there")]
    assert contents[0] == contents[1]


def brighten(source: base.Source) -> base.Repaired:
    """A toy remedy: one function."""
    return narrow.repair(source)._replace(before="dull", after="bright")


def test_a_remedy_is_added_by_one_definition(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = base.Remedy(name="toy", repairs=("wide_mask",), summary="A toy.", repair=brighten)
    monkeypatch.setattr("histods.remedies.REMEDIES", (toy,))
    look(root)
    result = mend(root, "wide_mask", remedy="toy")
    assert {(file.remedy, file.before, file.after) for file in result.files} == {("toy", "dull", "bright")}
    assert "wide_mask" not in look(root).findings
