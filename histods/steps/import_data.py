"""import_data: make masks from annotations, in a new dataset folder beside copies of their images."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from histods.annotations.classes import format_labels, list_labels, number_classes
from histods.annotations.draw import WRITTEN, DrawFolders, draw_images
from histods.annotations.folder import claim, open_journal, read_done, write_tables
from histods.annotations.mark import LABELS, SCHEMA_VERSION, ImportMark, write_mark
from histods.annotations.plan import Reader, find_source, make_plan
from histods.annotations.shapes import parse_class_name
from histods.annotations.tasks import chunk_tasks
from histods.dataset.filled_folder import remove_incomplete
from histods.dataset.manifest import to_polars
from histods.engines import Failed, engine_for
from histods.errors import HistodsError
from histods.images.header import MAX_PIXELS
from histods.io.atomic import locked, write_text
from histods.io.workspace import Workspace, refuse_file
from histods.labels.label_map_file import find_label_map
from histods.labels.label_names import read_labels
from histods.printing import printed
from histods.records import silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from histods.annotations.classes import Label
    from histods.annotations.draw import DrawTask
    from histods.annotations.plan import Plan, Source
    from histods.engines import Engine
    from histods.io.journal import Journal
    from histods.records import Progress

_SIZE = re.compile(r"([0-9]{1,9})[xX]([0-9]{1,9})")


class ImportedClass(NamedTuple):
    """A label of the new masks: its name and colour, and the annotations, pixels and masks that have it."""

    label: int
    name: str
    colour: str | None
    annotations: int
    pixels: int
    masks: int


class LeftOutCount(NamedTuple):
    """Why something is not in a mask, how often, and one of them."""

    reason: str
    number: int
    example: str


@printed(table="classes")
@dataclass(frozen=True, kw_only=True, slots=True)
class ImportDataResult:
    """What is in a folder of imported annotations.

    Attributes:
        folder: the new dataset folder.
        formats: the formats of the annotations.
        classes: the labels of the masks.
        masks: masks in the folder.
        images: images in the folder, each beside its mask.
        written: images and masks that this run wrote, counted by mask.
        present: those that were there already.
        drawn: annotations in the masks; one that several images of a slide show counts for each.
        crowds: those of them that are groups of objects.
        cut: those of them that reach out of their image, and end at its edge.
        overlapped: pixels on which annotations of several classes lie, and the one drawn last counts.
        unlabelled: pixels of label 0.
        left_out: annotations that are in no mask, by reason.
        skipped: images and files of annotations of which nothing was made, by reason.
        audit: the command that audits the new folder; None without images.
    """

    folder: Path
    formats: tuple[str, ...]
    classes: tuple[ImportedClass, ...]
    masks: int
    images: int
    written: int
    present: int
    drawn: int
    crowds: int
    cut: int
    overlapped: int
    unlabelled: int
    left_out: tuple[LeftOutCount, ...]
    skipped: tuple[LeftOutCount, ...]
    audit: str | None


def import_data(
    root: str | Path,
    *,
    to: str | Path,
    annotations: str | Path | None = None,
    labels: str | Path | None = None,
    unclassified: str | None = None,
    size: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ImportDataResult:
    """Make masks from annotations (COCO, GeoJSON of QuPath), in a new dataset folder that the audit reads.

    Images are copied byte for byte beside their masks. A pixel belongs to a polygon if its centre lies inside. The
    folder of the images is never written to. An interrupted run resumes where it stopped.

    Args:
        root: folder of the images.
        to: new folder for images and masks, outside of the others.
        annotations: a file, or a folder of files that are named like their images; by default `root`.
        labels: file (or bundled name) with the number of each class; by default the numbers in the file of
            annotations, or else classes are numbered from 1 in the order of their names.
        unclassified: class of annotations without one, which else are left out.
        size: `WIDTHxHEIGHT` in pixels: files of annotations without an image become masks of this size.
        workers: processes; all usable cores by default.
        progress: called as the work proceeds.

    Raises:
        HistodsError: the call is wrong, nothing can be drawn, or the folder holds something else.
        StaleFileError: a file of annotations changed at the same time.
    """
    report = progress or silent
    images, folder = _parse_root(root), Path(to)
    extent = None if size is None else _parse_size(size)
    default = None if unclassified is None else _parse_class(unclassified)
    source = find_source(images, None if annotations is None else Path(annotations))
    for place in (images, source.folder.resolve()) if not source.is_named else (images,):
        Workspace.find().check_place(folder, "--to", place)
    refuse_file(folder, "--to")
    table = None if labels is None else read_labels(find_label_map(labels, images))
    reader = Reader(source, default)
    plan = make_plan(images, reader, alone=extent is not None, progress=report)
    _check_plan(plan, source, images)
    numbers = number_classes(plan.categories, table)
    listed = list_labels(plan.categories, numbers, table)
    text = format_labels(listed)
    mark = ImportMark(
        schema_version=SCHEMA_VERSION,
        root=str(images),
        annotations=str(source.folder.resolve()),
        labels=numbers,
        plan_digest=plan.digest(SCHEMA_VERSION, str(images), text, default, extent),
        command=_command(root, to, annotations, labels, unclassified, size),
        table_digest=None,
    )
    with engine_for("local", workers) as engine, locked(folder, "writes"):
        known = claim(folder, mark)
        with open_journal(folder) as journal:
            done = read_done(folder, known, journal)
            ready = frozenset(done["key"])
            todo = [one.key for one in plan.drawings if one.key not in ready]
            write_mark(folder, mark)
            chunks = chunk_tasks(plan, reader, numbers, size=extent, done=ready)
            _run(
                engine,
                chunks,
                DrawFolders(root=str(images), folder=str(folder.resolve())),
                len(todo),
                journal,
                report,
            )
            made = to_polars(journal.table()).filter(~pl.col("key").is_in(list(ready)))
            made = pl.concat([done, made]).unique("key", keep="last", maintain_order=True)
            write_text(folder / LABELS, text)
            write_tables(folder, made, plan, mark)
            if known is not None:
                remove_incomplete({folder, *((folder / key).parent for key in todo)})
            journal.remove()
    return _result(folder, plan, listed, made, len(done))


def _parse_root(root: str | Path) -> Path:
    folder = Path(root)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise HistodsError(f"{root} {found}; give the folder that holds the images.")
    return folder.resolve()


def _parse_size(size: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(size.strip())
    if match is None or not 0 < int(match[1]) * int(match[2]) <= MAX_PIXELS:
        raise HistodsError(
            f"--size {size!r} is not WIDTHxHEIGHT of at most {MAX_PIXELS:,} pixels, such as 512x512."
        )
    return int(match[1]), int(match[2])


def _parse_class(name: str) -> str:
    parsed = parse_class_name(name)
    if parsed is None:
        raise HistodsError("--unclassified needs the name of a class, such as --unclassified Nucleus.")
    return parsed


def _check_plan(plan: Plan, source: Source, root: Path) -> None:
    """Refuse what would make no mask.

    Raises:
        HistodsError: no image has annotations; the message says why of one.
    """
    if plan.drawings:
        return
    where = source.path(source.files[0]) if source.is_named else source.folder
    first = min((one for one in plan.skipped if one.file), default=None)
    why = ""
    if first is not None:
        is_entry = first.file in plan.digests and not first.file.startswith(first.image)
        why = f" ({first.image if is_entry else first.file}: {first.reason})"
    raise HistodsError(
        f"The annotations in {where} belong to no image in {root}{why}; files of GeoJSON have the names of their "
        "images, and COCO names them under file_name."
    )


def _command(
    root: str | Path,
    to: str | Path,
    annotations: str | Path | None,
    labels: str | Path | None,
    unclassified: str | None,
    size: str | None,
) -> str:
    """The command that makes this folder."""
    words = ["histods", "import-data", str(Path(root).resolve()), "--to", str(Path(to).resolve())]
    words += [] if annotations is None else ["--annotations", str(Path(annotations).resolve())]
    words += [] if labels is None else ["--labels", str(labels)]
    words += [] if unclassified is None else ["--unclassified", unclassified]
    words += [] if size is None else ["--size", size]
    return shlex.join(words)


def _run(
    engine: Engine,
    chunks: Iterable[list[DrawTask]],
    folders: DrawFolders,
    total: int,
    journal: Journal,
    progress: Progress,
) -> None:
    """Draw all masks; what is wrong with the disk ends it, and what was done is kept."""
    done = 0
    for outcome in engine.run(partial(draw_images, folders=folders), chunks):
        if isinstance(outcome, Failed):
            one = outcome.chunk[0]
            raise HistodsError(
                f"The mask of {one.image or one.key} could not be drawn ({outcome.error}); use fewer --workers, "
                "so that there is more memory for each."
            )
        journal.append(outcome.value.rows)
        if outcome.value.disk is not None:
            raise HistodsError(
                f"Writing into {folders.folder} failed ({outcome.value.disk}); "
                "fix that and run the same command again to continue."
            )
        done += len(outcome.chunk)
        progress("drawing masks", done, total)


def _result(folder: Path, plan: Plan, listed: list[Label], made: pl.DataFrame, present: int) -> ImportDataResult:
    written = made.filter(status=WRITTEN)
    pixels = written.select("labels", "pixels").explode("labels", "pixels").group_by("labels")
    held = {
        label: (total, masks)
        for label, total, masks in pixels.agg(pl.col("pixels").cast(pl.Int64).sum(), pl.len()).iter_rows()
    }
    of_label: Counter[int] = Counter()
    for label, name, _ in listed:
        of_label[label] += plan.annotations[name]
    classes = [
        ImportedClass(
            label,
            name,
            None if colour is None else "#{:02x}{:02x}{:02x}".format(*colour),
            of_label[label],
            *held.get(label, (0, 0)),
        )
        for label, name, colour in listed
        if label in held or of_label[label]
    ]
    images = written["image_path"].count()
    space = folder.with_name(f"{folder.name or 'imported'}-histods")
    words = ["histods", "audit", str(folder), "--labels", str(folder / LABELS), "-w", str(space)]
    return ImportDataResult(
        folder=folder,
        formats=tuple(sorted(plan.formats)),
        classes=tuple(classes),
        masks=len(written),
        images=images,
        written=len(written) - present,
        present=present,
        drawn=int(written["drawn"].sum()),
        crowds=int(written["crowds"].sum()),
        cut=int(written["cut"].sum()),
        overlapped=int(written["overlapped"].sum()),
        unlabelled=held.get(0, (0, 0))[0],
        left_out=_count_left_out(plan, made),
        skipped=_count_skipped(plan, made),
        audit=shlex.join(words) if images else None,
    )


def _count_left_out(plan: Plan, made: pl.DataFrame) -> tuple[LeftOutCount, ...]:
    """Annotations that are in no mask by their reasons, the most frequent first."""
    numbers: Counter[str] = Counter()
    examples: dict[str, str] = {}
    lost = [(one.image or one.file, one.left_out.item, one.left_out.reason) for one in plan.lost]
    rows = made.select("key", "left_out").explode("left_out", empty_as_null=False).drop_nulls("left_out")
    lost += [(key, row["item"], row["reason"]) for key, row in rows.iter_rows()]
    for where, item, reason in lost:
        numbers[reason] += 1
        examples.setdefault(reason, f"{where}: {item}")
    return tuple(LeftOutCount(reason, number, examples[reason]) for reason, number in numbers.most_common())


def _count_skipped(plan: Plan, made: pl.DataFrame) -> tuple[LeftOutCount, ...]:
    """Images and files of which nothing was made by their kind, the most frequent first."""
    numbers: Counter[str] = Counter()
    examples: dict[str, str] = {}
    skipped = [(one.image or one.file, one.status, one.reason) for one in sorted(plan.skipped)]
    refused = made.filter(pl.col("status") != WRITTEN).sort("key")
    skipped += list(refused.select("source", "status", "reason").iter_rows())
    for where, status, reason in skipped:
        numbers[status] += 1
        examples.setdefault(status, f"{where}: {reason}")
    return tuple(LeftOutCount(status, number, examples[status]) for status, number in numbers.most_common())
