"""What the sections of the page are made from: the files of a workspace, read once, and what is wrong there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from histods.dataset.manifest import Manifest
from histods.errors import HistodsError, StaleFileError
from histods.labels.audit_labels import labels_of_audit
from histods.labels.label_map import LabelTable
from histods.measurement.findings_file import read_findings
from reports.class_table import read_labels, read_remapped

if TYPE_CHECKING:
    import polars as pl

    from histods.io.audit_summary import AuditSummary
    from histods.io.workspace import Workspace
    from reports.class_table import ClassSystem


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """A workspace as far as it can be read.

    Attributes:
        space: the workspace.
        audit: the summary of the last audit; None if there is none.
        manifest: all samples; None where the manifest is missing, damaged or not that of the audit.
        findings: all findings; None likewise.
        names: names and colours of the labels.
        nearest: whether unknown colours have the nearest label, as in the audit.
        problems: what could not be read, one line each.
    """

    space: Workspace
    audit: AuditSummary | None
    manifest: pl.DataFrame | None
    findings: pl.DataFrame | None
    names: LabelTable
    nearest: bool
    problems: tuple[str, ...]
    _systems: dict[str | None, ClassSystem | None] = field(default_factory=dict)

    def class_system(self, name: str | None) -> ClassSystem | None:
        """A class system, or the source labels for None, read once; None for a class system that is the labels.

        Raises:
            HistodsError: it cannot be read, or was made from another audit.
        """
        if name not in self._systems:
            self._systems[name] = (
                read_labels(self.space, self.audit)
                if name is None
                else read_remapped(self.space, name, self.digest)
            )
        return self._systems[name]

    @property
    def root(self) -> Path | None:
        """The dataset's folder; None without an audit."""
        return Path(self.audit.root) if self.audit else None

    @property
    def audit_command(self) -> str:
        """The command that audits the dataset again, or for the first time."""
        return self.audit.command if self.audit else f"histods audit DATASET{self.space.option}"

    @property
    def names_in_use(self) -> dict[int, str]:
        """The labels of the masks in use with their names, as the audit recorded them."""
        return self.audit.label_names if self.audit else {}

    @property
    def used(self) -> pl.DataFrame | None:
        """The samples that are not excluded."""
        return None if self.manifest is None else self.manifest.filter(self.manifest["role"] != "excluded")

    @property
    def digest(self) -> str:
        """The digest of the manifest; empty without an audit."""
        return self.audit.manifest_digest if self.audit else ""


def read_source(space: Workspace) -> Source:
    """Read what a workspace has; what is damaged or stale becomes a line in `problems`.

    Raises:
        HistodsError: it has no audit, no shards and no runs.
    """
    problems: list[str] = []
    audit: AuditSummary | None = None
    sound = False
    try:
        audit, sound = space.read_audit(), True
    except StaleFileError as error:  # the numbers are still those of that audit
        problems.append(str(error))
        audit = space.read_summary()
    except HistodsError as error:
        if not (space.shards.is_dir() or space.latents.is_dir() or space.runs.is_dir()):
            raise
        problems.append(str(error))
    manifest = findings = None
    names = LabelTable(names=audit.label_names if audit else {})
    if audit and sound:
        try:
            manifest = Manifest.read(space.manifest).to_polars()
        except HistodsError as error:
            problems.append(str(error))
        try:
            findings = read_findings(space, audit)
        except HistodsError as error:
            problems.append(str(error))
        try:
            names = labels_of_audit(audit)
        except HistodsError as error:
            problems.append(str(error))
    return Source(
        space=space,
        audit=audit,
        manifest=manifest,
        findings=findings,
        names=names,
        nearest=audit is not None and audit.options.nearest_colour,
        problems=tuple(problems),
    )
