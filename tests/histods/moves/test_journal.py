"""A journal is read as it was written, or refused; a state counts once its line is whole."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.moves.execute import Folders, Move
from histods.moves.journal import (
    Plan,
    digest_of,
    find_unfinished,
    list_journals,
    mark,
    masks_place,
    read_journal,
    to_line,
    write_journal,
)


def make_plan(**changes: object) -> Plan:
    values = {"code": "zero_mask", "root": "/d", "to": "/q", "manifest_digest": "00", "samples": 2}
    return Plan(**{**values, "folders": Folders(["/q"], {"/d": 5})} | changes)  # type: ignore[arg-type]


MOVES = [Move("/d/a\nä", "/q/a\nä", 3, 7), Move("/d/{b}\udcff", "/q/{b}\udcff", 0, 2**61)]


def test_a_journal_is_read_as_it_was_written_and_counts_up(tmp_path: Path) -> None:
    written = [write_journal(tmp_path, make_plan(), MOVES) for _ in range(11)]
    assert [path.name for path in written] == [f"zero_mask-{number}.jsonl" for number in range(1, 12)]
    other = write_journal(tmp_path, make_plan(code="wide_mask"), MOVES)
    assert other.name == "wide_mask-1.jsonl"
    journal = read_journal(written[-1])
    assert (journal.plan, journal.moves, journal.state) == (make_plan(), MOVES, "planned")
    assert len({read_journal(path).token for path in [*written, other]}) == 12
    assert set(list_journals(tmp_path)) == {*written, other}
    assert find_unfinished(tmp_path) == (other, make_plan(code="wide_mask"), "planned")
    for path in [*written, other]:
        mark(path, "moved")
    assert find_unfinished(tmp_path) is None
    mark(written[3], "undoing")
    assert find_unfinished(tmp_path) == (written[3], make_plan(), "undoing")
    mark(written[3], "undone")
    assert read_journal(written[3]).state == "undone"
    assert find_unfinished(tmp_path) is None


@settings(max_examples=60, deadline=None)
@example(cut=392, junk=b"")  # all but the plan's last newline
@given(cut=st.integers(0, 500), junk=st.binary(max_size=30))
def test_a_journal_that_was_cut_or_changed_is_refused_and_a_torn_state_is_none(cut: int, junk: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_journal(Path(folder), make_plan(), MOVES)
        whole = path.read_bytes()
        mark(path, "moved")
        content = path.read_bytes()[: min(cut, len(whole) + 18)]
        path.write_bytes(content + (junk.replace(b"\n", b"") if len(content) >= len(whole) else junk))
        if len(content) >= len(whole):
            assert read_journal(path).state == "planned"
            mark(path, "undone")
            assert path.read_bytes() == whole + b'{"state": "undone"}\n'
        elif path.read_bytes()[: len(whole)] != whole:
            with pytest.raises(HistodsError, match=" is (not the journal of a fix|damaged: [^;]*); "):
                read_journal(path)


def test_what_is_no_journal_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(HistodsError) as caught:
        read_journal(tmp_path / "none")
    assert str(caught.value) == (
        f"{tmp_path}/none cannot be read (No such file or directory); look for the journal of the fix in "
        "the folder fixes of the workspace."
    )
    for content in (b"", b"[]\n", b"\xff\n", b'{"version": 1}\n', b"{}\n"):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(HistodsError) as caught:
            read_journal(tmp_path / "x")
        assert str(caught.value) == (
            f"{tmp_path}/x is not the journal of a fix; look for it in the folder fixes of the workspace."
        )


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=9)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3).map("/".join)


@settings(max_examples=20, deadline=None)
@given(paths=st.sets(PATHS, max_size=5), size=st.integers(0, 2**62), time=st.integers(-(2**62), 2**62))
def test_any_moves_come_back(paths: set[str], size: int, time: int) -> None:
    moves = [Move(f"/d/{path}", f"/q/{path}", size, time) for path in paths]
    with tempfile.TemporaryDirectory() as folder:
        assert read_journal(write_journal(Path(folder), make_plan(), moves)).moves == moves


def forged(path: Path, **header: Any) -> Path:
    """A journal with another header or other moves, and the digest that belongs to them."""
    lines = path.read_bytes().splitlines(keepends=True)
    moves = header.pop("lines", [move._asdict() for move in MOVES])
    document = json.loads(lines[0]) | {"moves": len(moves)} | header
    content = b"".join(map(to_line, [document, *moves]))
    path.write_bytes(content + to_line({"digest": digest_of(content)}))
    return path


MOVE = Move("/d/a", "/q/a", 3, 7)._asdict()


@pytest.mark.parametrize(
    "header",
    [
        {"lines": [MOVE | {"source": "/etc/passwd"}]},
        {"lines": [MOVE | {"source": "/d/../etc/passwd"}]},
        {"lines": [MOVE | {"target": "/home/x"}]},
        {"lines": [MOVE | {"target": "/q/../home/x"}]},
        {"lines": [MOVE | {"bytes": -1}]},
        {"lines": [MOVE | {"mtime_ns": "now"}]},
        {"lines": [{"source": "/d/a"}]},
        {"to": "/d/inside"},
        {"root": "relative"},
        {"created": ["/home"]},
        {"touched": {"/etc": 5}},
    ],
    ids=str,
)
def test_a_sound_digest_does_not_make_a_journal_of_other_places_one_of_ours(
    tmp_path: Path, header: dict[str, Any]
) -> None:
    path = forged(write_journal(tmp_path, make_plan(), MOVES), **header)
    with pytest.raises(HistodsError, match="histods wrote no such journal: remove that file.$"):
        read_journal(path)


def test_a_link_out_of_the_dataset_is_followed_by_no_move(tmp_path: Path) -> None:
    root, to = tmp_path / "d", tmp_path / "q"
    root.mkdir()
    (root / "out").symlink_to("/etc")
    plan = make_plan(root=str(root), to=str(to), folders=Folders([], {}))
    path = write_journal(tmp_path, plan, [Move(f"{root}/out/passwd", f"{to}/out/passwd", 1, 1)])
    with pytest.raises(HistodsError, match="in which a link leads elsewhere"):
        read_journal(path)


def test_masks_without_labels_are_kept_apart_from_their_images() -> None:
    assert masks_place("/q", "zero_mask") == "/q-masks"
    assert masks_place("/q", "wide_mask") == "/q"


def test_other_files_are_no_journals(tmp_path: Path) -> None:
    for name in ("zero_mask.jsonl", "zero_mask-1.json", "Zero-1.jsonl", "zero_mask-x.jsonl", ".zero_mask-1.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "zero_mask-9.jsonl").mkdir()
    assert list_journals(tmp_path) == []
    assert find_unfinished(tmp_path / "none") is None
