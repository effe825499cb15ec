"""The journal of a fix: the whole plan is on disk before the first file moves, and its completion is noted last.

It is a text file of JSON lines: a header, one line per move, the digest of these lines, and then, appended, one
line per state reached. A state counts only if its line is complete.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import xxhash

from histods.errors import HistodsError
from histods.io.atomic import refuse_pipe, replacing
from histods.io.checked import build, fit, leads_inside, lies_inside, stays_inside
from histods.moves.execute import Folders, Move

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

State = Literal["planned", "moved", "undoing", "undone"]

VERSION = 1
_LONGEST_HEADER = 1 << 30  # bytes; it lists folders
_TAIL = 4096  # more than all the lines of states, which are under 32 bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The plan of a fix: the header of its journal.

    Attributes:
        code: the code of the findings.
        root: the dataset's folder.
        to: the target folder.
        manifest_digest: digest of the manifest that it was planned from.
        samples: number of samples whose files move.
        folders: folders that it creates and changes.
    """

    code: str
    root: str
    to: str
    manifest_digest: str
    samples: int
    folders: Folders


@dataclass(frozen=True, kw_only=True, slots=True)
class Journal:
    """A journal that was read: `token` is its digest, which is part of the names of temporary files."""

    path: Path
    plan: Plan
    moves: list[Move]
    state: State
    token: str


def write_journal(folder: Path, plan: Plan, moves: Sequence[Move]) -> Path:
    """Write the plan under the next free name `CODE-N.jsonl`, and wait until it is on disk."""
    path = next_journal(folder, plan.code)
    header = {
        "fix": plan.code,
        "version": VERSION,
        "journal": str(path.resolve()),  # two workspaces never share a digest, nor temporary files
        "root": plan.root,
        "to": plan.to,
        "manifest_digest": plan.manifest_digest,
        "samples": plan.samples,
        "moves": len(moves),
        "created": plan.folders.created,
        "touched": plan.folders.touched,
    }
    content = to_line(header) + b"".join(to_line(move._asdict()) for move in moves)
    write_lines(path, content)
    return path


def next_journal(folder: Path, code: str) -> Path:
    """The next free name `CODE-N.jsonl`."""
    numbers = [int(path.stem.rpartition("-")[2]) for path in list_journals(folder, code)]
    return folder / f"{code}-{max(numbers, default=0) + 1}.jsonl"


def write_lines(path: Path, content: bytes) -> None:
    """Write the lines of a plan and their digest, and wait until they are on disk."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content + to_line({"digest": digest_of(content)}))
        file.flush()
        os.fsync(file.fileno())
    for parent in (path.parent, path.parent.parent):  # the names, too
        descriptor = os.open(parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def read_journal(path: Path) -> Journal:
    """Read a journal and verify that its plan is unchanged.

    Raises:
        HistodsError: there is none, or its bytes have changed.
    """
    lines = read_content(path).splitlines(keepends=True)
    header = _parse(path, lines[0] if lines else b"")
    end = header.moves + 1
    token = check_digest(path, lines, end)
    try:
        moves = [_parse_move(from_line(line)) for line in lines[1:end]]
        _check_places(header, moves)
    except (KeyError, ValueError) as error:
        raise HistodsError(
            f"{path} does not hold moves between {header.root} and {header.to} ({error}); "
            "histods wrote no such journal: remove that file."
        ) from error
    return Journal(
        path=path,
        plan=Plan(
            code=header.fix,
            root=header.root,
            to=header.to,
            manifest_digest=header.manifest_digest,
            samples=header.samples,
            folders=Folders(header.created, header.touched),
        ),
        moves=moves,
        state=last_state(lines[end + 1 :]),
        token=token,
    )


def check_digest(path: Path, lines: Sequence[bytes], end: int) -> str:
    """The digest of the first `end` lines, which the next line must hold.

    Raises:
        HistodsError: it does not.
    """
    digest = digest_of(b"".join(lines[:end]))
    if len(lines) <= end or lines[end] != to_line({"digest": digest}):  # with its newline: states follow
        raise HistodsError(
            f"{path} is damaged: it does not hold the whole plan that was written to it; restore that file."
        )
    return digest


def masks_place(to: str, code: str) -> str:
    """The target folder of masks: that of their images, unless it is a folder of images without masks."""
    return f"{to}-masks" if code == "zero_mask" else to


def _parse_move(document: dict[str, Any]) -> Move:
    kinds = (str, str, int, int)
    move = Move(*(fit(document[name], kind, name) for name, kind in zip(Move._fields, kinds, strict=True)))
    if move.bytes < 0:
        raise ValueError(f"{move.source} of {move.bytes} bytes")
    return move


def _check_places(header: _Header, moves: Sequence[Move]) -> None:
    """Check that all files and folders are in the dataset or in the target folder.

    Raises:
        ValueError: one is elsewhere, or behind a link that leads elsewhere.
    """
    targets = (header.to, masks_place(header.to, header.fix))
    for place in (header.root, *targets):
        if not place.startswith("/") or not stays_inside(place[1:]):
            raise ValueError(f"the folder {place!r}")
    if any(place == header.root or lies_inside(place, header.root) for place in targets):
        raise ValueError(f"the folder {header.to} in the dataset")
    parents = {}
    for move in moves:
        for path, homes in ((move.source, [header.root]), (move.target, [*targets])):
            home = next((place for place in homes if lies_inside(path, place)), None)
            if home is None:
                raise ValueError(f"the file {path!r} elsewhere")
            parents[path.rpartition("/")[0]] = home
    for folder, home in parents.items():
        if not leads_inside(folder, home):
            raise ValueError(f"the folder {folder}, in which a link leads elsewhere")
    _check_folders((*header.created, *header.touched), header.root, targets)


def _check_folders(folders: Sequence[str], root: str, targets: Sequence[str]) -> None:
    """Check that folders are in the dataset, in the target folder, or above it."""
    for folder in folders:
        here = folder in (root, *targets) or any(lies_inside(folder, home) for home in (root, *targets))
        above = folder.startswith("/") and any(lies_inside(home, folder) for home in targets)
        if not here and not above:
            raise ValueError(f"the folder {folder!r} elsewhere")


def mark(path: Path, state: State) -> None:
    """Record that a state was reached, and wait until that is on disk."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        tail_start = file.seek(max(0, size - _TAIL))
        tail = file.read()
        file.truncate(tail_start + tail.rfind(b"\n") + 1)  # a kill may have left an incomplete line
        file.seek(0, os.SEEK_END)
        file.write(to_line({"state": state}))
        file.flush()
        os.fsync(file.fileno())


