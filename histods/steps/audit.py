"""audit: read every image and mask once, say what is wrong with each, and write the manifest."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from histods.checks import Context, judge_all
from histods.engines import engine_for
from histods.errors import HistodsError
from histods.jobs.measuring import measure_dataset
from histods.records import Counts, Finding, LabelCount
from histods.samples import count, join_measurements, total_labels, with_groups, with_roles
from histods.storage.atomic import file_digest, write_json
from histods.storage.colours import OFF_PALETTE_LABEL
from histods.storage.dataset import LayoutOptions, open_dataset
from histods.storage.label_maps import find_label_map, read_labels
from histods.storage.manifest import SCHEMA as MANIFEST
from histods.storage.manifest import SCHEMA_VERSION, Manifest, write_table
from histods.storage.measure import MeasureOptions, measure_files
from histods.storage.workspace import DEFAULT_WORKSPACE, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from histods.labels import LabelTable
    from histods.layouts import Layout, Suggestion
    from histods.records import Progress

VERSION = "0.1.0"


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
        labels: totals of each label over all readable masks.
        groups: number of different groups (slides, patients).
        other_files: files that are neither images nor masks, by suffix.
        suggestion: patterns that would pair more, where few files pair.
        manifest: one row a sample.
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
    groups: int
    other_files: dict[str, int]
    suggestion: Suggestion | None
    manifest: Manifest
    files_read: int
    files_reused: int
    seconds: float

    def iter_findings(self) -> Iterator[Finding]:
        """Go through all findings, sorted by key, path and code."""
        for row in pl.read_parquet(Workspace(self.workspace).findings).iter_rows(named=True):
            yield Finding(**row)


def audit(
    root: str | Path,
    *,
    workspace: str | Path = DEFAULT_WORKSPACE,
    layout: Literal["suffix", "folders", "pattern", "csv"] | None = None,
    mask_suffix: str = "_mask",
    images_dir: str = "images",
    masks_dir: str = "masks",
    image_pattern: str | None = None,
    mask_pattern: str | None = None,
    pairs: str | Path | None = None,
    unconditional: Sequence[str | Path] = (),
    labels: str | Path | None = None,
    nearest_colour: bool = False,
    group_regex: str | None = None,
    verify: Literal["structure", "decode"] = "structure",
    hash: bool = False,  # noqa: A002 - named like the command's option
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    fresh: bool = False,
    progress: Progress | None = None,
) -> AuditResult:
    """Read every image and mask of a dataset once and say what is wrong with each item.

    The dataset is never written to. A run that was interrupted goes on where it was; a second run reads
    only files whose size or time changed.

    Args:
        root: the dataset's folder.
        workspace: folder for everything that is written.
        layout: how images and masks pair; found by itself when None.
        mask_suffix: `suffix` layout: what a mask's name has after its image's name.
        images_dir: `folders` layout: name of the folders of images.
        masks_dir: `folders` layout: name of the folders of masks.
        image_pattern: `pattern` layout: paths of images, with `{key}` for what names the pair.
        mask_pattern: `pattern` layout: paths of masks.
        pairs: `csv` layout: CSV file with the columns image, mask, group, split.
        unconditional: folders of images that have no masks by design.
        labels: file (or bundled name) that names the source labels and may give each a colour.
        nearest_colour: give pixels of unknown colours the nearest known colour's label.
        group_regex: takes a sample's group (slide, patient) from its key.
        verify: `structure`, or `decode` to decode every image fully.
        hash: also digest every image, to find exact duplicates.
        workers: processes; all usable cores by default.
        engine: `local`, or `ray` for a Ray cluster.
        fresh: read everything again, whatever earlier runs measured.
        progress: called as the work goes on.

    Raises:
        HistodsError: the call or the dataset as a whole is wrong; single bad files never raise.
    """
    started = time.perf_counter()
    folder = _parse_root(root)
    space = Workspace(Path(workspace))
    names = read_labels(find_label_map(str(labels), folder)) if labels is not None else None
    layouts = LayoutOptions(
        kind=layout,
        mask_suffix=mask_suffix,
        images_dir=images_dir,
        masks_dir=masks_dir,
        image_pattern=image_pattern,
        mask_pattern=mask_pattern,
        pairs=pairs,
        unconditional=unconditional,
    )
    options = MeasureOptions(
        root=folder.as_posix(),
        decode=_parse_verify(verify) == "decode",
        digest_images=hash,
        colours=dict(names.colours) if names else {},
        nearest=nearest_colour,
    )
    report = progress or _silent
    with engine_for(engine, workers) as runner:
        if (
            fresh or not space.measurements.is_file()
        ):  # else there may be nothing to read, and a core is better used
            runner.warm_up(partial(measure_files, options=options))
        report("listing files", 0, 0)
        dataset = open_dataset(folder, layouts, skip=[space.folder])
        measured, read = measure_dataset(runner, dataset.files, options, space, fresh=fresh, progress=report)
    report("judging", 0, 0)
    rows = join_measurements(dataset.samples, measured)
    rows = with_groups(rows, group_regex).with_columns(nearest=pl.lit(nearest_colour))
    context = Context(
        labels=frozenset(names.names) if names else None, names=names.names if names else {}, hashed=hash
    )
    findings = _with_outside_links(judge_all(rows, context), dataset.outside)
    rows = with_roles(rows, findings)
    result = AuditResult(
        root=folder,
        workspace=space.folder,
        layout=dataset.layout,
        counts=count(rows),
        findings=_tally(findings, "code"),
        severities=_tally(findings, "severity"),
        labels=total_labels(rows, _names(names)),
        groups=rows["group"].drop_nulls().n_unique(),
        other_files=dataset.other,
        suggestion=dataset.suggestion,
        manifest=_manifest(rows, dataset.layout, options),
        files_read=read,
        files_reused=len(dataset.files) - read,
        seconds=time.perf_counter() - started,
    )
    report("writing", 0, 0)
    _write(result, findings, space, labels=labels, nearest_colour=nearest_colour)
    return result


def to_document(result: AuditResult, manifest_digest: str, options: dict[str, object]) -> dict[str, object]:
    """The content of `audit.json`."""
    suggestion = result.suggestion
    return {
        "schema_version": SCHEMA_VERSION,
        "root": result.root.as_posix(),
        "layout": {name: value for name, value in asdict(result.layout).items() if value is not None},
        "counts": asdict(result.counts),
        "findings": result.findings,
        "groups": result.groups,
        "labels": [asdict(label) for label in result.labels],
        "other_files": result.other_files,
        "suggestion": None if suggestion is None else asdict(suggestion),
        "options": options,
        "manifest_digest": manifest_digest,
        "timing": {
            "seconds": round(result.seconds, 3),
            "files_read": result.files_read,
            "files_reused": result.files_reused,
        },
    }


def _silent(stage: str, done: int, total: int) -> None:
    """Take no note of the progress."""


def _names(labels: LabelTable | None) -> dict[int, str]:
    """Names of labels; where colours are read, also of the label that stands for unknown ones."""
    if labels is None:
        return {}
    return (
        {OFF_PALETTE_LABEL: "(no label's colour)"} | dict(labels.names) if labels.colours else dict(labels.names)
    )


def _parse_root(root: str | Path) -> Path:
    folder = Path(root)
    if not folder.is_dir():
        found = "a file" if folder.is_file() else "nothing"
        raise HistodsError(f"Expected a dataset's folder in {root}, found {found}; give the folder that holds it.")
    return folder.resolve()


def _parse_verify(verify: str) -> str:
    if verify not in ("structure", "decode"):
        raise HistodsError(f"Expected --verify structure or decode, found {verify!r}; choose one of them.")
    return verify


def _with_outside_links(findings: pl.DataFrame, outside: dict[str, str]) -> pl.DataFrame:
    """Add a finding for each link out of the root that is no sample's file: most often a folder."""
    if not outside:
        return findings
    rows = [
        {
            "key": path,
            "path": path,
            "code": "outside_root",
            "severity": "warning",
            "message": f"a link to {target}, outside the dataset, was not followed; copy what it points to",
        }
        for path, target in outside.items()
    ]
    return pl.concat([findings, pl.DataFrame(rows, schema=findings.schema)]).sort("key", "path", "code")


