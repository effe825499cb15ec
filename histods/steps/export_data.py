"""export_data: write the dataset in the layout of another tool, by class system and split."""

from __future__ import annotations

import hashlib
import posixpath
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from histods.classes.class_system import choose_workspace_map, flatten_labels, with_classes
from histods.dataset.manifest import Manifest, to_polars
from histods.engines import Failed, engine_for
from histods.errors import HistodsError, StaleFileError
from histods.exports.base import FORMATS, UNKNOWN, Export, Unknown, format_of
from histods.exports.folds import TRAIN
from histods.exports.mark import (
    SCHEMA_VERSION,
    TABLE,
    ExportMark,
    Outcome,
    claim,
    digest_files,
    is_described,
    write_mark,
)
from histods.exports.names import flat_names
from histods.exports.parts import iter_notes, list_done, read_part, remove_parts, sizes_match
from histods.exports.writer import SAMPLES, ExportOptions, ExportTask, plan_export, write_export
from histods.io.atomic import locked, write_text
from histods.io.csv_table import to_csv
from histods.io.workspace import Workspace, refuse_file
from histods.labels.audit_labels import labels_of_audit
from histods.printing import printed
from histods.records import ClassCount
from histods.splits.split_table import read_any_split, read_split, with_split_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.engines import Engine
    from histods.exports.base import Format
    from histods.io.audit_summary import AuditSummary
    from histods.labels.label_map import LabelMap
    from histods.records import Progress

_CHUNK, _CHUNKS = 128, 64
"""Samples per task at most, and tasks in a small dataset: neither depends on the workers, so that a run with other
workers resumes."""
_COLUMNS = (
    *("name", "key", "split", "group", "image", "mask", "image_path", "mask_path"),
    *("width", "height", "image_bytes", "mask_bytes"),
)
"""Columns of `samples.csv`; bytes are those of the exported files."""


@printed(table="classes", hide=("values",))
@dataclass(frozen=True, kw_only=True, slots=True)
class ExportDataResult:
    """What is in an exported folder.

    Attributes:
        folder: the folder.
        format: its format.
        map: name of the label map.
        classes: totals of each class over the exported samples.
        values: value of each class in the masks, or its category.
        ignore: value of ignored pixels; None where class 0 is background.
        unknown: what became of class 0, in a sentence.
        splits: split -> samples.
        has_split: whether the workspace has a split; all samples are in `train` where it has none.
        written: samples that this run wrote.
        present: samples that were there already.
        unlabelled: samples that were left out, since no pixel of theirs has a class other than an ignored one.
        excluded: excluded samples of the audit, which are left out.
        unreadable: images that could not be decoded, with the reason; they are left out.
        remarks: what else the user has to know, in sentences.
        command: the next command to type.
    """

    folder: Path
    format: str
    map: str
    classes: tuple[ClassCount, ...]
    values: tuple[int, ...]
    ignore: int | None
    unknown: str
    splits: dict[str, int]
    has_split: bool
    written: int
    present: int
    unlabelled: int
    excluded: int
    unreadable: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    command: str


