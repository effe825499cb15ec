"""The workspace: where every command writes, and where later commands find what earlier ones made.

```
histods-out/
  manifest.parquet findings.parquet audit.json   histods audit
  findings.csv                                   the findings for spreadsheets
  measurements.parquet                           what audit measured of each file, so that it is read once
  remap/NAME.parquet remap/NAME.json             histods remap, one pair per class system
  charts/                                        histods plot
  report.html                                    histods report
  split.parquet                                  histods split
  shards/                                        histods shard
  latents/                                       histods encode
  runs/NAME/                                     histods train
  samples/NAME/                                  histods sample
  samples-elsewhere/DIGEST.json                  histods sample --out: where those images are
  evaluations/NAME/                              histods evaluate
  tunings/NAME/                                  histods tune
  fixes/CODE-N.jsonl fixes/CODE-N/               histods fix: the journal of each, and replaced originals
```
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import file_digest, refuse_pipe
from histods.io.audit_summary import AuditSummary
from histods.io.checked import Class, build

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_WORKSPACE = Path("histods-out")
VARIABLE = "HISTODS_WORKSPACE"
"""The environment's variable that names another workspace by default."""
_FOLDERS = ("remap", "charts", "shards", "latents", "runs", "samples-elsewhere", "evaluations", "tunings", "fixes")


@dataclass(frozen=True, slots=True)
class Workspace:
    """The files of one workspace folder, by name."""

    folder: Path

    @classmethod
    def find(cls, workspace: str | Path | None = None) -> Workspace:
        """The workspace of this folder; else that of `HISTODS_WORKSPACE`, read now; else `histods-out`.

        Args:
            workspace: its folder; None for the one by default.
        """
        if workspace is None:
            workspace = os.environ.get(VARIABLE) or DEFAULT_WORKSPACE
        return cls(Path(workspace))

    @property
    def option(self) -> str:
        """The option ` -w FOLDER` that a command needs to find this workspace; empty where it finds it anyway."""
        return "" if self == Workspace.find() else f" -w {shlex.quote(str(self.folder))}"

    @property
    def manifest(self) -> Path:
        """One row per sample."""
        return self.folder / "manifest.parquet"

    @property
    def findings(self) -> Path:
        """One row per finding."""
        return self.folder / "findings.parquet"

    @property
    def findings_csv(self) -> Path:
        """The same for spreadsheets."""
        return self.folder / "findings.csv"

    @property
    def audit(self) -> Path:
        """Counts, totals and digests of the last audit."""
        return self.folder / "audit.json"

    @property
    def measurements(self) -> Path:
        """What was measured of each file, with the size and time it had then."""
        return self.folder / "measurements.parquet"

    @property
    def journal(self) -> Path:
        """Measurements of an audit that is at work, or was killed."""
        return self.folder / "audit.journal"

    @property
    def charts(self) -> Path:
        """Folder of charts."""
        return self.folder / "charts"

    @property
    def report(self) -> Path:
        """The page of all that the workspace has."""
        return self.folder / "report.html"

    @property
    def split(self) -> Path:
        """The split that each sample is in, one row per sample."""
        return self.folder / "split.parquet"

    @property
    def shards(self) -> Path:
        """Folder of shards."""
        return self.folder / "shards"

    @property
    def latents(self) -> Path:
        """Folder of encoded latents."""
        return self.folder / "latents"

    @property
    def runs(self) -> Path:
        """Folder of training runs."""
        return self.folder / "runs"

    @property
    def samples_elsewhere(self) -> Path:
        """Folder of notes of where generated images are that are not in `samples`."""
        return self.folder / "samples-elsewhere"

    @property
    def evaluations(self) -> Path:
        """Folder of evaluations, and of the segmenters and features that they share."""
        return self.folder / "evaluations"

    @property
    def tunings(self) -> Path:
        """Folder of what was found about ways of sampling, and of the measurements that it was found from."""
        return self.folder / "tunings"

    @property
    def fixes(self) -> Path:
        """Folder of the journals of fixes."""
        return self.folder / "fixes"

    def remap_table(self, name: str) -> Path:
        """Class histograms of the class system `name`, one row per sample."""
        return self.folder / "remap" / f"{name}.parquet"

    def remap_summary(self, name: str) -> Path:
        """Class totals of the class system `name`."""
        return self.folder / "remap" / f"{name}.json"

    def class_systems(self) -> list[str]:
        """Names of the class systems that were remapped here, sorted."""
        return sorted(path.stem for path in (self.folder / "remap").glob("*.json"))

    def check_apart(self, dataset: Path, command: str) -> None:
        """Refuse a workspace that lies in the dataset, or that has the dataset in a folder of its own.

        Args:
            dataset: folder of the dataset or of some of its images, without links in its path.
            command: the command that audits the dataset, without a workspace.

        Raises:
            HistodsError: they are not apart; the message names a folder that is.
        """
        links = [path for name in _FOLDERS if (path := self.folder / name).is_symlink()]
        overlaps = [_say_overlap(self.folder, dataset, _FOLDERS), *(_say_overlap(link, dataset) for link in links)]
        found = next(filter(None, overlaps), None)
        if found is None:
            return
        other = shlex.quote(str(dataset.with_name(f"{dataset.name}-histods") if dataset.name else dataset))
        raise HistodsError(f"{found}, and a workspace must be apart from it; run '{command} -w {other}'.")

    def check_place(self, place: Path, option: str, root: Path) -> None:
        """Refuse to write into the dataset.

        Raises:
            HistodsError: the place is in the dataset, or the dataset in it.
        """
        target = place.resolve()
        if _is_in(target, root) or root.is_relative_to(target):
            raise HistodsError(
                f"{place} is not outside the dataset {root}, which is never written to; "
                f"choose another place for {option}."
            )

    def read_summary(self) -> AuditSummary:
        """Read `audit.json`, whatever has become of `manifest.parquet` since; see `read_audit`.

        Raises:
            HistodsError: it is not readable, or the workspace lies in the dataset.
        """
        document = read_json(self.audit)
        try:
            summary = AuditSummary.parse(document)
        except ValueError as error:
            raise HistodsError(
                f"{self.audit} is not the summary of an audit ({error}); "
                f"run 'histods audit DATASET -w {self.folder}' again."
            ) from error
        self.check_apart(Path(summary.root), summary.command)
        return replace(summary, command=f"{summary.command} -w {shlex.quote(str(self.folder))}")

    def read_audit(self) -> AuditSummary:
        """Read `audit.json` and prove that `manifest.parquet` is the one it describes.

        Its `command` is completed with this workspace: the command that makes the audit again.

        Raises:
            HistodsError: there is no audit in this workspace, its summary is not readable, or the workspace lies
                in the dataset.
            StaleFileError: the manifest changed since the audit wrote it.
        """
        if not self.audit.is_file() or not self.manifest.is_file():
            raise HistodsError(
                f"There is no audit in {self.folder} yet; run 'histods audit DATASET -w {self.folder}'."
            )
        summary = self.read_summary()
        if file_digest(self.manifest) != summary.manifest_digest:
            raise StaleFileError(
                f"{self.manifest} has changed since the audit wrote it; run '{summary.command}' again."
            )
        return summary


