"""show: the files of a finding, all that is known of one sample, or a table: labels, classes, split or runs."""

from __future__ import annotations

import difflib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from histods.checks import CHECKS
from histods.checks.silence import say_unjudged
from histods.dataset.manifest import Manifest, read_table, to_polars
from histods.dataset.sample import near_keys
from histods.errors import HistodsError, UnreadableFileError
from histods.io.open_file import OpenRoot
from histods.io.run_files import list_runs
from histods.io.workspace import Workspace, read_json
from histods.labels.audit_labels import labels_of_audit
from histods.masks.overlays import draw_overlay, write_overlay
from histods.measurement.findings_file import read_findings
from histods.printing import printed
from histods.splits.split_table import read_any_split, with_split_groups

if TYPE_CHECKING:
    from histods.io.audit_summary import AuditSummary
    from histods.records import Progress

TABLES = ("labels", "classes", "split", "runs")
"""What else can be shown than the code of a finding or the key of a sample."""
OVERLAYS = 20
"""Overlays that are drawn by default."""
_HIDDEN = ("settings", "index_digest", "map_digest")  # of a run: settings have a table of their own
_MAX_NEAR = 3
_LONGEST_NAME = 120


@printed(table="rows", hide=("facts",))
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShownTable:
    """One table of what is shown.

    Attributes:
        title: what it holds.
        rows: its rows.
        facts: of a sample, what the rows say as texts; None for other tables.
    """

    title: str
    rows: pl.DataFrame
    facts: dict[str, object] | None = None


@printed(table="rows", hide=("tables",))
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShowResult:
    """What is known of the thing that was asked for.

    Attributes:
        kind: `findings` (all codes with their numbers), `finding`, `sample`, or the table's name.
        name: the code or the key; else as `kind`.
        tables: one table, of a sample several.
        total: rows of the first table before `limit`.
        overlays: pictures that were written.
        not_drawn: samples without a picture, and why.
        unjudged: what the audit does not know of a finding, in sentences.
    """

    kind: str
    name: str
    tables: tuple[ShownTable, ...]
    total: int
    overlays: tuple[Path, ...] = ()
    not_drawn: tuple[tuple[str, str], ...] = ()
    unjudged: tuple[str, ...] = ()

    @property
    def rows(self) -> pl.DataFrame:
        """Rows of the first table."""
        return self.tables[0].rows


def show(
    what: str | None = None,
    *,
    open: str | Path | None = None,  # noqa: A002 - named like the command's option
    limit: int | None = None,
    workspace: str | Path | None = None,
    progress: Progress | None = None,
) -> ShowResult:
    """Look up what the last audit, remaps and split know: nothing is changed, and no file is judged again.

    Args:
        what: code of a finding, key of a sample (or the path of its image or mask), `labels`, `classes`, `split`
            or `runs`; all codes that occur if None.
        open: folder for a PNG file of image and mask of each sample shown.
        limit: rows of a finding, and overlays, at most; all rows and 20 overlays if None.
        workspace: folder of the audit.
        progress: called with a stage, overlays drawn and overlays in all.

    Raises:
        HistodsError: there is nothing of that name; the message names the nearest.
        StaleFileError: the audit's files are not those that it wrote.
    """
    space = Workspace.find(workspace)
    if what == "runs":  # shards, and with them runs, may have come without an audit
        tables = _runs(space)
        return ShowResult(kind=what, name=what, tables=tables, total=len(tables[0].rows))
    audit = space.read_audit()
    root = Path(audit.root)
    if open is not None:
        space.check_place(Path(open), "--open", root)
    if what in TABLES:
        tables = {"labels": _labels, "classes": _classes, "split": _split}[what](space, audit)
        return ShowResult(kind=what, name=what, tables=tables, total=len(tables[0].rows))
    findings = read_findings(space, audit)
    if what is None:
        codes = _codes(findings)
        return ShowResult(kind="findings", name="findings", tables=(codes,), total=len(codes.rows))
    manifest = Manifest.read(space.manifest).to_polars()
    if what in {check.code for check in CHECKS}:
        rows = findings.filter(pl.col("code") == what).select("key", "path", "severity", "message")
        shown = rows if limit is None else rows.head(limit)
        samples = manifest.filter(pl.col("key").is_in(shown["key"].implode()))
        tables, kind, total = (ShownTable(title=what, rows=shown),), "finding", len(rows)
    else:
        samples = _find_sample(what, manifest, findings, root)
        what, kind, total = str(samples["key"][0]), "sample", 1
        tables = _sample(samples, findings.filter(pl.col("key") == what), space, audit)
    overlays: tuple[Path, ...] = ()
    not_drawn: tuple[tuple[str, str], ...] = ()
    if open is not None:
        samples = samples.head(OVERLAYS if limit is None else limit)
        overlays, not_drawn = _draw(samples, Path(open), audit, progress)
    return ShowResult(
        kind=kind,
        name=what,
        tables=tables,
        total=total,
        overlays=overlays,
        not_drawn=not_drawn,
        unjudged=say_unjudged(what, audit) if kind == "finding" else (),
    )


