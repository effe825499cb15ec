"""Full disks, closed pipes, killed runs, deep folders, odd names: one line or a sound result, and nothing lost."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histods import audit, fix, remap, shard
from histods.dataset.scan import scan
from histods.errors import HistodsError
from histods.io import atomic
from histods.io.atomic import locked, replacing, write_bytes
from histods.measurement.cache import open_journal
from histods.records import ClassCount
from reports.class_table import RAW, ClassSystem, percent_csv
from tests.commands import histods, in_own_process, unmeasured


def write_pair(folder: Path, name: str, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    mask = np.zeros((16, 16), np.uint8)
    mask[3:, seed % 5 :] = 1 + seed % 3
    Image.fromarray(mask).save(folder / f"{name}_mask.png")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset and its workspace, which no test changes."""
    folder = tmp_path_factory.mktemp("places")
    for number in range(20):
        write_pair(folder / "data", f"x{number}", number)
    audit(folder / "data", workspace=folder / "o", workers=1)
    return folder / "data", folder / "o"


def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# --- temporary files -------------------------------------------------------------------------------------------


def test_what_a_killed_run_left_is_removed_and_nothing_of_a_living_run_or_of_others(tmp_path: Path) -> None:
    here, elsewhere = atomic._machine(), "0123abcd"
    gone = [f".manifest.parquet.{here}-{dead()}.part", f".other~12345678.png.{dead()}.part"]
    stay = [
        f".x.{here}-{os.getpid()}.part",
        f".x.{here}-1.part",
        f".x.{elsewhere}-{dead()}.part",
        f"x.{here}-{dead()}.part",
        f".x.{here}-{dead()}.parts",
        ".notes.part",
        ".x.abc.part",
    ]
    for name in (*gone, *stay):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / f".folder.{here}-{dead()}.part").mkdir()
    write_bytes(tmp_path / "new", b"whole")
    left = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert left == {*stay, "new"}
    assert any(path.is_dir() for path in tmp_path.iterdir())


@pytest.mark.parametrize("place", ["", "remap", "masks"])
def test_every_step_removes_what_a_killed_run_of_it_left(
    site: tuple[Path, Path], tmp_path: Path, place: str
) -> None:
    shutil.copytree(site[1], tmp_path / "o")
    arguments = ["remap", "-w", tmp_path / "o", "--write-masks", tmp_path / "o" / "masks", "--workers", 1]
    assert histods(*arguments).returncode == 0
    torn = tmp_path / "o" / place / f".x1_mask.png.{dead()}.part"
    torn.write_bytes(b"half")
    (tmp_path / "o" / "masks" / "x1_mask.png").unlink()
    if not place:
        arguments = ["audit", site[0], "-w", tmp_path / "o", "--fresh", "--workers", 1]
    again = in_own_process(*arguments)  # a process looks for what others left once
    assert again.returncode == 0, again.stderr
    assert not torn.exists()


