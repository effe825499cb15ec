"""fix moves what it says and nothing else, and its journal brings every byte and every time back."""

from __future__ import annotations

import fcntl
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from histods import HistodsError, audit, fix
from histods.checks import CHECKS
from histods.moves.plan import EXCLUDED, KEPT, LINKED, OUTSIDE, SHARED, UNOPENED
from histods.steps.fix import CODES, to_document
from histods.synthetic import make_demo
from tests.commands import histods, in_own_process, unmeasured
from tests.datasets.benchmark import make_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable

    from histods.measurement.audit_result import AuditResult
    from histods.steps.fix import FixResult

    Tree = dict[str, tuple[bytes | str | None, int]]

MEMORY = Path("/dev/shm")  # noqa: S108 - another file system, on every Linux
NAMES = ("a", "-dash", "with space", "dots.in.tiff-1", "ärmel_日本", "deep/er/x", "x\ny", "%s{key}")
needs_memory = pytest.mark.skipif(
    not MEMORY.is_dir() or MEMORY.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev,
    reason="needs a second file system",
)


def tree(folder: Path) -> Tree:
    """Everything below a folder and the folder itself: content, or a link's target, and time."""
    found: Tree = {}
    for path in [folder, *folder.rglob("*")]:
        content: bytes | str | None = None
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = (content, path.lstat().st_mtime_ns)
    return found


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def write_pair(root: Path, name: str, value: int | None = 1, shade: int = 0) -> None:
    """An image and a mask of one label; no mask where the value is None."""
    image = root / f"{name}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(image)
    if value is not None:
        Image.new("L", (8, 8), value).save(root / f"{name}_mask.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pairs under awkward names, every second one with a zero mask."""
    folder = tmp_path / "data"
    for number, name in enumerate(NAMES):
        write_pair(folder, name, number % 2, shade=number)
    return folder


def look(root: Path, **options: Any) -> AuditResult:
    return audit(root, workspace=root.parent / "out", workers=1, **options)


def move(root: Path, code: str, *, apply: bool = True, to: str = "away") -> FixResult:
    return fix(code, to=root.parent / to, apply=apply, workspace=root.parent / "out")


def line(call: Callable[[], object]) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What moves, and that it comes back.


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


# What is refused, before anything moves.


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


# What a kill leaves.


def forget_the_end(journal: Path) -> None:
    """The journal as a kill before its last line leaves it."""
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]) + b'{"sta')


def test_an_unfinished_fix_is_finished_by_the_same_call_and_stops_all_others(root: Path) -> None:
    look(root)
    before = tree(root)
    first = move(root, "constant_mask")
    journal, out, away = first.journal, root.parent / "out", root.parent / "away"
    assert journal is not None
    forget_the_end(journal)
    for entry in first.moves[::3]:
        Path(entry.target).rename(entry.source)
    for code, to in (("zero_mask", "away"), ("constant_mask", "elsewhere")):
        assert line(lambda: move(root, code, to=to)) == (  # noqa: B023
            f"The fix constant_mask-1.jsonl in {out}/fixes was interrupted; finish it with 'histods "
            f"fix constant_mask --to {away} --apply -w {out}' or undo it with 'histods fix --undo "
            f"{journal}'."
        )
    look(root)  # an audit in between changes nothing of the plan
    shown = move(root, "constant_mask", apply=False)
    assert (shown.state, shown.interrupted, len(shown.moves), shown.journal) == ("planned", True, 3, journal)
    told = histods("fix", "constant_mask", "--to", away, "-w", out, env={**os.environ, "COLUMNS": "1000"})
    lines = [text.strip() for text in told.stdout.splitlines()]
    assert "An earlier run was interrupted; these files are left. To finish it, or to undo it:" in lines
    assert {f"histods fix constant_mask --to {away} --apply -w {out}", f"histods fix --undo {journal}"} <= set(
        lines
    )
    finished = move(root, "constant_mask")
    assert (finished.state, finished.interrupted, finished.files_moved) == ("moved", True, 3)
    assert (finished.moves, finished.samples, finished.journal) == (first.moves, 4, journal)
    forget_the_end(journal)
    for entry in first.moves[1::2]:
        Path(entry.target).rename(entry.source)
    assert fix(undo=journal).files_moved == 4
    assert tree(root) == before


