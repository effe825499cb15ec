"""remap: give every label its class, on the histograms of the manifest, and write remapped masks if asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from histods.classes.class_system import choose_map, choose_workspace_map, flatten_labels, list_column
from histods.dataset.manifest import SCHEMA_VERSION, Manifest, write_table
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import locked, write_json
from histods.io.workspace import Workspace, read_json, refuse_file
from histods.labels.audit_labels import labels_of_audit
from histods.labels.bundled_labels import doubt_bundled_map
from histods.labels.dataset_csv import write_dataset_csv
from histods.labels.draft_files import write_map_draft
from histods.labels.label_map import IDENTITY, LabelMap, LabelTable
from histods.labels.label_map_file import find_label_map
from histods.labels.label_names import read_counts
from histods.masks.writer import claim_folder, plan_masks, write_mask_files
from histods.masks.writing_job import first_of, run_mask_tasks
from histods.printing import printed
from histods.records import ClassCount

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.labels.label_map import ClassHistograms
    from histods.records import Progress

_COUNTS = (
    *("conditional", "unconditional", "excluded", "became_unconditional", "became_conditional"),
    *("masks", "pixels", "excluded_masks", "excluded_pixels"),
)


@printed(table="classes", hide=("labels", "map_digest", "manifest_digest"))
@dataclass(frozen=True, kw_only=True, slots=True)
class RemapResult:
    """What a dataset, or a table of counts, is in a class system.

    Attributes:
        name: name of the class system.
        map: the label map as it was asked for; None where labels stayed as they are.
        classes: totals of each class over the masks in use: those of samples that are not excluded.
        labels: the source labels that the map lists for each class.
        unmapped_class: class of labels that the map does not list; None where they are an error.
        unmapped_labels: labels that occur, are not listed, and became `unmapped_class`.
        unmapped_pixels: their pixels.
        conditional: samples with a pixel of a class other than 0.
        unconditional: samples without a mask, or with class 0 alone.
        masks: masks in use; None where a table of counts was remapped.
        excluded: samples of the manifest that are left out.
        excluded_masks: masks of these that can be read.
        excluded_pixels: pixels of these masks.
        became_unconditional: samples with a non-zero mask whose classes are all 0.
        became_conditional: samples with a zero mask, where label 0 becomes another class.
        pixels: pixels of all classes, the same number as before.
        map_digest: digest of the label map's content.
        manifest_digest: digest of the manifest; None where a table of counts was remapped.
        warnings: what is odd, but no error.
        masks_written: masks that this run wrote.
        masks_present: masks that an earlier, interrupted run had written.
    """

    name: str
    map: str | None = None
    classes: tuple[ClassCount, ...]
    labels: tuple[tuple[int, ...], ...]
    unmapped_class: int | None
    unmapped_labels: tuple[int, ...]
    unmapped_pixels: int
    conditional: int = 0
    unconditional: int = 0
    masks: int | None = None
    excluded: int = 0
    excluded_masks: int = 0
    excluded_pixels: int = 0
    became_unconditional: int = 0
    became_conditional: int = 0
    pixels: int
    map_digest: str
    manifest_digest: str | None = None
    warnings: tuple[str, ...] = ()
    masks_written: int = 0
    masks_present: int = 0


def remap(
    *,
    workspace: str | Path | None = None,
    map: str | Path | None = None,  # noqa: A002 - named like the command's option
    write_masks: str | Path | None = None,
    dataset_csv: str | Path | None = None,
    counts: str | Path | None = None,
    draft: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RemapResult:
    """Apply a label map to the histograms of the last audit; no pixel is read unless masks are written.

    Args:
        workspace: folder of the audit; gets `remap/NAME.parquet` and `remap/NAME.json`.
        map: label map: the name of a class system of the workspace, a path, a file of the dataset's root or a
            bundled one; labels stay as they are if None.
        write_masks: new folder for the remapped masks, 8-bit grey PNG; an interrupted run goes on there.
        dataset_csv: file for headerless lines of `name,c0 c1 ...`, one for each sample that is not excluded.
        counts: CSV table of pixels per label to remap instead of the audit; nothing is written.
        draft: new file for a label map to edit, with every label that occurs; nothing else is written.
        workers: processes that write masks; all usable cores by default.
        progress: called with a stage, masks done and masks in all.

    Raises:
        HistodsError: the map does not fit the labels, or a place to write to is not free.
        StaleFileError: the manifest or a mask is not the one that was audited.
    """
    _refuse_mixed(counts, draft, map, write_masks, dataset_csv)
    if counts is not None:
        return _remap_counts(Path(counts), map, draft)
    space = Workspace.find(workspace)
    audit = space.read_audit()
    root = Path(audit.root)
    for place, option in ((write_masks, "--write-masks"), (dataset_csv, "--dataset-csv")):
        if place is not None:
            space.check_place(Path(place), option, root)
    table = Manifest.read(space.manifest).table
    used = pc.not_equal(table["role"], "excluded")
    samples, left_out = table.filter(used), table.filter(pc.invert(used))
    labels, pixels, offsets = flatten_labels(samples)
    names = labels_of_audit(audit)
    if draft is not None:
        held, which = np.unique(labels, return_inverse=True)
        sums = np.bincount(which, pixels, len(held)).astype(np.int64)
        label_map = write_map_draft(draft, root, held, sums, np.bincount(which), names)
        return _summarise(label_map, held, sums, _add_up(label_map, held, sums), None)
    label_map = choose_workspace_map(IDENTITY if map is None else map, space, root, labels, names)
    histograms = label_map.remap_histograms(labels, pixels, offsets)
    conditional = histograms.conditional()
    before = pc.equal(samples["role"], "conditional").to_numpy()
    result = replace(
        _summarise(label_map, labels, pixels, *histograms.totals(len(label_map.classes))),
        map=_as_asked(map, space),
        conditional=int(conditional.sum()),
        unconditional=int((~conditional).sum()),
        masks=len(samples) - samples["labels"].null_count,
        excluded=len(table) - len(samples),
        excluded_masks=len(left_out) - left_out["labels"].null_count,
        excluded_pixels=int(flatten_labels(left_out).pixels.sum(dtype=np.int64)),
        became_unconditional=int((before & ~conditional).sum()),
        became_conditional=int((~before & conditional).sum()),
        manifest_digest=audit.manifest_digest,
    )
    doubts = (*_replaces_another(result, space), *_doubt_map(map, space, root, names, labels))
    _write_tables(result, samples, histograms, conditional, space)
    # Said, but not written: the files are the same whatever was there before, and whoever asks.
    result = replace(result, warnings=(*result.warnings, *doubts))
    if dataset_csv is not None:
        classes = (classes for classes, _ in histograms.lists())
        write_dataset_csv(Path(dataset_csv), samples["key"].to_pylist(), classes)
    if write_masks is None:
        return result
    work = partial(
        write_mask_files,
        root=str(root),
        folder=str(write_masks),
        lookup=label_map.lookup(),
        colours=names.colours,
        nearest=audit.options.nearest_colour,
    )
    tasks = list(plan_masks(samples, histograms.lists()))
    folder = Path(write_masks)
    refuse_file(folder, "--write-masks")
    with locked(folder, "writes masks"):
        claim_folder(folder, result.map_digest, audit.manifest_digest)
        report = run_mask_tasks(work, tasks, folder, workers, progress)
    if report.problems:
        raise StaleFileError(
            f"Masks are not as the last audit read them: {first_of(report.problems)}; "
            f"run '{audit.command}' again, then remap into a new folder."
        )
    return replace(result, masks_written=report.written, masks_present=report.present)


def _refuse_mixed(
    counts: str | Path | None,
    draft: str | Path | None,
    label_map: str | Path | None,
    write_masks: str | Path | None,
    dataset_csv: str | Path | None,
) -> None:
    """Refuse options that do nothing together."""
    is_written = write_masks is not None or dataset_csv is not None
    if counts is not None and is_written:
        raise HistodsError(
            "--counts does not go together with --write-masks or --dataset-csv: "
            "a table of counts has no samples; leave --counts out."
        )
    if draft is not None and (is_written or label_map is not None):
        raise HistodsError(
            "--draft does not go together with --map, --write-masks or --dataset-csv; "
            "edit the draft first, then give it with --map."
        )


def to_document(result: RemapResult) -> dict[str, Any]:
    """The content of `remap/NAME.json`."""
    classes = []
    for row, labels in zip(result.classes, result.labels, strict=True):
        totals = {"pixels": row.pixels, "percent": row.percent, "images": row.images}
        classes.append({"class": row.index, "name": row.name, "labels": list(labels), **totals})
    return {
        "schema_version": SCHEMA_VERSION,
        "name": result.name,
        "map": result.map,
        "classes": classes,
        "unmapped": {
            "class": result.unmapped_class,
            "labels": list(result.unmapped_labels),
            "pixels": result.unmapped_pixels,
        },
        "counts": {name: getattr(result, name) for name in _COUNTS},
        "warnings": list(result.warnings),
        "map_digest": result.map_digest,
        "manifest_digest": result.manifest_digest,
    }


def _as_asked(asked: str | Path | None, space: Workspace) -> str | None:
    """The label map as it was asked for; of a class system that is there, as it was asked for before."""
    if asked is not None and str(asked) in space.class_systems():
        before = read_json(space.remap_summary(str(asked))).get("map")
        return before if isinstance(before, str) else str(asked)
    return None if asked is None else str(asked)


def _remap_counts(path: Path, name: str | Path | None, draft: str | Path | None) -> RemapResult:
    labels, titles, pixels = read_counts(path)
    names = LabelTable(names=dict(zip(labels.tolist(), titles, strict=True)))
    if draft is None:
        label_map = choose_map(name, None, labels, names)
    else:
        label_map = write_map_draft(draft, None, labels, pixels, None, names)
    label_map.check_mapped(labels, pixels)
    return _summarise(label_map, labels, pixels, _add_up(label_map, labels, pixels), None)


def _add_up(label_map: LabelMap, labels: NDArray[np.uint16], pixels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Pixels of each class."""
    totals = np.zeros(len(label_map.classes), dtype=np.int64)
    np.add.at(totals, label_map.lookup()[labels], pixels)
    return totals