def test_two_runs_do_not_write_masks_into_one_folder(site: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    with locked(tmp_path / "masks", "writing masks"), pytest.raises(HistodsError) as error:
        remap(workspace=site[1], write_masks=tmp_path / "masks", workers=1)
    assert str(error.value) == (
        f"Another process already writes masks in {tmp_path / 'masks'}; wait for it or choose another folder."
    )
    assert list((tmp_path / "masks").iterdir()) == []
    assert remap(workspace=site[1], write_masks=tmp_path / "masks", workers=1).masks_written == 20


# --- output that nobody takes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("json_option", ["", "--json"])
def test_closed_streams_are_no_error_and_get_into_no_file(
    site: tuple[Path, Path], tmp_path: Path, closed: str, json_option: str
) -> None:
    command = f"{sys.executable} -m histods audit {site[0]} -w {tmp_path / 'o'} --workers 1 {json_option} {closed}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "Traceback" not in result.stderr + result.stdout
    assert "ignored" not in result.stderr
    assert json.loads((tmp_path / "o" / "audit.json").read_text())["counts"]["images"] == 20
    (tmp_path / "o" / "again").mkdir()
    assert not any(b"Samples" in path.read_bytes() for path in (tmp_path / "o").iterdir() if path.is_file())


@pytest.mark.parametrize("pipe", ["| head -c 1", "| true", "2>&1 | head -c 1"])
def test_a_pipe_that_is_closed_early_shows_no_traceback(site: tuple[Path, Path], pipe: str) -> None:
    command = f"{sys.executable} -m histods audit {site[0]} -w {site[1]} --json {pipe}; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1)
    assert "Traceback" not in result.stderr + result.stdout
    assert "ignored" not in result.stderr
    assert "histods: " not in result.stderr


# --- disks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"]
)
def test_an_error_of_a_library_names_the_file_that_was_written(tmp_path: Path, text: str) -> None:
    for error in (OSError(text), OSError(28, "No space left on device"), OSError(28, "No space", "{temporary}")):
        with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "file") as temporary:
            if error.filename:
                error.filename = str(temporary)
            raise error
        assert (caught.value.errno, caught.value.filename) == (28, str(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "file"):
        (tmp_path / "nothing").read_bytes()
    assert caught.value.filename == str(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        *((["audit", "{data}", "-w", "{new}"], size) for size in (64, 4096, 8192)),
        (["remap", "-w", "{o}", "--write-masks", "{new}"], 64),
        (["shard", "-w", "{o}", "--out", "{new}"], 64),
    ],
)
def test_a_file_that_may_not_grow_is_named_in_one_line(
    site: tuple[Path, Path], tmp_path: Path, arguments: list[str], size: int
) -> None:
    """A limit on the size of files, which needs no full disk."""
    shutil.copytree(site[1], tmp_path / "o")
    known = {"{data}": site[0], "{o}": tmp_path / "o", "{new}": tmp_path / "new"}
    words = [known.get(word, word) for word in arguments]
    limit: Callable[[], None] = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
    result = in_own_process(*words, "--workers", 1, preexec_fn=limit, env=unmeasured())
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("histods: ")
    assert str(tmp_path) in line or "all-00000.tar" in line
    assert "File too large" in line
    assert not list(tmp_path.rglob("*.part"))


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.own_workers
def test_a_full_disk_is_named_in_one_line(site: tuple[Path, Path], tiny: Path) -> None:
    (tiny / "filler").write_bytes(b"x" * 60_000)
    for arguments in (["audit", site[0], "-w", tiny / "o"], ["shard", "-w", site[1], "--out", tiny / "shards"]):
        result = histods(*arguments, "--workers", 1)
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()
        assert "No space left on device" in line
        assert "tiny" in line or "all-00000.tar" in line


# --- names and folders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_a_name_that_is_not_utf8_and_its_escaped_twin_are_both_rows(tmp_path: Path, count: int) -> None:
    root = os.fsencode(tmp_path / "data")
    os.mkdir(root)  # noqa: PTH102 - bytes
    for name in [b"a\xff.png", b"a\\xff.png", b"a\\\\xff.png"][:count]:
        with open(root + b"/" + name, "wb") as file:  # noqa: PTH123 - bytes
            file.write(name)
    listing = scan(tmp_path / "data")
    assert len(set(listing.paths)) == len(listing.paths) == count
    assert "a\\xff.png" in listing.paths
    assert len(listing.problems) == 1
    (odd,) = listing.problems
    sizes = dict(zip(listing.paths, listing.sizes.tolist(), strict=True))
    assert sorted(size for path, size in sizes.items() if path != odd) == [9, 10][: count - 1]


