"""What `audit.json` holds: written by an audit, and read by every later command."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from histods.io.checked import build, is_path
from histods.records import ColourCount, Counts, LabelCount, LabelTotals  # noqa: TC001 - `build` reads the types


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedOptions:
    """Options of an audit that later commands need; a file is given with its digest.

    Attributes:
        labels: the labels file.
        labels_digest: its digest.
        labels_have_colours: whether it gives colours, without which masks in colour cannot be read.
        nearest_colour: whether an unknown colour counts as the nearest known one.
        pairs: the CSV file of pairs.
        pairs_digest: its digest.
        quality: whether images were decoded and judged by their pixels.
        set: thresholds of checks that differ from the default, as `checks.CODE.NAME=VALUE`.
    """

    labels: str | None = None
    labels_digest: str | None = None
    labels_have_colours: bool = False
    nearest_colour: bool = False
    pairs: str | None = None
    pairs_digest: str | None = None
    quality: bool = False
    set: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditSummary:
    """The document `audit.json`. What an older version did not write has its default.

    Attributes:
        schema_version: of the manifest and of this document; 0 where the document does not say.
        root: the dataset's folder.
        layout: how images and masks were paired.
        counts: files and samples.
        findings: number of findings of each code that occurs.
        severities: number of findings of each severity that occurs.
        groups: number of different groups (slides, patients).
        labels: totals of each label over the masks in use.
        masks_in_use: number of these masks.
        excluded_labels: totals over the masks of excluded samples that can be read.
        palette: the colours of colour and palette masks, most frequent first.
        other_files: files that are neither images nor masks, by suffix.
        suggestion: the first of the suggestions.
        suggestions: patterns that would pair more, best first.
        hidden: number of hidden files and folders.
        notes: sentences about what else the audit used or ignored.
        options: what later commands need of the audit's options.
        command: the shell command that repeats the audit.
        fingerprint: digest of the names, sizes and times of all files and of the options; None if some file could
            not be read.
        manifest_digest: digest of `manifest.parquet`.
        findings_digest: digest of `findings.parquet`.
        timing: seconds, and the numbers of files that were read and that had not changed.
    """

    schema_version: int = 0
    root: str
    layout: dict[str, Any] = field(default_factory=dict)
    counts: Counts | None = None
    findings: dict[str, int] = field(default_factory=dict)
    severities: dict[str, int] = field(default_factory=dict)
    groups: int = 0
    labels: tuple[LabelCount, ...] = ()
    masks_in_use: int = 0
    excluded_labels: LabelTotals | None = None
    palette: tuple[ColourCount, ...] = ()
    other_files: dict[str, int] = field(default_factory=dict)
    suggestion: dict[str, Any] | None = None
    suggestions: tuple[dict[str, Any], ...] = ()
    hidden: int = 0
    notes: tuple[str, ...] = ()
    options: RecordedOptions = RecordedOptions()
    command: str = ""
    fingerprint: str | None = None
    manifest_digest: str
    findings_digest: str | None = None
    timing: dict[str, int | float] = field(default_factory=dict)

    @classmethod
    def parse(cls, document: dict[str, Any]) -> AuditSummary:
        """Check what a JSON object holds; fields that this version does not know are ignored.

        Raises:
            ValueError: a field is missing or has another type; the message is a part of a sentence.
        """
        known = {one.name: document[one.name] for one in fields(cls) if one.name in document}
        options = known.get("options")
        if isinstance(options, dict):
            names = {one.name for one in fields(RecordedOptions)}
            known["options"] = {name: value for name, value in options.items() if name in names}
        if not known.get("command"):
            known["command"] = shlex.join(["histods", "audit", str(known.get("root"))])
        summary = build(cls, known)
        paths = {"root": summary.root, "labels": summary.options.labels, "pairs": summary.options.pairs}
        if wrong := next((name for name, path in paths.items() if path is not None and not is_path(path)), None):
            raise ValueError(f"{wrong} is no possible path")
        return summary

    def to_json(self) -> dict[str, Any]:
        """The document that `parse` reads back equal."""
        return asdict(self)

    @property
    def label_names(self) -> dict[int, str]:
        """The name of each label of the masks in use."""
        return {row.label: row.name for row in self.labels}