def find_unfinished(folder: Path) -> tuple[Path, Plan, State] | None:
    """The journal of an interrupted fix or undo, but not of a repair; there is at most one."""
    for path, state in list_unfinished(folder):
        if not is_repair(path):
            return path, read_journal(path).plan, state
    return None


def list_unfinished(folder: Path) -> list[tuple[Path, State]]:
    """The journals of interrupted fixes, repairs and undos, with their states."""
    found: list[tuple[Path, State]] = []
    for path in list_journals(folder):
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            state = last_state(file.read().splitlines(keepends=True))
        if state in ("planned", "undoing"):
            found.append((path, state))
    return found


def is_repair(path: Path) -> bool:
    """Whether a journal is that of a repair, which replaces files instead of moving them."""
    refuse_pipe(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return "repair" in from_line(file.readline(_LONGEST_HEADER))


def undo_command(journal: Path) -> str:
    """The command that undoes a fix or a repair."""
    return f"histods fix --undo {shlex.quote(str(journal))}"


def say_interrupted(path: Path, state: str) -> str:
    """One line on an interrupted fix or repair that has to be finished or undone first."""
    if state == "undoing":
        return f"Undoing {path.name} in {path.parent} was interrupted; finish that with '{undo_command(path)}'."
    return (
        f"The fix {path.name} in {path.parent} was interrupted; run its command again to finish it, "
        f"or undo it with '{undo_command(path)}'."
    )


def list_journals(folder: Path, code: str = "") -> list[Path]:
    """Journals in a folder, for one code or all codes, sorted by name."""
    name = re.compile(rf"{re.escape(code) or '[a-z_]+'}-[0-9]+\.jsonl")
    return sorted(path for path in folder.glob("*.jsonl") if name.fullmatch(path.name) and path.is_file())


def read_content(path: Path) -> bytes:
    """The bytes of a journal.

    Raises:
        HistodsError: it cannot be read.
    """
    refuse_pipe(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise HistodsError(
            f"{path} cannot be read ({error.strerror}); "
            "look for the journal of the fix in the folder fixes of the workspace."
        ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """The first line of a journal; see `Plan`. `moves` is the number of lines that follow."""

    fix: str
    version: Literal[1]
    journal: str
    root: str
    to: str
    manifest_digest: str
    samples: int
    moves: int
    created: list[str]
    touched: dict[str, int]


def _parse(path: Path, line: bytes) -> _Header:
    try:
        header = build(_Header, from_line(line))
        if header.moves < 0:
            raise ValueError(f"{header.moves} moves")  # noqa: TRY301 - all that is wrong with it is one error
    except ValueError as error:
        raise HistodsError(
            f"{path} is not the journal of a fix; look for it in the folder fixes of the workspace."
        ) from error
    return header


def last_state(lines: Sequence[bytes]) -> State:
    """The last state with a complete line."""
    states = [from_line(line).get("state") for line in lines if line.endswith(b"\n")]
    last: State = next((state for state in reversed(states) if state in get_args(State)), "planned")
    return last


def to_line(document: dict[str, Any]) -> bytes:
    """One line of JSON; a name that is not UTF-8 keeps its bytes."""
    return (json.dumps(document, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")


def from_line(line: bytes) -> dict[str, Any]:
    """The object in a line; empty if there is none."""
    try:
        document = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def digest_of(content: bytes) -> str:
    """The digest of the lines of a plan."""
    return xxhash.xxh3_64_hexdigest(content)
