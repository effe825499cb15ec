"""Moving and undoing: whatever was interrupted, both ends can be reached, and no byte and no time is lost."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.moves.execute import (
    Found,
    Move,
    carry_out,
    check_moves,
    copy_across,
    plan_folders,
    restore_folders,
    survey,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tree = dict[str, tuple[bytes | None, int, int]]

MEMORY = Path("/dev/shm")  # noqa: S108 - another file system, on every Linux
SECOND = 1_000_000_000

names = st.one_of(
    st.sampled_from(["-rf", " x ", "a.b.c", "組織 ß", "x\ny", "%s{0}", "'; rm", "...", "e\u0301", '"q"']),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
        lambda name: name not in (".", "..")
    ),
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
times = st.integers(0, 2**32 * SECOND)
trees = st.dictionaries(paths, st.tuples(st.binary(max_size=40), times), min_size=1, max_size=12)


def other_file_system() -> bool:
    return MEMORY.is_dir() and MEMORY.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev


needs_other_file_system = pytest.mark.skipif(not other_file_system(), reason="needs a second file system")
PLACES = [
    pytest.param(None, id="same file system"),
    pytest.param(MEMORY, id="other file system", marks=needs_other_file_system),
]


def tree(folder: Path) -> Tree:
    """Everything below a folder and the folder itself: content (None for folders), time, permissions."""
    found: Tree = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        content = None if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(folder))] = (content, status.st_mtime_ns, status.st_mode)
    return found


@contextmanager
def planted(
    files: dict[str, tuple[bytes, int]], elsewhere: Path | None
) -> Iterator[tuple[Path, Path, list[Move]]]:
    """A folder of files with times of their own, and the moves of all to a folder that is not there yet."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory(dir=elsewhere) as other:
        root = Path(one) / "data"
        goal = Path(other) / "goal"
        moves = []
        root.mkdir()
        for path, (content, mtime_ns) in files.items():
            place = root / path
            if place.exists() or any(parent.is_file() for parent in place.parents):
                continue  # this name is taken by a folder, or a folder's by a file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            os.utime(place, ns=(0, mtime_ns))
            moves.append(Move(str(place), f"{goal}/{path}", len(content), place.stat().st_mtime_ns))
        for number, folder in enumerate(sorted((p for p in [root, *root.rglob("*")] if p.is_dir()), reverse=True)):
            os.utime(folder, ns=(0, number * SECOND + 7))
        yield root, goal, moves


def bring(moves: list[Move]) -> int:
    left = check_moves(moves, token="t", advice="fix that", progress=None)  # noqa: S106 - a name
    return carry_out(left, token="t", stage="moving", advice="fix that", progress=None)  # noqa: S106


def back(moves: list[Move]) -> list[Move]:
    return [Move(move.target, move.source, move.bytes, move.mtime_ns) for move in reversed(moves)]


@pytest.mark.parametrize("elsewhere", PLACES)
@settings(max_examples=60, deadline=None)
@given(files=trees)
def test_moving_and_moving_back_leaves_the_very_same_tree(
    elsewhere: Path | None, files: dict[str, tuple[bytes, int]]
) -> None:
    with planted(files, elsewhere) as (root, goal, moves):
        before, above, there = tree(root), root.parent.stat().st_mtime_ns, goal.parent.stat().st_mtime_ns
        folders = plan_folders(moves)
        assert bring(moves) == len(moves)
        assert {path: entry for path, entry in tree(goal).items() if entry[0] is not None} == {
            path: entry for path, entry in before.items() if entry[0] is not None
        }
        assert not [path for path in root.rglob("*") if path.is_file()]
        assert bring(back(moves)) == len(moves)
        restore_folders(folders)
        assert tree(root) == before
        assert not goal.exists()
        assert (root.parent.stat().st_mtime_ns, goal.parent.stat().st_mtime_ns) == (above, there)


@pytest.mark.parametrize("elsewhere", PLACES)
@settings(max_examples=60, deadline=None)
@given(files=trees, data=st.data())
def test_any_state_that_a_kill_may_leave_is_finished_and_is_undone(
    elsewhere: Path | None, files: dict[str, tuple[bytes, int]], data: st.DataObject
) -> None:
    """Any files moved, copied and at both places, or copied in part: both ways lead home."""
    with planted(files, elsewhere) as (root, goal, moves):
        before, folders = tree(root), plan_folders(moves)
        finish = data.draw(st.booleans())
        for move in moves:
            state = data.draw(st.sampled_from(["not yet", "moved", "copied", "torn"]))
            if state == "not yet":
                continue
            Path(move.target).parent.mkdir(parents=True, exist_ok=True)
            if state == "torn":
                Path(move.target).with_name(".t.part").write_bytes(b"half a copy")
                continue
            shutil.copy2(move.source, move.target)
            if state == "moved":
                Path(move.source).unlink()
        if finish:
            bring(moves)
            files_there = {path for path, entry in tree(goal).items() if entry[0] is not None}
            assert files_there == {path for path, entry in before.items() if entry[0] is not None}
            assert not [path for path in root.rglob("*") if path.is_file()]
        bring(back(moves))
        restore_folders(folders)
        assert tree(root) == before
        assert not goal.exists()


