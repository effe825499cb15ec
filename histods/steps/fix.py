"""fix: move the files of a finding out of the dataset, by a journal that finishes or undoes every move."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from histods.checks import CHECKS
from histods.dataset.manifest import Manifest
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import only_one
from histods.io.workspace import Workspace
from histods.measurement.findings_file import read_findings
from histods.moves.execute import (
    Found,
    Move,
    carry_out,
    check_moves,
    plan_folders,
    restore_folders,
    survey,
)
from histods.moves.journal import (
    Plan,
    find_unfinished,
    is_repair,
    list_unfinished,
    mark,
    masks_place,
    read_journal,
    say_interrupted,
    undo_command,
    write_journal,
)
from histods.moves.plan import choose_files
from histods.printing import printed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from histods.io.audit_summary import AuditSummary
    from histods.moves.journal import Journal
    from histods.moves.plan import Stay
    from histods.records import Progress

EXAMPLES = 5
CODES = tuple(check.code for check in CHECKS)


@printed(table="moves")
@dataclass(frozen=True, kw_only=True, slots=True)
class FixResult:
    """What a fix would move, has moved, or has moved back.

    Attributes:
        code: code of the finding.
        state: `planned` (nothing was moved), `moved` or `undone`.
        root: the dataset's folder.
        to: where the files go, with the paths that they have below the root.
        masks_to: where masks go; another folder than `to` for `zero_mask` alone.
        samples: samples of which a file moves.
        moves: every move, with absolute paths.
        files_moved: files that this call moved; fewer than `moves` where it went on after an interruption.
        stays: samples of the finding that stay, by reason.
        journal: the journal; None where there was nothing to move, or nothing was moved.
        interrupted: the moves are those of an earlier run that was interrupted.
        pairs_file: the CSV file that still names what was moved; None for other layouts.
        audit: the command that makes the audit again; empty where a fix was undone.
    """

    code: str
    state: Literal["planned", "moved", "undone"]
    root: Path
    to: Path
    masks_to: Path
    samples: int
    moves: tuple[Move, ...]
    files_moved: int = 0
    stays: tuple[Stay, ...] = ()
    journal: Path | None = None
    interrupted: bool = False
    pairs_file: str | None = None
    audit: str = ""

    @property
    def bytes(self) -> int:
        """Bytes of all files that move."""
        return sum(move.bytes for move in self.moves)

    def folders(self) -> list[tuple[str, int, int]]:
        """Folder below the root, files and bytes that leave it; sorted by folder."""
        files: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for move in self.moves:
            folder = move.source.rpartition("/")[0]
            files[folder] += 1
            sizes[folder] += move.bytes
        inside = {folder: PurePosixPath(folder).relative_to(self.root.as_posix()).as_posix() for folder in files}
        return sorted((inside[folder], number, sizes[folder]) for folder, number in files.items())


def fix(
    code: str | None = None,
    *,
    to: str | Path | None = None,
    apply: bool = False,
    undo: str | Path | None = None,
    workspace: str | Path | None = None,
    progress: Progress | None = None,
) -> FixResult:
    """Move the images and masks of all samples with a finding to another folder, or back.

    Without `apply` and `undo` nothing is written. An interrupted run is finished by the same call, or undone;
    undoing restores names, contents and times, of folders too if the last fix is undone first.

    Args:
        code: code of the finding. The images of `zero_mask` go to `to`, a folder for `audit --unconditional`,
            and their masks beside it, to a folder with `-masks` after its name.
        to: folder outside the dataset; files keep the path that they have below the root.
        apply: move the files.
        undo: journal of a fix to undo, in place of all others.
        workspace: folder of the audit; gets `fixes/CODE-N.jsonl`, the journal.
        progress: called with a stage, files done and files in all.

    Raises:
        HistodsError: the call is wrong, a place is taken, or another fix was interrupted; nothing was moved
            unless the message says so.
        StaleFileError: the audit's files changed, or a file of the dataset did.
    """
    if undo is not None:
        if code is not None or to is not None or apply:
            raise HistodsError("--undo JOURNAL takes no other options; leave them out.")
        return _undo(Path(undo), progress)
    if code is None:
        raise HistodsError(
            "There is nothing to fix or undo here; give a code and --to DIR, "
            "such as 'histods fix unreadable_mask --to DIR', or --undo JOURNAL."
        )
    _check_code(code)
    if to is None:
        raise HistodsError(
            "There is no folder yet to move the files to; give one outside the dataset: "
            f"'histods fix {code} --to DIR'."
        )
    space = Workspace.find(workspace)
    audit = space.read_audit()
    root = _parse_root(audit.root)
    goal = _parse_place(Path(to), code, root, space)
    with only_one(space.fixes, "moves files") if apply else nullcontext():
        known = find_unfinished(space.fixes)
        if known is not None:
            path, plan, state = known
            if state == "undoing" or (plan.code, plan.root, plan.to) != (code, str(root), str(goal)):
                raise HistodsError(_say_unfinished(path, plan, state, space, root))
            result = _finish(read_journal(path), apply=apply, interrupted=True, progress=progress)
            return replace(result, pairs_file=audit.options.pairs, audit=audit.command)
        for path, state in list_unfinished(space.fixes):
            raise HistodsError(say_interrupted(path, state))
        manifest, findings = _read_tables(space, audit)
        choice = choose_files(
            code, manifest, findings, root=str(root), to=str(goal), masks_to=str(_masks_place(goal, code))
        )
        _check_disk(choice.moves, root, audit, progress)
        plan = Plan(
            code=code,
            root=str(root),
            to=str(goal),
            manifest_digest=audit.manifest_digest,
            samples=choice.samples,
            folders=plan_folders(choice.moves),
        )
        result = _result(plan, choice.moves, "planned")
        if apply and choice.moves:
            journal = read_journal(write_journal(space.fixes, plan, choice.moves))
            result = _finish(journal, apply=True, interrupted=False, progress=progress)
        return replace(result, stays=choice.stays, pairs_file=audit.options.pairs, audit=audit.command)


def to_document(result: FixResult) -> dict[str, Any]:
    """The document of `--json`: numbers, and the first few moves; all of them are in the journal."""
    return {
        "code": result.code,
        "state": result.state,
        "root": result.root.as_posix(),
        "to": result.to.as_posix(),
        "masks_to": result.masks_to.as_posix(),
        "samples": result.samples,
        "files": len(result.moves),
        "bytes": result.bytes,
        "folders": [{"folder": folder, "files": files, "bytes": size} for folder, files, size in result.folders()],
        "first_moves": [move._asdict() for move in result.moves[:EXAMPLES]],
        "files_moved": result.files_moved,
        "stays": [asdict(stay) for stay in result.stays],
        "journal": None if result.journal is None else str(result.journal),
        "interrupted": result.interrupted,
        "pairs_file": result.pairs_file,
    }


def _result(plan: Plan, moves: Sequence[Move], state: Literal["planned", "moved", "undone"]) -> FixResult:
    return FixResult(
        code=plan.code,
        state=state,
        root=Path(plan.root),
        to=Path(plan.to),
        masks_to=_masks_place(Path(plan.to), plan.code),
        samples=plan.samples,
        moves=tuple(moves),
    )


def _finish(journal: Journal, *, apply: bool, interrupted: bool, progress: Progress | None) -> FixResult:
    """Move what is left of a plan; without `apply`, only look."""
    again = f"fix that and run the same command again to continue, or undo it with '{undo_command(journal.path)}'"
    result = replace(_result(journal.plan, journal.moves, "planned"), interrupted=interrupted)
    if not apply:
        found = survey(journal.moves, progress)
        return replace(result, journal=journal.path, moves=(*found[Found.BOTH], *found[Found.READY]))
    left = check_moves(journal.moves, token=journal.token, advice=again, progress=progress)
    moved = carry_out(left, token=journal.token, stage="moving files", advice=again, progress=progress)
    mark(journal.path, "moved")
    return replace(result, state="moved", journal=journal.path, files_moved=moved)


def _undo(path: Path, progress: Progress | None) -> FixResult:
    """Move everything back, in reverse, and give the folders their times."""
    if is_repair(path):
        raise HistodsError(f"{path} is the journal of a repair; undo it with repair(undo=...).")
    with only_one(path.parent, "moves files") if path.is_file() else nullcontext():
        journal = read_journal(path)
        plan = journal.plan
        if journal.state == "undone":
            raise HistodsError(f"The fix in {path} is already undone; leave it.")
        _parse_root(plan.root)
        back = [Move(move.target, move.source, move.bytes, move.mtime_ns) for move in reversed(journal.moves)]
        again = "fix that and run the same command again"
        left = check_moves(back, token=journal.token, advice=again, progress=progress)
        if journal.state != "undoing":
            mark(path, "undoing")
        moved = carry_out(left, token=journal.token, stage="moving files back", advice=again, progress=progress)
        restore_folders(plan.folders)
        mark(path, "undone")
    return replace(_result(plan, journal.moves, "undone"), journal=path, files_moved=moved)


def apply_command(code: str, to: Path | str, workspace: Path) -> str:
    """The command that does a fix."""
    return f"histods fix {code} --to {shlex.quote(str(to))} --apply -w {shlex.quote(str(workspace))}"


def _say_unfinished(path: Path, plan: Plan, state: str, space: Workspace, root: Path) -> str:
    if state == "undoing":
        return f"Undoing {path.name} in {space.fixes} was interrupted; finish that with '{undo_command(path)}'."
    ways = [f"undo it with '{undo_command(path)}'"]
    if plan.root == str(root):  # else this workspace has another dataset by now
        ways.insert(0, f"finish it with '{apply_command(plan.code, plan.to, space.folder)}'")
    return f"The fix {path.name} in {space.fixes} was interrupted; {' or '.join(ways)}."


def _check_code(code: str) -> None:
    if code in CODES:
        return
    near = get_close_matches(code, CODES, 1)
    hint = f"did you mean {near[0]}? The codes are" if near else "choose one of"
    raise HistodsError(f"There is no finding {code!r}; {hint} {', '.join(CODES)}.")


def _parse_root(root: str) -> Path:
    if not os.path.isdir(root):  # noqa: PTH112 - False for what is no possible path, too
        raise HistodsError(f"The dataset {root} is gone; bring it back or audit again.")
    return Path(root)


def _masks_place(goal: Path, code: str) -> Path:
    """Masks go where their images go, but not into a folder of images without masks."""
    return Path(masks_place(str(goal), code))


def _parse_place(to: Path, code: str, root: Path, space: Workspace) -> Path:
    """The folder to move to, without links in its path.

    Raises:
        HistodsError: the next audit would find the files there again, or they would lie among the audit's own.
    """
    goal, inside = to.resolve(), space.folder.resolve()
    apart = not root.is_relative_to(goal)
    for place in (goal, _masks_place(goal, code)) if apart else ():
        apart = apart and not place.is_relative_to(root) and not place.is_relative_to(inside)
        apart = apart and not root.is_relative_to(place)
    if not apart:
        raise HistodsError(
            f"{to} is not apart from the dataset {root} and the workspace {space.folder}; "
            f"choose another folder for --to, such as {root}-{code}."
        )
    return goal


def _read_tables(space: Workspace, audit: AuditSummary) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The manifest and the findings, both as the last audit wrote them."""
    return Manifest.read(space.manifest).to_polars(), read_findings(space, audit)


def _check_disk(moves: Sequence[Move], root: Path, audit: AuditSummary, progress: Progress | None) -> None:
    """Prove that every file is the one that was audited, and that its place is free.

    Raises:
        StaleFileError: a file has changed since the audit, or is gone.
        HistodsError: something stands where a file must go.
    """
    found = survey(moves, progress)
    changed, gone = found[Found.CHANGED], [*found[Found.GONE], *found[Found.DONE]]
    if changed or gone:
        first, what = (changed[0], "has another size or time") if changed else (gone[0], "is gone")
        others = len(changed) + len(gone) - 1
        raise StaleFileError(
            f"{Path(first.source).relative_to(root)} is not as the last audit read it: it {what}"
            f"{f' (and {others:,} more changed)' if others else ''}; "
            f"run '{audit.command}' again."
        )
    taken = [*found[Found.TAKEN], *found[Found.BOTH]]
    if taken:
        more = f" (and {len(taken) - 1:,} more like it)" if len(taken) > 1 else ""
        raise HistodsError(f"{taken[0].target} exists already{more}; choose another folder for --to.")