def to_document(result: ShowResult) -> dict[str, Any]:
    """The document of `--format json`."""
    return {
        "kind": result.kind,
        "name": result.name,
        "total": result.total,
        "tables": {
            table.title: table.rows.to_dicts() if table.facts is None else table.facts for table in result.tables
        },
        "overlays": [path.as_posix() for path in result.overlays],
        "not_drawn": [{"key": key, "reason": reason} for key, reason in result.not_drawn],
        "unjudged": list(result.unjudged),
    }


def _codes(findings: pl.DataFrame) -> ShownTable:
    """The codes that occur, with their numbers and what they mean."""
    counts = dict(findings.group_by("code").len().iter_rows())
    rows = [
        {
            "severity": check.severity,
            "code": check.code,
            "files": counts[check.code],
            "meaning": check.summary.replace("`", ""),
        }
        for check in CHECKS
        if check.code in counts
    ]
    schema = {"severity": pl.String, "code": pl.String, "files": pl.Int64, "meaning": pl.String}
    return ShownTable(title="Findings", rows=pl.DataFrame(rows, schema=schema))


def _labels(_: Workspace, audit: AuditSummary) -> tuple[ShownTable, ...]:
    columns = ("label", "name", "pixels", "percent", "images")
    rows = pl.DataFrame([{name: getattr(row, name) for name in columns} for row in audit.labels])
    return (ShownTable(title="Labels of the masks in use", rows=rows),)


def _classes(space: Workspace, audit: AuditSummary) -> tuple[ShownTable, ...]:
    tables = []
    columns = ("class", "name", "pixels", "percent", "images")
    for name in space.class_systems():
        summary = read_json(space.remap_summary(name))
        stale = "" if summary.get("manifest_digest") == audit.manifest_digest else " (of an earlier audit)"
        rows = [{column: row.get(column) for column in columns} for row in summary.get("classes", [])]
        frame = pl.DataFrame(rows, infer_schema_length=None)
        tables.append(ShownTable(title=f"Classes of {name}{stale}", rows=frame))
    if not tables:
        raise HistodsError(
            f"There are no classes in {space.folder} yet; run 'histods remap --map MAP -w {space.folder}'."
        )
    return tuple(tables)


def _split(space: Workspace, _: AuditSummary) -> tuple[ShownTable, ...]:
    if not space.split.is_file():
        raise HistodsError(f"There is no split in {space.folder} yet; run 'histods split -w {space.folder}'.")
    manifest = Manifest.read(space.manifest).to_polars()
    table, options = read_any_split(space)
    rows = to_polars(table).join(with_split_groups(manifest, options), on="key", how="left")
    sizes = rows.group_by("split").agg(
        samples=pl.len(),
        conditional=(pl.col("role") == "conditional").sum(),
        unconditional=(pl.col("role") == "unconditional").sum(),
        groups=pl.col("group").drop_nulls().n_unique(),
    )
    pixels = (
        rows.select("split", "labels", "pixels")
        .drop_nulls("labels")
        .explode("labels", "pixels", empty_as_null=False)
        .group_by("split", label="labels")
        .agg(pixels=pl.col("pixels").cast(pl.Int64).sum(), images=pl.len())
        .sort("label", "split")
        .select("label", "split", "pixels", "images")
    )
    return (
        ShownTable(title="Splits", rows=sizes.sort("split")),
        ShownTable(title="Labels of each split", rows=pixels),
    )


def _runs(space: Workspace) -> tuple[ShownTable, ...]:
    """How far the runs are and how well they do, and the settings in which they differ."""
    runs = list_runs(space)
    if not runs:
        raise HistodsError(f"There are no runs in {space.folder} yet; run 'histods train{space.option}'.")
    rows = [{name: value for name, value in asdict(run).items() if name not in _HIDDEN} for run in runs]
    tables = [ShownTable(title="Runs", rows=pl.DataFrame(rows, infer_schema_length=None))]
    keys = sorted({key for run in runs for key in run.settings})
    differ = [key for key in keys if len({repr(run.settings.get(key)) for run in runs}) > 1]
    if differ:
        columns = {run.run: [str(run.settings.get(key, "-")) for key in differ] for run in runs}
        tables.append(ShownTable(title="Settings that differ", rows=pl.DataFrame({"setting": differ, **columns})))
    return tuple(tables)


