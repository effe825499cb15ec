"""Plan a repair, carry it out by its journal, and undo it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from histods.engines import Failed, engine_for
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import make_folders
from histods.moves.execute import Move, plan_folders, restore_folders
from histods.moves.journal import is_repair, list_journals, mark, next_journal, read_journal
from histods.remedies.base import RefusedError
from histods.repairs.choose import ALONE, check_renames, choose_tasks, find_lonely, flagged_paths
from histods.repairs.journal import (
    RepairPlan,
    changes_dataset,
    places_of,
    read_repair_journal,
    write_repair_journal,
)
from histods.repairs.staging import Attempt, Outcome, make_repaired
from histods.repairs.swap import Step, Swap, can_undo, look, remove_parts, run_swaps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import polars as pl

    from histods.dataset.manifest import Manifest
    from histods.records import Progress
    from histods.remedies import Remedy
    from histods.remedies.base import Dataset
    from histods.repairs.choose import Refusals
    from histods.repairs.journal import RepairJournal
    from histods.repairs.staging import RepairTask

CHUNK = 64
"""Files per task of a worker: 0.1 s of work; a repair of so few files needs no workers."""
FAILED = "the repair failed"


def study_dataset(remedies: Sequence[Remedy], dataset: Dataset) -> list[Attempt]:
    """Let each remedy look at the whole dataset."""
    attempts = []
    for remedy in remedies:
        try:
            attempts.append(Attempt(remedy, remedy.study(dataset), None))
        except RefusedError as error:
            attempts.append(Attempt(remedy, None, (error.reason, error.detail)))
    return attempts


def make_all(
    tasks: Sequence[RepairTask],
    attempts: Sequence[Attempt],
    *,
    root: str,
    named: bool,
    folder: str | None,
    workers: int | None,
    progress: Progress | None,
) -> list[Outcome]:
    """Repair all files, in the order of the tasks; see `make_repaired`."""
    work = partial(make_repaired, root=root, attempts=attempts, named=named, folder=folder)
    if len(tasks) <= CHUNK:
        return work(tasks)
    outcomes: dict[str, Outcome] = {}
    chunks = (tasks[first : first + CHUNK] for first in range(0, len(tasks), CHUNK))
    with engine_for("local", workers) as engine:
        for done in engine.run(work, chunks):
            if isinstance(done, Failed):
                task = done.chunk[0]
                failed = Outcome(task.path, (task.bytes, task.mtime_ns), reason=FAILED, detail=done.error)
                outcomes[task.path] = failed
            else:
                outcomes |= {outcome.path: outcome for outcome in done.value}
            if progress is not None:
                progress("repairing files", len(outcomes), len(tasks))
    return [outcomes[task.path] for task in tasks]


def plan_tasks(
    code: str, manifest: pl.DataFrame, findings: pl.DataFrame, root: str, refusals: Refusals
) -> list[RepairTask]:
    """The files with a finding, or the masks of a kind, that may be repaired."""
    return choose_tasks(flagged_paths(code, manifest, findings), manifest, root, refusals)


def sort_outcomes(
    outcomes: Sequence[Outcome], manifest: Manifest, root: str, refusals: Refusals, again: str
) -> list[Outcome]:
    """The outcomes with a repaired file; the reasons of the others are added to `refusals`.

    Raises:
        HistodsError: a repaired file could not be written.
        StaleFileError: a file is not as the audit read it; `again` is the command that audits again.
    """
    failed = [outcome for outcome in outcomes if outcome.disk]
    if failed:
        raise HistodsError(f"Nothing was replaced, since {failed[0].disk}; fix that and run the command again.")
    stale = [outcome for outcome in outcomes if outcome.stale]
    if stale:
        more = f" (and {len(stale) - 1:,} more changed)" if len(stale) > 1 else ""
        raise StaleFileError(
            f"{stale[0].path} is not as the last audit read it: it has another size or time{more}; "
            f"run '{again}' again."
        )
    names = check_renames(outcomes, manifest.to_polars(), manifest.provenance, root)
    made = []
    for outcome in outcomes:
        if outcome.path in names:
            refusals.add(outcome.path, names[outcome.path], outcome.target.rpartition("/")[2])
        elif not outcome.remedy:
            refusals.add(outcome.path, outcome.reason, outcome.detail)
        else:
            made.append(outcome)
    lonely = find_lonely(made)
    for path, other in lonely.items():
        refusals.add(path, ALONE, other)
    return [outcome for outcome in made if outcome.path not in lonely]


def new_journal(fixes: Path, code: str) -> Path:
    """The path of the next journal; what a killed run left beside it is removed, but never originals."""
    path = next_journal(fixes, code)
    number = int(path.stem.rpartition("-")[2])
    while Path(places_of(path, "", "").originals).exists():
        number += 1
        path = fixes / f"{code}-{number}.jsonl"
    beside = Path(places_of(path, "", "").staged).parent
    for folder in (beside, beside / "repaired"):
        if folder.is_symlink():
            raise HistodsError(f"{folder} is a link, which histods does not make; remove it.")
    shutil.rmtree(beside / "repaired", ignore_errors=True)
    return path


@contextmanager
def discarding(path: Path) -> Iterator[None]:
    """Remove the staged files at the end, unless there is a journal that needs them by then."""
    try:
        yield
    finally:
        if not path.exists():
            staged = Path(places_of(path, "", "").staged)
            shutil.rmtree(staged, ignore_errors=True)
            _remove_if_empty(staged.parent)


def write_plan(
    path: Path, made: Sequence[Outcome], *, code: str, remedy: str | None, root: str, to: str, manifest_digest: str
) -> None:
    """Write the journal of repaired files that are staged beside it.

    Raises:
        HistodsError: a folder cannot be written, or a file in the target folder is in the way.
    """
    places = places_of(path, root, to)
    swaps = [Swap(one.path, one.target, *one.old, *one.new) for one in made]
    taken = [swap for swap in swaps if look(swap, places) is not Step.READY]
    if taken:
        more = f" (and {len(taken) - 1:,} more like it)" if len(taken) > 1 else ""
        raise HistodsError(f"{to}/{taken[0].target} exists already{more}; choose another folder for --to.")
    if places.in_place:
        writes = [Move(f"{root}/{swap.path}", f"{places.originals}/{swap.path}", 0, 0) for swap in swaps]
    else:  # the dataset may be read-only
        writes = [Move(f"{places.staged}/{swap.target}", f"{to}/{swap.target}", 0, 0) for swap in swaps]
    plan = RepairPlan(
        code=code,
        remedy=remedy,
        root=root,
        to=to,
        manifest_digest=manifest_digest,
        folders=plan_folders(writes),
    )
    write_repair_journal(path, plan, swaps)


def left_of(journal: RepairJournal) -> list[Swap]:
    """The swaps that are not done.

    Raises:
        HistodsError: a file is not as planned.
    """
    steps = [look(swap, journal.places) for swap in journal.swaps]
    for step, problem in (
        (Step.CHANGED, "{root}/{path} has another size or time than was planned"),
        (Step.TAKEN, "{to}/{target} exists already"),
        (Step.LOST, "the repaired file of {root}/{path} is gone"),
    ):
        _refuse(journal, [swap for swap, found in _zip(journal, steps) if found is step], problem)
    return [swap for swap, found in _zip(journal, steps) if found is Step.READY]


def finish(journal: RepairJournal, progress: Progress | None, advice: str) -> int:
    """Do what is left of a repair; returns the number of files that were put in their places.

    Raises:
        HistodsError: a file is not as planned, or the disk failed; `advice` says what to do then.
    """
    places = journal.places
    remove_parts(journal.swaps, places, journal.token)
    left = left_of(journal)
    make_folders(Path(places.originals).parent)
    number = run_swaps(
        "replacing files", left, places, journal.token, undo=False, advice=advice, progress=progress
    )
    shutil.rmtree(places.staged, ignore_errors=True)
    mark(journal.path, "moved")
    return number


def find_later(journal: RepairJournal) -> Path | None:
    """The journal beside this one of a fix or repair that took its repaired files, and is not undone."""
    made = {f"{journal.plan.to}/{swap.target}": swap.new for swap in journal.swaps}
    for path in list_journals(journal.path.parent):
        if path.name == journal.path.name:
            continue
        taken: Iterable[tuple[str, tuple[int, int]]]
        if is_repair(path):
            repair = read_repair_journal(path)
            state = repair.state
            if not changes_dataset(path):
                continue
            taken = ((f"{repair.plan.root}/{swap.path}", swap.old) for swap in repair.swaps)
        else:
            fix = read_journal(path)
            state = fix.state
            taken = ((move.source, (move.bytes, move.mtime_ns)) for move in fix.moves)
        if state != "undone" and any(made.get(name) == old for name, old in taken):
            return path
    return None


def undo(journal: RepairJournal, progress: Progress | None, advice: str) -> int:
    """Restore every original, or remove the repaired files beside the dataset; returns the number of files.

    Raises:
        HistodsError: a file has changed since, or the disk failed; `advice` says what to do then.
    """
    places = journal.places
    remove_parts(journal.swaps, places, journal.token)
    steps = [can_undo(swap, places) for swap in journal.swaps]
    for step, problem in (
        (Step.CHANGED, "{to}/{target} has changed since it was repaired"),
        (Step.LOST, "the original of {root}/{path} is gone from " + places.originals),
    ):
        _refuse(journal, [swap for swap, found in _zip(journal, steps) if found is step], problem, advice)
    left = [swap for swap, found in _zip(journal, steps) if found is Step.READY]
    if journal.state != "undoing":
        mark(journal.path, "undoing")
    number = run_swaps("restoring files", left, places, journal.token, undo=True, advice=advice, progress=progress)
    shutil.rmtree(places.staged, ignore_errors=True)
    restore_folders(journal.plan.folders)
    _remove_if_empty(Path(places.originals))
    _remove_if_empty(Path(places.originals).parent)
    mark(journal.path, "undone")
    return number


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _zip(journal: RepairJournal, steps: Sequence[Step]) -> Iterator[tuple[Swap, Step]]:
    return zip(journal.swaps, steps, strict=True)


def _refuse(
    journal: RepairJournal, swaps: Sequence[Swap], problem: str, advice: str = "fix that and run the command again"
) -> None:
    if swaps:
        plan, first = journal.plan, swaps[0]
        text = problem.format(root=plan.root, to=plan.to, path=first.path, target=first.target)
        more = f" (and {len(swaps) - 1:,} more like it)" if len(swaps) > 1 else ""
        raise HistodsError(f"{text}{more}; {advice}.")
