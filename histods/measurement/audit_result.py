"""The result of an audit, and `audit.json`, from which it can be had again."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from histods.dataset.layouts import Layout, Suggestion
from histods.dataset.manifest import SCHEMA_VERSION, Manifest
from histods.errors import HistodsError
from histods.io.atomic import file_digest, write_json
from histods.io.audit_summary import AuditSummary, RecordedOptions
from histods.io.checked import build
from histods.io.workspace import Workspace, read_json
from histods.measurement.findings_file import write_findings
from histods.printing import printed
from histods.records import ColourCount, Counts, Finding, LabelCount, LabelTotals

if TYPE_CHECKING:
    from collections.abc import Iterator


@printed(table="labels", hide=("palette", "suggestions", "options", "fingerprint"))
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AuditResult:
    """What an audit found.

    Attributes:
        root: the dataset's folder.
        workspace: where `manifest.parquet`, `findings.parquet` and `audit.json` are.
        layout: how images and masks were paired.
        counts: files and samples.
        findings: number of findings of each code that occurs.
        severities: number of findings of each severity that occurs.
        labels: totals of each label over the masks in use: those of the conditional and unconditional samples.
        masks_in_use: number of these masks.
        excluded_labels: totals over the masks of excluded samples that can be read, which no other table counts.
        palette: the colours of colour and palette masks, most frequent first; at most 256.
        groups: number of different groups (slides, patients).
        other_files: files that are neither images nor masks, by suffix.
        suggestions: patterns that would pair more, where several are as good or few files pair; best first.
        hidden: number of hidden files and folders (a leading dot), which were passed over.
        notes: sentences on what was taken or passed over beside images and masks.
        manifest: one row per sample.
        options: what later commands need: the labels file with its digest and whether it has colours, whether
            colours were matched nearest, and the CSV file of pairs with its digest.
        command: the shell command that audits the dataset in the same way, without its workspace.
        fingerprint: digest of all files' names, sizes and times and of the options; None where a file could
            not be read for a reason that may pass.
        files_read: files that this run read.
        files_reused: files that had not changed since an earlier run measured them.
        seconds: time the audit took.
    """

    root: Path
    workspace: Path
    layout: Layout
    counts: Counts
    findings: dict[str, int]
    severities: dict[str, int]
    labels: tuple[LabelCount, ...]
    masks_in_use: int
    excluded_labels: LabelTotals
    palette: tuple[ColourCount, ...]
    groups: int
    other_files: dict[str, int]
    suggestions: tuple[Suggestion, ...]
    hidden: int
    notes: tuple[str, ...]
    manifest: Manifest
    options: RecordedOptions
    command: str
    fingerprint: str | None
    files_read: int
    files_reused: int
    seconds: float

    @property
    def suggestion(self) -> Suggestion | None:
        """The first of the suggestions."""
        return self.suggestions[0] if self.suggestions else None

    def findings_frame(self) -> pl.DataFrame:
        """All findings: key, path, code, severity and message, sorted by key, path and code."""
        return pl.read_parquet(Workspace(self.workspace).findings)

    def iter_findings(self) -> Iterator[Finding]:
        """Go through all findings, sorted by key, path and code."""
        for row in self.findings_frame().iter_rows(named=True):
            yield Finding(**row)

    def first_findings(self) -> dict[str, Finding]:
        """The first finding of each code that occurs."""
        first = self.findings_frame().unique("code", keep="first", maintain_order=True)
        return {row["code"]: Finding(**row) for row in first.iter_rows(named=True)}


def options_left_out(before: str, command: str) -> list[str]:
    """Options of one audit's command that another lacks, whatever their values are.

    Raises:
        HistodsError: the first is no shell command.
    """
    try:
        words = shlex.split(before)
    except ValueError as error:
        raise HistodsError(f"Not a shell command: {before}") from error
    given = {word for word in shlex.split(command) if word.startswith("--")}
    return [word for word in dict.fromkeys(words) if word.startswith("--") and word not in given]


def write_result(result: AuditResult, findings: pl.DataFrame) -> None:
    """Write the manifest, the findings (Parquet and CSV), and last `audit.json`, which marks them as complete."""
    space = Workspace(result.workspace)
    result.manifest.write(space.manifest)
    write_findings(findings, space)
    write_summary(result)


def write_summary(result: AuditResult) -> None:
    """Write `audit.json` for the manifest and the findings that are in the workspace."""
    space = Workspace(result.workspace)
    suggestions = tuple(asdict(suggestion) for suggestion in result.suggestions)
    summary = AuditSummary(
        schema_version=SCHEMA_VERSION,
        root=result.root.as_posix(),
        layout=asdict(result.layout),
        suggestion=suggestions[0] if suggestions else None,
        suggestions=suggestions,
        manifest_digest=file_digest(space.manifest),
        findings_digest=file_digest(space.findings),
        fingerprint=result.fingerprint,
        timing={
            "seconds": round(result.seconds, 3),
            "files_read": result.files_read,
            "files_reused": result.files_reused,
        },
        **{name: getattr(result, name) for name in _AS_THEY_ARE},
    )
    write_json(space.audit, summary.to_json())


_AS_THEY_ARE = (
    "counts",
    "findings",
    "severities",
    "groups",
    "labels",
    "masks_in_use",
    "excluded_labels",
    "palette",
    "other_files",
    "hidden",
    "notes",
    "options",
    "command",
)
"""Fields that `audit.json` and a result share."""


def read_unchanged(space: Workspace, fingerprint: str) -> AuditResult | None:
    """The result that is in the workspace, if it is of the same files and options and is whole."""
    if not all(path.is_file() for path in (space.audit, space.manifest, space.findings, space.findings_csv)):
        return None
    try:
        summary = AuditSummary.parse(read_json(space.audit))
        if (summary.schema_version, summary.fingerprint) != (SCHEMA_VERSION, fingerprint):
            return None
        written = summary.manifest_digest, summary.findings_digest
        if written != (file_digest(space.manifest), file_digest(space.findings)):
            return None
        return AuditResult(
            root=Path(summary.root),
            workspace=space.folder,
            layout=build(Layout, summary.layout),
            suggestions=tuple(build(Suggestion, suggestion) for suggestion in summary.suggestions),
            manifest=Manifest.read(space.manifest),
            fingerprint=fingerprint,
            files_read=0,
            files_reused=int(summary.timing["files_read"] + summary.timing["files_reused"]),
            seconds=0.0,
            **{name: getattr(summary, name) for name in _AS_THEY_ARE},
        )
    except (KeyError, ValueError, HistodsError):  # not ours or damaged: treated as missing
        return None