def test_an_unfinished_undo_stops_all_others_until_it_is_finished(root: Path) -> None:
    look(root)
    before = tree(root)
    first = move(root, "constant_mask")
    assert first.journal is not None
    fix(undo=first.journal)
    forget_the_end(first.journal)
    for entry in first.moves[:5]:
        Path(entry.target).parent.mkdir(parents=True, exist_ok=True)
        Path(entry.source).rename(entry.target)
    for code in ("constant_mask", "zero_mask"):
        assert line(lambda: move(root, code)) == (  # noqa: B023
            f"Undoing constant_mask-1.jsonl in {first.journal.parent} was interrupted; finish that "
            f"with 'histods fix --undo {first.journal}'."
        )
    assert fix(undo=first.journal).files_moved == 5
    assert tree(root) == before


def test_an_unfinished_fix_of_another_dataset_can_only_be_undone(root: Path) -> None:
    look(root)
    journal = move(root, "constant_mask").journal
    assert journal is not None
    forget_the_end(journal)
    other = root.parent / "other"
    write_pair(other, "x", 3)
    audit(other, workspace=root.parent / "out", workers=1)
    assert line(lambda: move(root, "constant_mask")) == (
        f"The fix constant_mask-1.jsonl in {journal.parent} was interrupted; undo it with 'histods fix "
        f"--undo {journal}'."
    )


def kill_when(command: list[str | Path], folder: Path, files: int) -> bool:
    """Start a command and kill it once so many files are in a folder; False where it ended before."""
    process = subprocess.Popen([sys.executable, "-m", "histods", *map(str, command), "--quiet"])
    while process.poll() is None and not (folder.is_dir() and len(os.listdir(folder)) >= files):  # noqa: PTH208
        time.sleep(0.001)
    process.kill()
    return process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairs", "elsewhere"),
    [pytest.param(2000, None, id="same"), pytest.param(600, MEMORY, id="other", marks=needs_memory)],
)
def test_a_fix_that_is_killed_again_and_again_is_finished_and_undone(
    tmp_path: Path, pairs: int, elsewhere: Path | None
) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    make_benchmark(root, pairs=pairs, orphans=0, zero_masks=pairs, size=16, workers=2)
    audit(root, workspace=out)
    random.seed(pairs)
    with tempfile.TemporaryDirectory(dir=elsewhere or tmp_path) as folder:
        before, above = tree(root), Path(folder).stat().st_mtime_ns
        free, masks = Path(folder, "free"), Path(folder, "free-masks")
        apply: list[str | Path] = ["fix", "zero_mask", "--to", free, "--apply", "-w", out]
        # Killed, then undone, which is killed as well and goes on.
        killed = kill_when(apply, masks, random.randrange(pairs // 2))
        undo: list[str | Path] = ["fix", "--undo", out / "fixes" / "zero_mask-1.jsonl"]
        assert kill_when(undo, root, len(os.listdir(root)) + pairs // 20) or killed  # noqa: PTH208
        histods(*undo)
        assert tree(root) == before
        assert os.listdir(folder) == []  # noqa: PTH208
        assert Path(folder).stat().st_mtime_ns == above
        # Killed, killed again, then finished.
        while not kill_when(apply, masks, random.randrange(pairs // 2)):
            histods(
                "fix", "--undo", max((out / "fixes").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
            )
        kill_when(apply, masks, pairs // 2 + random.randrange(pairs // 4))
        finished = histods(*apply, "--json")
        assert finished.returncode == 0, finished.stderr
        document = json.loads(finished.stdout)
        assert (document["state"], document["files"]) == ("moved", 2 * pairs)
        assert len(names(free)) == len(names(masks)) == pairs
        assert not names(root)
        assert histods("fix", "--undo", document["journal"]).returncode == 0
        assert tree(root) == before


@needs_memory
def test_a_full_disk_is_said_and_the_same_command_goes_on(root: Path) -> None:
    """The system refuses to write files over 8 KB: as a full disk does, in the middle of a copy."""
    Image.effect_noise((90, 90), 90).convert("RGB").save(root / "-dash.png")
    Image.new("L", (90, 90), 1).save(root / "-dash_mask.png")
    look(root)
    before = tree(root)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        apply = ["fix", "constant_mask", "--to", f"{folder}/away", "--apply", "-w", root.parent / "out"]
        journal = root.parent / "out" / "fixes" / "constant_mask-1.jsonl"
        limit = (8000, 8000)
        result = in_own_process(
            *apply, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit), env=unmeasured()
        )
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert result.stderr.startswith("histods: Not all files could be moved (File too large: ")
        assert result.stderr.endswith(
            "fix that and run the same command again to continue, or undo it with "
            f"'histods fix --undo {journal}'.\n"
        )
        assert (root / "-dash.png").is_file()
        assert histods(*apply).returncode == 0
        assert len(names(Path(folder, "away"))) == 8
        assert histods("fix", "--undo", journal).returncode == 0
        assert tree(root) == before


# What people see.


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