@needs_other_file_system
def test_a_copy_to_another_file_system_keeps_permissions_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        source, target = tmp_path / "x", Path(folder, "x")
        source.write_bytes(b"abc" * 100_000)
        source.chmod(0o440)
        status = source.stat()
        move = Move(str(source), str(target), status.st_size, status.st_mtime_ns)
        copy_across(move, Path(folder, ".part"))
        assert stat.S_IMODE(target.stat().st_mode) == 0o440
        assert (target.stat().st_size, target.stat().st_mtime_ns) == (move.bytes, move.mtime_ns)
        assert os.listdir(folder) == ["x"]  # noqa: PTH208
        assert not source.exists()


def test_a_copy_of_a_file_that_changed_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.write_bytes(b"abc")
    move = Move(str(source), str(tmp_path / "y"), 3, 12345)
    with pytest.raises(OSError, match="the copy is not equal") as caught:
        copy_across(move, tmp_path / ".part")
    assert caught.value.errno == errno.EIO
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_copy_never_replaces_a_file_that_appeared(tmp_path: Path) -> None:
    source, target = tmp_path / "x", tmp_path / "y"
    source.write_bytes(b"abc")
    target.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        copy_across(Move(str(source), str(target), 3, source.stat().st_mtime_ns), tmp_path / ".part")
    assert (source.read_bytes(), target.read_bytes()) == (b"abc", b"other")
    assert len(list(tmp_path.iterdir())) == 2


def make_moves(folder: Path, count: int = 3) -> list[Move]:
    moves = []
    for number in range(count):
        source = folder / "data" / f"{number}"
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(bytes(number + 1))
        moves.append(Move(str(source), str(folder / "goal" / f"{number}"), number + 1, source.stat().st_mtime_ns))
    return moves


def test_nothing_moves_when_one_file_is_not_as_planned(tmp_path: Path) -> None:
    moves = make_moves(tmp_path)
    (tmp_path / "goal").mkdir()
    data, goal = tmp_path / "data", tmp_path / "goal"

    def refused() -> str:
        before = tree(tmp_path)
        with pytest.raises(HistodsError) as caught:
            bring(moves)
        assert tree(tmp_path) == before
        return str(caught.value)

    os.utime(data / "1", ns=(5, 5))
    assert refused() == (f"{data}/1 has another size or time than was planned; fix that.")
    os.utime(data / "1", ns=(5, moves[1].mtime_ns))
    (data / "2").rename(tmp_path / "away")
    (goal / "0").write_bytes(b"mine")
    assert refused() == (f"{data}/2 is gone, and there is no {goal}/2 either; fix that.")
    (tmp_path / "away").rename(data / "2")
    (goal / "0").unlink()
    (goal / "0").symlink_to("../data/0")
    (data / "2").unlink()
    (goal / "2").write_bytes(b"already there")
    assert refused() == f"{goal}/0 exists already; fix that."


def test_equal_size_and_time_are_not_taken_for_a_copy_when_the_content_differs(tmp_path: Path) -> None:
    moves = make_moves(tmp_path, 1)
    (tmp_path / "goal").mkdir()
    Path(moves[0].target).write_bytes(b"?")
    os.utime(moves[0].target, ns=(0, moves[0].mtime_ns))
    assert survey(moves)[Found.BOTH] == moves
    with pytest.raises(HistodsError, match="/goal/0 exists already; fix that"):
        bring(moves)
    assert Path(moves[0].source).read_bytes() == b"\0"


def test_a_new_file_at_a_source_that_has_moved_is_left_alone(tmp_path: Path) -> None:
    moves = make_moves(tmp_path, 2)
    bring(moves)
    Path(moves[0].source).write_bytes(b"newer")
    assert bring(moves) == 0
    assert Path(moves[0].source).read_bytes() == b"newer"
    with pytest.raises(HistodsError, match="/data/0 exists already; fix that"):
        bring(back(moves))


def test_folders_that_were_tidied_away_are_made_again(tmp_path: Path) -> None:
    moves = make_moves(tmp_path)
    bring(moves)
    (tmp_path / "data").rmdir()
    assert bring(back(moves)) == 3
    assert len(list((tmp_path / "data").iterdir())) == 3


def test_a_link_or_a_file_in_the_way_of_a_folder_is_refused(tmp_path: Path) -> None:
    moves = make_moves(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    in_the_way: tuple[Callable[[], None], ...] = (
        lambda: (tmp_path / "goal").symlink_to("elsewhere"),
        (tmp_path / "goal").touch,
    )
    for make in in_the_way:
        make()
        with pytest.raises(HistodsError) as caught:
            plan_folders(moves)
        assert str(caught.value) == (
            f"{tmp_path}/goal is a file or a link, not a folder; choose another folder for --to."
        )
        (tmp_path / "goal").unlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_refused_first(tmp_path: Path) -> None:
    moves = make_moves(tmp_path)
    (tmp_path / "data").chmod(0o555)
    with pytest.raises(HistodsError, match="You may not write in the folder .*/data"):
        plan_folders(moves)


def test_a_folder_that_is_no_longer_empty_stays(tmp_path: Path) -> None:
    moves = make_moves(tmp_path)
    folders = plan_folders(moves)
    bring(moves)
    (tmp_path / "goal" / "mine").touch()
    bring(back(moves))
    restore_folders(folders)
    assert [path.name for path in (tmp_path / "goal").iterdir()] == ["mine"]
