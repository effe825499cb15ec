"""repair: write the files of a finding as they should be, by a journal that finishes or undoes every change."""

from __future__ import annotations

import shlex
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from histods.dataset.manifest import Manifest
from histods.errors import HistodsError
from histods.io.atomic import only_one
from histods.io.workspace import Workspace
from histods.labels.audit_labels import labels_of_audit
from histods.labels.label_map_file import find_label_map
from histods.labels.label_names import read_labels
from histods.measurement.findings_file import read_findings
from histods.moves.journal import is_repair, list_unfinished, say_interrupted, undo_command
from histods.printing import printed
from histods.remedies import remedies_of, repairable
from histods.remedies.base import Dataset
from histods.repairs.choose import Refusals, flagged_paths
from histods.repairs.journal import places_of, read_repair_journal
from histods.repairs.run import (
    discarding,
    find_later,
    finish,
    left_of,
    make_all,
    new_journal,
    plan_tasks,
    sort_outcomes,
    study_dataset,
    undo,
    write_plan,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.io.audit_summary import AuditSummary
    from histods.labels.label_map import LabelTable
    from histods.records import Progress
    from histods.remedies import Remedy
    from histods.repairs.choose import Refusal
    from histods.repairs.journal import RepairJournal
    from histods.repairs.staging import Outcome

EXAMPLES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairedFile:
    """A file that is repaired, or would be.

    Attributes:
        path: the file, below the dataset's folder.
        target: the new file; another name if it is renamed.
        remedy: name of the remedy; empty if the file was repaired by an interrupted run.
        before: what is wrong with it, in a few words.
        after: the same of the repaired file.
    """

    path: str
    target: str
    remedy: str = ""
    before: str = ""
    after: str = ""


@printed(table="files")
@dataclass(frozen=True, kw_only=True, slots=True)
class RepairResult:
    """What a repair would write, has written, or has undone.

    Attributes:
        code: code of the finding, or kind of masks.
        remedy: the remedy that was asked for by name; None for the usual ones.
        state: `planned` (nothing was written), `repaired` or `undone`.
        root: the dataset's folder.
        to: the folder of repaired files; equal to `root` for a repair in place.
        files: the files that are repaired, or would be.
        files_changed: files that this call wrote or restored; fewer than `files` after an interruption.
        refused: files that stay as they are, by reason.
        journal: the journal; None if nothing was written.
        originals: folder of the originals that were replaced; None without any.
        interrupted: the files are those of an earlier run that was interrupted.
        audit: the command that makes the audit again; empty where a repair was undone.
    """

    code: str
    remedy: str | None
    state: Literal["planned", "repaired", "undone"]
    root: Path
    to: Path
    files: tuple[RepairedFile, ...] = ()
    files_changed: int = 0
    refused: tuple[Refusal, ...] = ()
    journal: Path | None = None
    originals: Path | None = None
    interrupted: bool = False
    audit: str = ""

    @property
    def in_place(self) -> bool:
        """Whether files of the dataset are replaced."""
        return self.to == self.root

    def by_remedy(self) -> list[tuple[str, int]]:
        """Each remedy with its number of files, the most frequent first."""
        return Counter(file.remedy for file in self.files).most_common()


def repair(
    code: str | None = None,
    *,
    to: str | Path | None = None,
    in_place: bool = False,
    remedy: str | None = None,
    labels: str | Path | None = None,
    apply: bool = False,
    undo: str | Path | None = None,
    workspace: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RepairResult:
    """Write the files of a finding as they should be, beside the dataset or in place, or undo that.

    Without `apply` and `undo` nothing is written. A file whose repair is not proven to be safe is refused with a
    reason. An interrupted run is finished by the same call, or undone; undoing restores contents, names,
    permissions and times.

    Args:
        code: code of the finding; or a kind of masks, as `mask_kind` of the manifest names it: gray16, palette,
            rgb, rgba, gray_alpha.
        to: folder outside the dataset for the repaired files, with the path that they have below the root.
        in_place: replace the files; the originals are kept beside the journal.
        remedy: name of a remedy that is not applied by default, or one of several.
        labels: labels file with the colours of labels, and names of true labels; that of the audit by default.
        apply: write.
        undo: journal of a repair to undo, in place of all others.
        workspace: folder of the audit; gets `fixes/CODE-N.jsonl`, the journal, and `fixes/CODE-N/`.
        workers: processes; all usable cores by default.
        progress: called with a stage, files done and files in all.

    Raises:
        HistodsError: the call is wrong, a place is taken, or another fix was interrupted.
        StaleFileError: the audit's files changed, or a file of the dataset did.
    """
    if undo is not None:
        if code is not None or to is not None or apply or in_place or remedy or labels is not None:
            raise HistodsError("--undo JOURNAL takes no other options; leave them out.")
        return _undo(Path(undo), progress)
    if code is None or (to is None) != in_place:
        raise HistodsError(
            "A repair needs a code, and either --to DIR for new files beside the dataset or --in-place, "
            "such as 'histods fix wide_mask --repair --to DIR'."
        )
    remedies = _choose_remedies(code, remedy)
    space = Workspace.find(workspace)
    audit = space.read_audit()
    root = Path(audit.root)
    if not root.is_dir():
        raise HistodsError(f"The dataset {root} is gone; bring it back or audit again.")
    if to is not None:
        space.check_place(Path(to), "--to", root)
        if Path(to).resolve().is_relative_to(space.fixes.resolve()):
            raise HistodsError(f"{to} is in the folder of journals and originals; choose another folder for --to.")
    goal = root if to is None else Path(to).resolve()
    with only_one(space.fixes, "moves files") if apply else nullcontext():
        planned = RepairResult(code=code, remedy=remedy, state="planned", root=root, to=goal, audit=audit.command)
        interrupted = _find_interrupted(space, planned)
        if interrupted is not None:
            return _resume(read_repair_journal(interrupted), planned, apply=apply, progress=progress)
        table = _read_labels(labels, root, audit)
        return _run(planned, remedies, table, space, apply=apply, workers=workers, progress=progress)


def _run(
    planned: RepairResult,
    remedies: Sequence[Remedy],
    labels: LabelTable,
    space: Workspace,
    *,
    apply: bool,
    workers: int | None,
    progress: Progress | None,
) -> RepairResult:
    """Make the repaired files, beside the journal if they are to be kept, and put them in their places."""
    code, root = planned.code, str(planned.root)
    audit = space.read_audit()
    manifest, findings = Manifest.read(space.manifest), read_findings(space, audit)
    refusals, rows = Refusals(), manifest.to_polars()
    tasks = plan_tasks(code, rows, findings, root, refusals)
    flagged = frozenset(task.path for task in tasks)
    contested = frozenset(flagged_paths("palettes_differ", rows, findings))
    attempts = study_dataset(remedies, Dataset(rows, flagged, labels, contested)) if tasks else []
    path = new_journal(space.fixes, code) if apply else None
    with nullcontext() if path is None else discarding(path):
        outcomes = make_all(
            tasks,
            attempts,
            root=root,
            named=planned.remedy is not None,
            folder=None if path is None else places_of(path, root, str(planned.to)).staged,
            workers=workers,
            progress=progress,
        )
        made = sort_outcomes(outcomes, manifest, root, refusals, audit.command)
        if not planned.in_place:
            _check_free(made, planned.to)
        result = replace(planned, files=tuple(map(_to_file, made)), refused=refusals.list())
        if path is None or not made:
            return result
        write_plan(
            path,
            made,
            code=code,
            remedy=planned.remedy,
            root=root,
            to=str(planned.to),
            manifest_digest=audit.manifest_digest,
        )
    return _finish(read_repair_journal(path), result, progress)


def to_document(result: RepairResult) -> dict[str, Any]:
    """The document of `--json`: numbers, examples, and every file that stays, with its reason."""
    return {
        "code": result.code,
        "remedy": result.remedy,
        "state": result.state,
        "root": result.root.as_posix(),
        "to": result.to.as_posix(),
        "in_place": result.in_place,
        "files": len(result.files),
        "remedies": dict(result.by_remedy()),
        "first_files": [
            {"path": one.path, "target": one.target, "before": one.before, "after": one.after}
            for one in result.files[:EXAMPLES]
        ],
        "files_changed": result.files_changed,
        "refused": [
            {"reason": one.reason, "files": [{"path": path, "detail": detail} for path, detail in one.files]}
            for one in result.refused
        ],
        "journal": None if result.journal is None else str(result.journal),
        "originals": None if result.originals is None else str(result.originals),
        "interrupted": result.interrupted,
    }


def repair_command(result: RepairResult, workspace: Path, *, labels: Path | None = None) -> str:
    """The command that carries out a planned repair."""
    words = ["histods", "fix", result.code, "--repair"]
    words += ["--in-place"] if result.in_place else ["--to", str(result.to)]
    words += [] if result.remedy is None else ["--remedy", result.remedy]
    words += [] if labels is None else ["--labels", str(labels)]
    return shlex.join([*words, "--apply", "-w", str(workspace)])


def _to_file(outcome: Outcome) -> RepairedFile:
    return RepairedFile(
        path=outcome.path,
        target=outcome.target,
        remedy=outcome.remedy,
        before=outcome.before,
        after=outcome.after,
    )


def _check_free(made: Sequence[Outcome], to: Path) -> None:
    """Refuse a folder that holds a file of the same name."""
    taken = [one.target for one in made if (to / one.target).exists()]
    if taken:
        more = f" (and {len(taken) - 1:,} more like it)" if len(taken) > 1 else ""
        raise HistodsError(f"{to / taken[0]} exists already{more}; choose another folder for --to.")


def _choose_remedies(code: str, name: str | None) -> list[Remedy]:
    """The remedies for a code: those by default, or the one that was named.

    Raises:
        HistodsError: there is none.
    """
    known = remedies_of(code)
    if not known:
        raise HistodsError(
            f"There is no repair for {code!r}; 'histods fix CODE --to DIR' moves the files of a finding. "
            f"Repairs exist for {', '.join(repairable())}."
        )
    if name is not None:
        chosen = [remedy for remedy in known if remedy.name == name]
        if not chosen:
            names = ", ".join(remedy.name for remedy in known)
            raise HistodsError(f"There is no remedy {name!r} for {code}; choose one of {names}.")
        return chosen
    usual = [remedy for remedy in known if not remedy.by_name]
    if not usual:
        ways = "; ".join(f"--remedy {remedy.name}: {remedy.summary}" for remedy in known)
        raise HistodsError(f"{code} is repaired only if you name the remedy ({ways.rstrip('.')}).")
    return usual


def _read_labels(labels: str | Path | None, root: Path, audit: AuditSummary) -> LabelTable:
    return labels_of_audit(audit) if labels is None else read_labels(find_label_map(str(labels), root))


def _find_interrupted(space: Workspace, planned: RepairResult) -> Path | None:
    """The journal of this repair, if it was interrupted.

    Raises:
        HistodsError: another fix or repair was interrupted.
    """
    for path, state in list_unfinished(space.fixes):
        if is_repair(path) and state == "planned":
            plan = read_repair_journal(path).plan
            asked = (planned.code, planned.remedy, str(planned.root), str(planned.to))
            if (plan.code, plan.remedy, plan.root, plan.to) == asked:
                return path
        raise HistodsError(say_interrupted(path, state))
    return None


def _resume(
    journal: RepairJournal, planned: RepairResult, *, apply: bool, progress: Progress | None
) -> RepairResult:
    """Finish an interrupted repair; without `apply`, only look."""
    swaps = journal.swaps if apply else left_of(journal)
    files = tuple(RepairedFile(path=swap.path, target=swap.target) for swap in swaps)
    result = replace(planned, files=files, interrupted=True, journal=journal.path)
    return _finish(journal, result, progress) if apply else result


def _finish(journal: RepairJournal, result: RepairResult, progress: Progress | None) -> RepairResult:
    advice = f"fix that and run the same command again to continue, or undo it with '{undo_command(journal.path)}'"
    changed = finish(journal, progress, advice)
    originals = Path(journal.places.originals) if result.in_place else None
    return replace(result, state="repaired", files_changed=changed, journal=journal.path, originals=originals)


def _undo(path: Path, progress: Progress | None) -> RepairResult:
    """Restore the originals, or remove the files beside the dataset."""
    with only_one(path.parent, "moves files") if path.is_file() else nullcontext():
        journal = read_repair_journal(path)
        plan = journal.plan
        if journal.state == "undone":
            raise HistodsError(f"The repair in {path} is already undone; leave it.")
        if not Path(plan.root).is_dir():
            raise HistodsError(f"The dataset {plan.root} is gone; bring it back or audit again.")
        if (later := find_later(journal)) is not None:
            raise HistodsError(
                f"{later.name} changed files of this repair afterwards; "
                f"undo that first with '{undo_command(later)}'."
            )
        changed = undo(journal, progress, "fix that and run the same command again")
    return RepairResult(
        code=plan.code,
        remedy=plan.remedy,
        state="undone",
        root=Path(plan.root),
        to=Path(plan.to),
        files=tuple(RepairedFile(path=swap.path, target=swap.target) for swap in journal.swaps),
        files_changed=changed,
        journal=path,
    )