def export_data(
    *,
    to: str | Path,
    format: str,  # noqa: A002 - named like the command's option
    map: str | Path | None = None,  # noqa: A002
    unknown: Unknown = "ignore",
    keep_unlabelled: bool = False,
    workspace: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ExportDataResult:
    """Write images and masks of the last audit in the layout of another tool.

    Masks have classes in the values of that tool; images are copied, or encoded without loss where it demands PNG.
    An interrupted run goes on.

    Args:
        to: new folder for the export, outside the dataset.
        format: `nnunet`, `semantic`, `voc` or `coco`.
        map: label map: the name of a class system of the workspace, a path, a file of the dataset's root, a
            bundled one, or `labels`, which keeps them. If None, the workspace's only class system, else `labels`.
        unknown: what class 0 becomes: `ignore`, pixels without an annotation, or `background`.
        keep_unlabelled: also export images without a mask, and with `ignore` those whose mask is class 0 alone.
        workspace: folder of the audit and of the split, if there is one.
        workers: processes; all usable cores by default.
        progress: called with a stage, samples done and samples in all.

    Raises:
        HistodsError: the call is wrong, the format cannot hold the classes, or the folder holds something else.
        StaleFileError: the manifest, the split or a file changed since it was read.
    """
    form, space, folder = format_of(format), Workspace.find(workspace), Path(to)
    if unknown not in UNKNOWN:
        raise HistodsError(f"--unknown cannot be {unknown!r}; choose {' or '.join(UNKNOWN)}.")
    audit = space.read_audit()
    space.check_place(folder, "--to", Path(audit.root))
    refuse_file(folder, "--to")
    table = Manifest.read(space.manifest).table
    used = table.filter(pc.not_equal(table["role"], "excluded"))
    names = labels_of_audit(audit)
    label_map = choose_workspace_map(map, space, Path(audit.root), flatten_labels(used).labels, names)
    options = ExportOptions(
        root=audit.root,
        folder=str(folder.resolve()),
        format=format,
        module=FORMATS[format],
        values=form.number(label_map.classes, unknown),
        lookup=label_map.lookup(),
        map_digest=label_map.digest,
        audit=audit.command,
        colours=dict(names.colours),
        nearest=audit.options.nearest_colour,
    )
    samples, split_digest = _with_splits(
        to_polars(with_classes(used, label_map)[0].drop_columns("labels")), space, audit
    )
    chosen = _choose(samples, space, unknown, keep_unlabelled=keep_unlabelled)
    form.check(folder, set(chosen["split"]))
    tasks = _chunk(_with_places(chosen, form), options)
    words = ["--map", str(map)] if map is not None else []
    words += ["--unknown", unknown] if unknown != UNKNOWN[0] else []
    words += ["--keep-unlabelled"] if keep_unlabelled else []
    place = ["--to", str(folder.resolve()), "-w", str(space.folder.resolve())]
    mark = ExportMark(
        schema_version=SCHEMA_VERSION,
        format=format,
        root=audit.root,
        unknown=unknown,
        keep_unlabelled=keep_unlabelled,
        map=label_map.name,
        map_digest=label_map.digest,
        manifest_digest=audit.manifest_digest,
        split_digest=split_digest,
        plan_digest=hashlib.sha256("".join(task.digest for task in tasks).encode()).hexdigest(),
        command=shlex.join(["histods", "export-data", "--format", format, *words, *place]),
        outcome=None,
    )
    with engine_for("local", workers) as engine, locked(folder, "exports"):
        outcome, written = _write(engine, tasks, options, mark, progress)
    exported = chosen.filter(~pl.col("image_path").is_in([path for path, _ in outcome.unreadable]))
    return ExportDataResult(
        folder=folder,
        format=format,
        map=label_map.name,
        classes=_count_classes(exported, label_map),
        values=options.values.values,
        ignore=options.values.ignore,
        unknown=options.values.unknown,
        splits=dict(exported.group_by("split").len().sort("split").iter_rows()),
        has_split=split_digest is not None,
        written=written,
        present=len(exported) - written,
        unlabelled=len(samples) - len(chosen),
        excluded=len(table) - len(used),
        unreadable=outcome.unreadable,
        remarks=outcome.remarks,
        command=outcome.command,
    )


def _with_splits(samples: pl.DataFrame, space: Workspace, audit: AuditSummary) -> tuple[pl.DataFrame, str | None]:
    """The samples with their split, and the groups by which they were split; and the digest of the split."""
    found = read_split(space, audit.manifest_digest)
    if found is None:
        return samples.with_columns(split=pl.lit(TRAIN)), None
    table, digest = found
    options = read_any_split(space)[1]
    samples = with_split_groups(samples, options)
    rows = to_polars(table.replace_schema_metadata(None))
    joined = samples.join(rows, on="key", how="left", maintain_order="left")
    if joined["split"].null_count() or len(joined) != len(samples):
        raise StaleFileError(
            f"{space.split} does not have each sample once; run '{options.command}{space.option}' again."
        )
    return joined, digest


def _choose(samples: pl.DataFrame, space: Workspace, unknown: Unknown, *, keep_unlabelled: bool) -> pl.DataFrame:
    """The samples to export: those that say something of their pixels, or all."""
    labelled = pl.col("classes").is_not_null()
    if unknown == "ignore":
        labelled &= pl.col("classes").list.max() > 0
    chosen = samples if keep_unlabelled else samples.filter(labelled)
    if samples.is_empty():
        raise HistodsError(
            f"No sample in {space.folder} can be used, so there is none to export; see its findings."
        )
    if chosen.is_empty():
        raise HistodsError(
            f"None of the {len(samples):,} samples has a pixel of a class other than class 0; give a --map that "
            "has such classes, --unknown background, or --keep-unlabelled."
        )
    return chosen


def _with_places(samples: pl.DataFrame, form: Format) -> pl.DataFrame:
    """Add name and paths of each exported sample."""
    names = flat_names(samples["key"].to_list())
    suffixes = [posixpath.splitext(path)[1].lower() for path in samples["image_path"]]
    places = [form.place(*one) for one in zip(names, samples["split"], suffixes, strict=True)]
    return samples.with_columns(
        name=pl.Series(names, dtype=pl.String),
        image=pl.Series([place.image for place in places], dtype=pl.String),
        mask=pl.Series([place.mask for place in places], dtype=pl.String),
    )


def _chunk(samples: pl.DataFrame, options: ExportOptions) -> list[ExportTask]:
    size = min(_CHUNK, -(-len(samples) // _CHUNKS))
    table = samples.select(SAMPLES.names).to_arrow()
    starts = range(0, len(samples), size)
    return [plan_export(f"{start // size:06d}", table.slice(start, size), options) for start in starts]


def _write(
    engine: Engine,
    tasks: Sequence[ExportTask],
    options: ExportOptions,
    mark: ExportMark,
    progress: Progress | None,
) -> tuple[Outcome, int]:
    """Write what is missing; return how it ended, and the number of samples that this run wrote."""
    folder = Path(options.folder)
    known = claim(folder, mark)
    if known is not None and known.outcome is not None:
        if is_described(folder, known.outcome) and _is_complete(folder):
            return known.outcome, 0
        remove_parts(folder)
    write_mark(folder, mark)
    done = list_done(folder, {task.name: task.digest for task in tasks})
    todo = [task for task in tasks if task.name not in done]
    _run(engine, todo, options, progress)
    samples = pl.concat([to_polars(pa.ipc.open_stream(task.samples).read_all()) for task in tasks])
    parts = pl.concat([to_polars(read_part(folder, task.name)) for task in tasks]).drop("image", "mask", "note")
    new = {name for task in todo for name in read_part(folder, task.name)["name"].to_pylist()}
    samples = samples.drop("image_bytes", "mask_bytes").join(parts, on="name", how="left", maintain_order="left")
    unreadable = samples.filter(pl.col("reason").is_not_null()).select("image_path", "reason").rows()
    exported = samples.filter(pl.col("reason").is_null())
    if exported.is_empty():
        raise HistodsError(f"No image can be decoded: {unreadable[0][0]} ({unreadable[0][1]}).")
    names = [task.name for task in tasks]
    finished = format_of(options.format).finish(
        Export(folder=folder, values=options.values, samples=exported, notes=lambda: iter_notes(folder, names))
    )
    _write_table(folder, exported)
    outcome = Outcome(
        files=digest_files(folder, (*finished.files, TABLE)),
        unreadable=tuple(unreadable),
        remarks=finished.remarks,
        command=finished.command,
    )
    write_mark(folder, mark, outcome)
    remove_parts(folder)
    return outcome, len(exported.filter(pl.col("name").is_in(new)))


def _run(engine: Engine, tasks: Sequence[ExportTask], options: ExportOptions, progress: Progress | None) -> None:
    """Write all chunks; what is wrong with the disk or the dataset ends it, and what was done is kept."""
    sizes = {task.name: pa.ipc.open_stream(task.samples).read_all().num_rows for task in tasks}
    everything, done = sum(sizes.values()), 0
    for outcome in engine.run(partial(write_export, options=options), [[task] for task in tasks]):
        if isinstance(outcome, Failed):
            raise HistodsError(
                f"Samples could not be exported ({outcome.error}); use fewer --workers, "
                "so that there is more memory for each."
            )
        problem = outcome.value
        if problem is not None and problem.kind == "stale":
            raise StaleFileError(problem.message)
        if problem is not None:
            raise HistodsError(
                f"Writing into {options.folder} failed ({problem.message}); "
                "fix that and run the same command again to continue."
            )
        done += sum(sizes[task.name] for task in outcome.chunk)
        if progress is not None:
            progress("exporting samples", done, everything)


def _write_table(folder: Path, samples: pl.DataFrame) -> None:
    """Write `samples.csv`: a line for each exported sample."""
    write_text(folder / TABLE, to_csv([_COLUMNS, *samples.select(_COLUMNS).iter_rows()]))


def _is_complete(folder: Path) -> bool:
    """Whether all files of `samples.csv`, which is as it was written, have the size that it gives."""
    rows = pl.read_csv(folder / TABLE, columns=["image", "mask", "image_bytes", "mask_bytes"])
    with_mask = rows.drop_nulls("mask")
    paths = [*rows["image"], *with_mask["mask"]]
    return sizes_match(folder, paths, [*rows["image_bytes"], *with_mask["mask_bytes"]])


def _count_classes(samples: pl.DataFrame, label_map: LabelMap) -> tuple[ClassCount, ...]:
    """Totals of each class over samples; one without a mask counts as class 0 throughout."""
    full = pl.col("width").cast(pl.Int64) * pl.col("height").cast(pl.Int64)
    rows = samples.select(
        classes=pl.col("classes").fill_null(pl.lit([0], dtype=pl.List(pl.UInt16))),
        pixels=pl.when(pl.col("classes").is_null())
        .then(pl.concat_list(full))
        .otherwise(pl.col("pixels").cast(pl.List(pl.Int64))),
    ).explode("classes", "pixels")
    totals = {
        index: (pixels, images)
        for index, pixels, images in rows.group_by("classes")
        .agg(pl.col("pixels").sum(), images=pl.len())
        .iter_rows()
    }
    everything = int(rows["pixels"].sum())
    found = []
    for index, name in enumerate(label_map.classes):
        pixels, images = totals.get(index, (0, 0))
        percent = 100 * pixels / everything
        found.append(ClassCount(index=index, name=name, pixels=pixels, percent=percent, images=images))
    return tuple(found)