def test_fix_works_where_the_audit_works(tmp_path: Path) -> None:
    """Beside folders whose paths are too long, a thousand folders in each other, and names that are not UTF-8."""
    root = tmp_path / "data"
    write_pair(root, "a", 1)
    write_pair(root, "n" * 240, 2)
    for folder, times in (("d", 1000), ("l" * 250, 20)):
        here = os.open(root, os.O_RDONLY)
        for _ in range(times):
            os.mkdir(folder, dir_fd=here)
            below = os.open(folder, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("empty.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)
    with open(os.fsencode(root) + b"/caf\xe9.png", "wb"):  # noqa: PTH123 - bytes
        pass
    try:
        audit(root, workspace=tmp_path / "o", workers=1)
        deep = "d/" * 1000 + "empty.png"
        result = fix("unreadable_image", to=tmp_path / "bad", apply=True, workspace=tmp_path / "o")
        assert result.journal is not None
        assert not (root / deep).exists()
        assert (tmp_path / "bad" / deep).is_file()
        assert fix(undo=result.journal).state == "undone"
        assert (root / deep).is_file()
    finally:
        for name in ("data", "bad"):
            subprocess.run(["rm", "-rf", str(tmp_path / name)], check=True)


def test_masks_in_a_thousand_folders_are_remapped_and_sharded(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(4):
        write_pair(root, f"x{number}", number)
    deep = root
    for _ in range(1000):
        deep /= "d"
        deep.mkdir()
    for name in ("x1.png", "x1_mask.png"):
        shutil.copy(root / name, deep / name)
    try:
        audit(root, workspace=tmp_path / "o", workers=1)
        for _ in range(2):
            result = remap(workspace=tmp_path / "o", write_masks=tmp_path / "masks", workers=1)
        assert result.masks_present == 5
        assert shard(workspace=tmp_path / "o", workers=1).splits["all"][1] == 5
    finally:
        for name in ("data", "masks"):
            subprocess.run(["rm", "-rf", str(tmp_path / name)], check=True)


FORMULAS = ["=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\t=1"]


@pytest.mark.parametrize("name", [*FORMULAS, "tumour", "a=b", "'quoted", "5", ""])
def test_no_cell_of_a_table_for_people_is_a_formula(name: str) -> None:
    row = ClassCount(index=0, name=name, pixels=5, percent=100.0, images=1)
    system = ClassSystem(name=RAW, classes=(row,), images=1, together=None, source="")
    cell = list(csv.reader(io.StringIO(percent_csv(system), newline="")))[1][1]
    assert cell == (f"'{name}" if name in FORMULAS else name)


# --- journals of other versions --------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["old version", "no version", "other columns", "no stream", "locked"])
def test_a_journal_of_another_version_is_as_good_as_none(
    site: tuple[Path, Path], tmp_path: Path, damage: str
) -> None:
    import pyarrow as pa
    import xxhash

    from histods.io import journal
    from histods.measurement import cache as measurements
    from histods.measurement.worker import SCHEMA

    sink = pa.BufferOutputStream()
    table = pa.table({"path": ["x1.png"], "is_mask": [False]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    payload = b"no stream" if damage == "no stream" else bytes(sink.getvalue())
    record = journal._RECORD.pack(len(payload), xxhash.xxh3_64_intdigest(payload)) + payload
    sound = measurements._head(SCHEMA)
    head = {"old version": b"histods measurements, version 0\n", "no version": b""}.get(damage, sound)
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "audit.journal").write_bytes(head + record)
    if damage == "locked":
        with (
            (tmp_path / "o" / "audit.journal").open("ab") as file,
            pytest.raises(HistodsError, match="^Another audit is at work in"),
        ):
            fcntl.flock(file, fcntl.LOCK_EX)
            audit(site[0], workspace=tmp_path / "o", workers=1)
        return
    assert audit(site[0], workspace=tmp_path / "o", workers=1).files_read == 40


def test_a_journal_goes_on_after_its_sound_records(tmp_path: Path) -> None:
    import pyarrow as pa

    from histods.measurement.worker import SCHEMA

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist([{"path": "x1.png", "is_mask": False}], SCHEMA))
    payload = bytes(sink.getvalue())
    with open_journal(tmp_path / "j") as journal:
        journal.append(payload)
        journal.append(payload)
    with (tmp_path / "j").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 1)
    with open_journal(tmp_path / "j") as journal:
        assert journal.table()["path"].to_pylist() == ["x1.png"]
        journal.append(payload)
    with open_journal(tmp_path / "j") as journal:
        assert journal.table()["path"].to_pylist() == ["x1.png"] * 2
