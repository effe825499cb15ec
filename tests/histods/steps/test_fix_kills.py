"""fix: what a kill or a full disk leaves is finished, or undone."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from PIL import Image

from histods import audit, fix
from tests.commands import histods, in_own_process, unmeasured
from tests.datasets.benchmark import make_benchmark
from tests.histods.steps.moved import (
    MEMORY,
    forget_the_end,
    line,
    look,
    make_pairs,
    move,
    names,
    needs_memory,
    tree,
    write_pair,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_pairs(tmp_path / "data")


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