def _find_sample(what: str, manifest: pl.DataFrame, findings: pl.DataFrame, root: Path) -> pl.DataFrame:
    """The row of a sample, by its key or by a path of one of its files."""
    paths = {what, what.removeprefix("./")}
    if Path(what).resolve().is_relative_to(root):
        paths.add(Path(what).resolve().relative_to(root).as_posix())
    wanted = list(paths)
    for column in ("key", "image_path", "mask_path"):
        found = manifest.filter(pl.col(column).is_in(wanted))
        if len(found):
            return found.head(1)
    near = _near(what, manifest["key"], findings)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    raise HistodsError(f"There is no finding, sample or table named {what}{hint}.")


def _near(what: str, keys: pl.Series, findings: pl.DataFrame) -> list[str]:
    """Names like `what`: codes and tables first, then keys that hold it, then keys that are spelt nearly so."""
    codes = [*findings["code"].unique().sort().to_list(), *TABLES]
    near = difflib.get_close_matches(what, codes, n=_MAX_NEAR)
    return (near + near_keys(what, keys))[:_MAX_NEAR]


def _sample(
    sample: pl.DataFrame, findings: pl.DataFrame, space: Workspace, audit: AuditSummary
) -> tuple[ShownTable, ...]:
    """Everything known of one sample."""
    row = sample.row(0, named=True)
    key = row["key"]
    facts = {name: value for name, value in row.items() if name not in ("labels", "pixels") and value is not None}
    if space.split.is_file():
        sides = to_polars(read_any_split(space)[0]).filter(pl.col("key") == key)["split"].to_list()
        facts |= {"split": sides[0]} if sides else {}
    texts = pl.DataFrame(
        {"what": list(facts), "value": [str(value) for value in facts.values()]},
        schema={"what": pl.String, "value": pl.String},
    )
    tables = [ShownTable(title="Sample", rows=texts, facts=facts)]
    if len(findings):
        tables.append(ShownTable(title="Findings", rows=findings.select("severity", "code", "path", "message")))
    if row["labels"] is not None:
        names = labels_of_audit(audit)
        tables.append(_histogram("Labels", "label", row["labels"], row["pixels"], names.name))
    for name in space.class_systems():
        classes = {one["class"]: one["name"] for one in read_json(space.remap_summary(name)).get("classes", [])}
        held = to_polars(read_table(space.remap_table(name), ["key", "classes", "pixels"]))
        for mine in held.filter(pl.col("key") == key).drop_nulls("classes").iter_rows(named=True):
            title = f"Classes of {name}"
            tables.append(
                _histogram(title, "class", mine["classes"], mine["pixels"], lambda index, of=classes: of[index])
            )
    return tuple(tables)


def _histogram(title: str, column: str, values: list[int], pixels: list[int], name: Any) -> ShownTable:
    total = sum(pixels) or 1
    rows = [
        {column: value, "name": name(value), "pixels": count, "percent": 100 * count / total}
        for value, count in zip(values, pixels, strict=True)
    ]
    schema = {column: pl.Int64, "name": pl.String, "pixels": pl.Int64, "percent": pl.Float64}
    return ShownTable(title=title, rows=pl.DataFrame(rows, schema=schema))


def _draw(
    samples: pl.DataFrame, folder: Path, audit: AuditSummary, progress: Progress | None
) -> tuple[tuple[Path, ...], tuple[tuple[str, str], ...]]:
    """Draw an overlay of each sample into a folder."""
    colours = labels_of_audit(audit).colours
    nearest = audit.options.nearest_colour
    written, failed = [], []
    with OpenRoot(audit.root) as dataset:
        for number, row in enumerate(samples.iter_rows(named=True), start=1):
            try:
                pixels = draw_overlay(dataset, row["image_path"], row["mask_path"], colours, nearest=nearest)
            except UnreadableFileError as error:
                failed.append((row["key"], str(error)))
            else:
                name = re.sub(r"[^\w.-]", "-", row["key"])[-_LONGEST_NAME:]
                written.append(folder / f"{number:03d}-{name}.png")
                write_overlay(written[-1], pixels)
            if progress is not None:
                progress("drawing overlays", number, len(samples))
    return tuple(written), tuple(failed)
