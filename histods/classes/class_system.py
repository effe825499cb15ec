"""The class system of an audited dataset: its label map, and the histograms that the map is applied to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from histods.colours.colour_labels import OFF_PALETTE_LABEL
from histods.dataset.manifest import read_table
from histods.errors import HistodsError
from histods.io.checked import fit
from histods.io.workspace import read_json
from histods.labels.label_map import IDENTITY, MAX_LABELS, LabelMap, LabelTable, identity_map
from histods.labels.label_map_file import find_label_map, read_label_map

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.io.workspace import Workspace
    from histods.labels.label_map import ClassHistograms


class LabelHistograms(NamedTuple):
    """Label histograms of many samples, flattened; those of sample i are at `offsets[i]:offsets[i + 1]`."""

    labels: NDArray[np.uint16]
    pixels: NDArray[np.uint32]
    offsets: NDArray[np.int64]


def flatten_labels(samples: pa.Table, column: str = "labels") -> LabelHistograms:
    """Labels (or the values of another column) and pixels of all rows; a sample without a mask has no entries."""
    lengths = pc.fill_null(pc.list_value_length(samples[column]), 0).to_numpy()
    labels, pixels = (pc.list_flatten(samples[name]).to_numpy() for name in (column, "pixels"))
    return LabelHistograms(labels, pixels, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))


def choose_map(
    name: str | Path | None, root: Path | None, labels: NDArray[np.uint16], names: LabelTable
) -> LabelMap:
    """Find a label map by name (a path, a file in the dataset's root, or a bundled one), or keep labels unchanged.

    Args:
        name: the label map; None or `labels` keeps labels unchanged.
        root: folder of the dataset, which is also searched for label maps.
        labels: labels that occur.
        names: names and colours of the labels.

    Raises:
        HistodsError: there is no such map, it is wrong, or unchanged labels do not fit 8 bits.
    """
    if name is None or str(name) == IDENTITY:
        if names.colours and OFF_PALETTE_LABEL in labels:
            raise HistodsError(
                "Some pixels have colours that are not in the labels file, so labels cannot stay as they are; "
                f"add their colours, or give a --map that has a class for label {OFF_PALETTE_LABEL}."
            )
        return identity_map(np.unique(labels).tolist(), names)
    return read_label_map(find_label_map(name, root), names)


def choose_workspace_map(
    name: str | Path | None, space: Workspace, root: Path, labels: NDArray[np.uint16], names: LabelTable
) -> LabelMap:
    """The label map that training uses: the given one, else the only one of the workspace.

    Args:
        name: a class system of the workspace, or any name for `choose_map`; by default the workspace's only class
            system, or unchanged labels if it has none.
        space: the workspace.
        root: folder of the dataset.
        labels: labels that occur.
        names: names and colours of the labels.

    Raises:
        HistodsError: the workspace has several class systems, and none is given; or see `choose_map`.
    """
    known = list_label_maps(space)
    if name is None and len(known) > 1:
        raise HistodsError(
            f"{space.folder} has {len(known)} label maps: {', '.join(known)}. Choose one with --map {known[0]}, "
            f"or keep the labels with --map {IDENTITY}."
        )
    chosen = known[0] if name is None and known else name
    if str(chosen) in known:
        return read_kept_map(space, str(chosen))
    return choose_map(chosen, root, labels, names)


def list_label_maps(space: Workspace) -> list[str]:
    """Names of the workspace's class systems, sorted, without that of unchanged labels, which always exists."""
    return [name for name in space.class_systems() if name != IDENTITY]


def find_by_digest(space: Workspace, map_digest: str) -> str | None:
    """Name of the class system with this label map, which a run was trained on, or None."""
    for name in list_label_maps(space):
        try:
            if read_json(space.remap_summary(name)).get("map_digest") == map_digest:
                return name
        except HistodsError:  # damaged; reported elsewhere
            continue
    return None


def read_kept_map(space: Workspace, name: str) -> LabelMap:
    """Read the label map of a class system as `remap` recorded it; the original file is no longer needed.

    Raises:
        HistodsError: the record is damaged.
    """
    path = space.remap_summary(name)
    summary = read_json(path)
    try:
        rows = fit(summary.get("classes"), list[dict[str, Any]], "classes")
        table = {
            label: index for index, row in enumerate(rows) for label in fit(row["labels"], list[int], "labels")
        }
        unmapped = fit(summary.get("unmapped"), dict[str, Any], "unmapped").get("class")
        label_map = LabelMap(
            name=name,
            classes=tuple(fit(row["name"], str, "name") for row in rows),
            table=table,
            unmapped=fit(unmapped, int | None, "class"),
        )
        if not all(0 <= label < MAX_LABELS for label in table) or not 0 <= (unmapped or 0) < len(rows):
            raise ValueError("numbers beyond those of labels and classes")  # noqa: TRY301 - one error for all
    except (KeyError, ValueError, HistodsError) as error:
        reason = str(error).partition(";")[0]  # without the advice on a file that the user wrote
        raise HistodsError(
            f"{path} is damaged ({reason}): run 'histods remap --map FILE -w {space.folder}' again."
        ) from error
    if label_map.digest != summary.get("map_digest"):
        raise HistodsError(
            f"{path} is not as 'histods remap' wrote it: run 'histods remap --map FILE -w {space.folder}' again."
        )
    return label_map


def read_class_systems(
    space: Workspace, manifest_digest: str
) -> Iterator[tuple[str, tuple[str, ...], LabelHistograms]]:
    """Name, classes and class histograms of each class system made from this manifest.

    The rows are those of the manifest that are not excluded, in its order. Class systems that are damaged, or made
    from another manifest, are skipped; commands that use them report it.
    """
    for name in space.class_systems():
        try:
            summary, table = read_json(space.remap_summary(name)), read_table(space.remap_table(name))
            classes = tuple(str(row["name"]) for row in summary["classes"])
        except (HistodsError, KeyError, TypeError):
            continue
        stored = (table.schema.metadata or {}).get(b"manifest_digest", b"").decode()
        if manifest_digest == summary.get("manifest_digest") == stored:
            yield name, classes, flatten_labels(table, "classes")


def with_classes(samples: pa.Table, label_map: LabelMap) -> tuple[pa.Table, ClassHistograms]:
    """Replace `pixels` of labels by what each mask holds after the label map.

    Args:
        samples: rows of a manifest.
        label_map: the label map.

    Returns:
        The samples with `classes` and `pixels` of these as last columns, null where there is no mask; and the same
        flattened.
    """
    histograms = label_map.remap_histograms(*flatten_labels(samples))
    without = pc.is_null(samples["labels"]).combine_chunks()
    samples = samples.drop_columns("pixels")
    samples = samples.append_column("classes", list_column(histograms.classes, histograms.offsets, without))
    samples = samples.append_column("pixels", list_column(histograms.pixels, histograms.offsets, without))
    return samples, histograms


def list_column(values: NDArray[np.generic], offsets: NDArray[np.int64], nulls: pa.Array) -> pa.Array:
    """A column of lists from flattened values; null where `nulls` is true."""
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values), mask=nulls)