def _is_in(place: Path, folder: Path) -> bool:
    """Whether a place is in a folder, also where the folder is mounted a second time."""
    if place.is_relative_to(folder):
        return True
    # Of os.path, not of Path: what a damaged audit.json names may be no possible path.
    return os.path.exists(folder) and any(  # noqa: PTH110
        os.path.exists(one) and one.samefile(folder)  # noqa: PTH110
        for one in (place, *place.parents)
    )


def _say_overlap(place: Path, dataset: Path, written: Sequence[str] | None = None) -> str | None:
    """Say how a folder and the dataset lie in each other; None where they are apart.

    Args:
        place: a folder that commands write into.
        dataset: the dataset.
        written: names of all that they write there, where the dataset may lie beside it.
    """
    here = place.resolve()
    if here == dataset:
        return f"{place} is the dataset {dataset}"
    if _is_in(here, dataset):
        return f"{place} is inside the dataset {dataset}"
    if not dataset.is_relative_to(here):
        return None
    inner = dataset.relative_to(here).parts[0]
    if written is None:
        return f"{place} holds the dataset {dataset}"
    return f"Commands write into {place / inner}, where the dataset {dataset} lies" if inner in written else None


def refuse_file(folder: Path, option: str) -> None:
    """Refuse a place to write to that is no folder.

    Args:
        folder: the place, which need not exist.
        option: the option that names it.

    Raises:
        HistodsError: it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise HistodsError(f"{folder} is a file; {option} must name a folder.")


def read_json(path: Path, advice: str = "make it again") -> dict[str, Any]:
    """Read a JSON object that histods wrote.

    Args:
        path: the file.
        advice: what to do where it is damaged.

    Raises:
        HistodsError: the file does not hold a JSON object.
    """
    refuse_pipe(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise HistodsError(f"{path} cannot be read as JSON ({error}); {advice}.") from error
    if not isinstance(document, dict):
        raise HistodsError(f"{path} holds a {type(document).__name__} instead of a JSON object; {advice}.")
    return document


def read_as(kind: type[Class], path: Path, *, what: str, advice: str) -> Class:
    """Read a JSON object as a dataclass that histods wrote.

    Args:
        kind: the dataclass.
        path: the file.
        what: what the file should be, such as "an evaluation".
        advice: what makes it again, such as "evaluate again".

    Raises:
        HistodsError: it is damaged, or of another version.
    """
    try:
        return build(kind, read_json(path, advice))
    except ValueError as error:
        raise HistodsError(f"{path} is not {what} of this version ({error}); {advice}.") from error