def _summarise(
    label_map: LabelMap,
    labels: NDArray[np.uint16],
    pixels: NDArray[np.integer],
    totals: NDArray[np.int64],
    images: NDArray[np.int64] | None,
) -> RemapResult:
    """What holds of a table of counts as well as of samples."""
    everything = int(totals.sum())
    others = label_map.unmapped_labels(labels)
    classes = tuple(
        ClassCount(
            index=index,
            name=name,
            pixels=int(totals[index]),
            percent=100 * int(totals[index]) / everything if everything else 0.0,
            images=None if images is None else int(images[index]),
        )
        for index, name in enumerate(label_map.classes)
    )
    return RemapResult(
        name=label_map.name,
        classes=classes,
        labels=tuple(label_map.labels_of(index) for index in range(len(classes))),
        unmapped_class=label_map.unmapped,
        unmapped_labels=tuple(others.tolist()),
        unmapped_pixels=int(pixels[np.isin(labels, others)].sum(dtype=np.int64)),
        pixels=everything,
        map_digest=label_map.digest,
        warnings=label_map.warnings,
    )


def _write_tables(
    result: RemapResult,
    samples: pa.Table,
    histograms: ClassHistograms,
    conditional: NDArray[np.bool_],
    space: Workspace,
) -> None:
    """Write the table of samples, then the summary with its digest."""
    without = pc.is_null(samples["labels"]).combine_chunks()
    table = pa.table(
        {
            "key": samples["key"],
            "role": pa.array(np.where(conditional, "conditional", "unconditional"), pa.string()),
            "classes": list_column(histograms.classes, histograms.offsets, without),
            "pixels": list_column(histograms.pixels, histograms.offsets, without),
        }
    )
    metadata = {
        "schema_version": str(SCHEMA_VERSION),
        "name": result.name,
        "map_digest": result.map_digest,
        "manifest_digest": str(result.manifest_digest),
    }
    write_table(table, space.remap_table(result.name), metadata)
    write_json(space.remap_summary(result.name), to_document(result))


def _replaces_another(result: RemapResult, space: Workspace) -> tuple[str, ...]:
    """A warning where the workspace has a class system of this name that another map made."""
    try:
        before = read_json(space.remap_summary(result.name))
    except HistodsError:  # there is none, or it is damaged
        return ()
    if before.get("map_digest") == result.map_digest:
        return ()
    return (f"replaces the class system {result.name}, which was made from another map",)


def _doubt_map(
    asked: str | Path | None, space: Workspace, root: Path, names: LabelTable, labels: NDArray[np.uint16]
) -> tuple[str, ...]:
    """A warning where the label map may not be the one that is meant."""
    if asked is None or str(asked) in (IDENTITY, *space.class_systems()):
        return ()
    file = find_label_map(asked, root)
    doubts = [doubt_bundled_map(file, names, np.unique(labels).tolist())]
    hidden = root / asked
    if file == Path(asked) and hidden.is_file() and hidden.read_bytes() != file.read_bytes():
        doubts.append(f"read {file.absolute()}; the dataset has another file of this name, {hidden}")
    return tuple(doubt for doubt in doubts if doubt is not None)
