"""Where storage waits, many calls are in flight, and every result is that of one call at a time."""

from __future__ import annotations

import os
import shutil
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods import audit, fix, remap, shard
from histods.dataset.scan import scan
from histods.engines import Engine
from histods.images import contents
from histods.images.contents import Room
from histods.io.open_file import OpenFile, OpenRoot
from histods.io.overlap import Pace, overlap
from histods.measurement.worker import MeasureOptions, measure_files
from histods.moves import execute as moves
from histods.moves.execute import Found, Move, carry_out, survey
from histods.moves.plan import Links
from tests.datasets.benchmark import make_benchmark
from tests.in_process import Here

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = (0, 2, 64)


@pytest.fixture
def in_flight(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many calls are in flight everywhere, with all work in this process."""
    for module in ("steps.audit", "masks.writing_job", "steps.shard"):
        monkeypatch.setattr(f"histods.{module}.engine_for", lambda *_: Engine(Here()))

    def use(threads: int) -> None:
        monkeypatch.setattr(Pace, "begin", lambda pace: setattr(pace, "threads", threads))

    return use


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound pairs in several folders, links, and one of each way in which a file cannot be read."""
    root = tmp_path_factory.mktemp("slow") / "data"
    make_benchmark(root, pairs=60, orphans=2, zero_masks=20)
    images = sorted(root.rglob("*.jpg"))
    for number, image in enumerate(images[:24]):
        folder = root / f"slide_{number % 5}" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        for path in (image, image.with_name(f"{image.stem}_mask.png")):
            path.rename(folder / path.name)
    left = images[24:]
    left[0].write_bytes(left[0].read_bytes()[:900])
    left[1].write_bytes(b"")
    left[2].with_name(f"{left[2].stem}_mask.png").write_bytes(b"no mask at all")
    left[3].unlink()
    left[3].symlink_to(left[4].name)
    left[5].unlink()
    left[5].symlink_to("/etc/hostname")
    left[6].unlink()
    os.mkfifo(left[6])
    noise = np.random.default_rng(0).integers(0, 255, (420, 420, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "large.tif")  # more than is read ahead without being counted
    Image.fromarray(np.tri(420, dtype=np.uint8)).save(root / "large_mask.png")
    Image.fromarray(noise[:64, :64]).save(root / "alone.png")
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few sound pairs in one folder."""
    root = tmp_path_factory.mktemp("small") / "data"
    make_benchmark(root, pairs=20, orphans=0, zero_masks=5)
    return root


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file that has to be the same."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".parquet", ".png", ".tar", ".csv")
    }


def test_all_that_is_written_is_the_same(dataset: Path, tmp_path: Path, in_flight: Callable[[int], None]) -> None:
    label_map = tmp_path / "map.yml"
    label_map.write_text("classes: {0: none, 1: some}\nmap: {none: [0]}\nunmapped: some\n")
    trees = []
    for threads in THREADS:
        in_flight(threads)
        place = tmp_path / str(threads)
        audit(dataset, workspace=place / "out")
        remap(map=label_map, workspace=place / "out", write_masks=place / "masks")
        shard(workspace=place / "out", map=label_map, out=place / "shards", shard_mb=1)
        (place / "out" / "measurements.parquet").unlink()
        trees.append(tree(place))
    assert len(trees[0]) > 60
    assert trees[1] == trees[0]
    assert trees[2] == trees[0]


@pytest.mark.parametrize("free", [0, 600_000])
def test_files_without_room_are_read_in_their_turn(
    dataset: Path, in_flight: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr(contents, "_BYTES_AHEAD", free)
    tasks = [("large.tif", False, None, True), ("large_mask.png", True, None, False)] * 8
    rows = []
    for threads in THREADS:
        in_flight(threads)
        rows.append(measure_files(tasks, options=MeasureOptions(root=str(dataset))))
    assert rows[1:] == rows[:1] * 2


def test_room_is_given_back_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_BYTES_AHEAD", 1_000_000)
    (tmp_path / "x").write_bytes(bytes(600_000))
    room = Room()
    for _ in range(3):
        with OpenFile(tmp_path / "x") as file:
            first = room.read(file)
            assert first is not None
            assert room.read(file) is None  # both would take too much
            assert room.read(file, in_turn=True) == first
            room.give(first)
            room.give(first)
            os.truncate(tmp_path / "x", 500)  # since it was opened
            assert len(room.read(file) or b"") == 500
            os.truncate(tmp_path / "x", 600_000)
            with monkeypatch.context() as patch:
                patch.setattr(OpenFile, "read", lambda _: struct.unpack("q", b""))
                with pytest.raises(struct.error):
                    room.read(file)


@pytest.mark.parametrize("change", ["vanishes", "grows", "shrinks", "becomes a folder", "becomes a link out"])
def test_a_file_that_changes_while_others_are_read_is_its_own_row_alone(
    small: Path, tmp_path: Path, in_flight: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    root = tmp_path / "data"
    shutil.copytree(small, root)
    names = sorted(path.name for path in root.iterdir())
    victim = root / names[9]

    def become_a_folder() -> None:
        victim.unlink()
        victim.mkdir()

    def become_a_link_out() -> None:
        victim.unlink()
        victim.symlink_to("/etc/hostname")

    changes: dict[str, Callable[[], object]] = {
        "vanishes": victim.unlink,
        "grows": lambda: victim.write_bytes(victim.read_bytes() + bytes(100)),
        "shrinks": lambda: os.truncate(victim, 50),
        "becomes a folder": become_a_folder,
        "becomes a link out": become_a_link_out,
    }
    tasks = [(name, name.endswith("_mask.png"), None, False) for name in names]
    options = MeasureOptions(root=str(root))
    sound = measure_files(tasks[:9] + tasks[10:], options=options)
    opened, really = threading.Event(), OpenRoot.open

    def change_first(dataset: OpenRoot, path: str) -> OpenFile:
        if path == names[0] and not opened.is_set():
            changes[change]()
            opened.set()
        elif path == victim.name:
            opened.wait(5)
        return really(dataset, path)

    monkeypatch.setattr(OpenRoot, "open", change_first)
    rows = []
    for threads in (16, 0):
        in_flight(threads)
        rows.append(measure_files(tasks, options=options))
    assert rows[0] == rows[1]
    assert measure_files(tasks[:9] + tasks[10:], options=options) == sound


def test_listing_finds_the_same(dataset: Path, in_flight: Callable[[int], None]) -> None:
    found = []
    for threads in THREADS:
        in_flight(threads)
        listing = scan(dataset)
        states = dict(zip(listing.paths, zip(listing.sizes, listing.mtimes, strict=True), strict=True))
        found.append((states, listing.problems, listing.outside, listing.unlisted, listing.own))
        assert Links(str(dataset)).touch(f"{dataset}/{next(iter(listing.outside))}")
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_states_of_more_files_than_a_batch_are_those_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        (tmp_path / f"{number}.txt").write_bytes(bytes(number))
    monkeypatch.setattr("histods.dataset.scan.SLOW_SECONDS", 0.0)  # whatever the disk, it is slow
    listing = scan(tmp_path)
    assert dict(zip(listing.paths, listing.sizes.tolist(), strict=True)) == {f"{n}.txt": n for n in range(100)}
    assert listing.mtimes.tolist() == [(tmp_path / path).stat().st_mtime_ns for path in listing.paths]


@pytest.mark.parametrize("threads", THREADS)
def test_files_move_and_come_back(
    dataset: Path, tmp_path: Path, in_flight: Callable[[int], None], threads: int
) -> None:
    in_flight(threads)
    root = tmp_path / "data"
    shutil.copytree(
        dataset,
        root,
        symlinks=True,
        ignore=shutil.ignore_patterns(*(p.name for p in dataset.iterdir() if p.is_fifo())),
    )
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    audit(root, workspace=tmp_path / "out")
    moved = fix("zero_mask", to=tmp_path / "away", workspace=tmp_path / "out", apply=True)
    assert len(list((tmp_path / "away").rglob("*.jpg"))) > 10
    assert moved.journal is not None
    fix(undo=moved.journal, workspace=tmp_path / "out")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_names_that_a_disk_may_hold_alike_are_moved_one_by_one() -> None:
    """On a disk that ignores case, a check for a target means nothing once another file is under way there."""
    names = [["a.png", "A.png"], ["é.png", "e\u0301.png"], ["ß.png", "ss.png"]]
    assert [moves._pace_of([Move(name, name, 0, 0) for name in pair])._most for pair in names] == [1, 1, 1]
    assert moves._pace_of([Move(name, name, 0, 0) for name in ("a.png", "b.png")])._most > 1


def test_a_target_that_is_taken_stops_the_moves_and_overwrites_nothing(
    tmp_path: Path, in_flight: Callable[[int], None]
) -> None:
    in_flight(16)
    for folder in ("from", "to"):
        (tmp_path / folder).mkdir()
    planned = []
    for number in range(50):
        source = tmp_path / "from" / f"{number:02}"
        source.write_bytes(b"new")
        status = source.stat()
        planned.append(Move(str(source), str(tmp_path / "to" / source.name), 3, status.st_mtime_ns))
    left = moves.Unfinished(survey(planned)[Found.READY], [])
    (tmp_path / "to" / "20").write_bytes(b"old")
    with pytest.raises(Exception, match="exists already"):
        carry_out(left, token=str(1), stage="moving", advice="look", progress=None)
    assert (tmp_path / "to" / "20").read_bytes() == b"old"
    assert sorted(p.name for f in ("from", "to") for p in (tmp_path / f).iterdir()) == sorted(
        [f"{number:02}" for number in range(50)] + ["20"]
    )


def test_ctrl_c_is_answered_while_calls_wait() -> None:
    started, threads = time.perf_counter(), threading.active_count()
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), 2))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in overlap(lambda _: time.sleep(0.05), range(10**6), Pace(4)):
            pass
    assert time.perf_counter() - started < 10
    timer.join()
    assert threading.active_count() <= threads