def _tally(findings: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(findings.group_by(column).len().sort(column).iter_rows())


def _manifest(rows: pl.DataFrame, layout: Layout, options: MeasureOptions) -> Manifest:
    columns = rows.with_columns(
        width=pl.coalesce("image_width", "mask_width"), height=pl.coalesce("image_height", "mask_height")
    )
    table = columns.select(MANIFEST.names).to_arrow().cast(MANIFEST)
    provenance = {
        "histods_version": VERSION,
        "layout": json.dumps(asdict(layout), sort_keys=True),
        "images_measured": options.images_how,
        "masks_measured": options.masks_how,
    }
    return Manifest(table, provenance)


def _write(
    result: AuditResult,
    findings: pl.DataFrame,
    space: Workspace,
    *,
    labels: str | Path | None,
    nearest_colour: bool,
) -> None:
    """Write the three files; `audit.json` comes last, since it vouches for the others."""
    result.manifest.write(space.manifest)
    write_table(findings.to_arrow(), space.findings, {"schema_version": str(SCHEMA_VERSION)})
    options: dict[str, object] = {
        "labels": None if labels is None else str(find_label_map(str(labels), result.root)),
        "nearest_colour": nearest_colour,
    }
    write_json(space.audit, to_document(result, file_digest(space.manifest), options))
