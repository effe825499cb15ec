"""How far a workspace is: which of its parts are there, which are out of date, and the command for each.

A part is out of date when the digests that it names are not those of the parts that it was made from. Nothing here
reads the dataset.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow.compute as pc

from histods.classes.class_system import choose_workspace_map, flatten_labels, list_label_maps
from histods.dataset.manifest import Manifest, metadata_of, read_table
from histods.errors import HistodsError, StaleFileError
from histods.io.workspace import read_json
from histods.labels.audit_labels import labels_of_audit
from histods.labels.label_map import IDENTITY, LabelTable
from histods.labels.label_map_file import read_label_map
from histods.shards.images.shard_set import ShardSet
from histods.shards.latents.latent_set import LatentSet
from histods.splits.split_table import read_any_split, read_split

if TYPE_CHECKING:
    from histods.io.audit_summary import AuditSummary
    from histods.io.workspace import Workspace
    from histods.labels.label_map import LabelMap

State = Literal["done", "stale", "missing"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a workspace.

    Attributes:
        name: `remap`, `split`, `shards` or `latents`.
        state: whether it is there, and up to date.
        detail: what there is, or what is wrong with it, in words.
        command: what makes it, or makes it again.
    """

    name: str
    state: State
    detail: str
    command: str


def class_system_stages(space: Workspace, audit: AuditSummary) -> list[Stage]:
    """The class systems of a workspace, each one done or stale; labels as they are, are none."""
    return [_class_system_stage(space, audit, name) for name in list_label_maps(space)]


def _class_system_stage(space: Workspace, audit: AuditSummary, name: str) -> Stage:
    command = f"histods remap --map {name}{space.option}"
    try:
        summary = read_json(space.remap_summary(name))
        file = edited_file(space, audit, name)
        if file is not None:
            command = f"histods remap --map {shlex.quote(str(file))}{space.option}"
            return Stage(name, "stale", f"{file} was edited since", command)
        stored = metadata_of(read_table(space.remap_table(name), []))["manifest_digest"]
        sound = {summary.get("manifest_digest"), stored} == {audit.manifest_digest}
        detail = f"{len(summary['classes'])} classes" if sound else "the dataset was audited again since"
    except (HistodsError, KeyError, TypeError) as error:
        sound, detail = False, f"damaged ({error})"
    return Stage(name, "done" if sound else "stale", detail, command)


def edited_file(space: Workspace, audit: AuditSummary, name: str) -> Path | None:
    """The file of a class system's label map, where it was edited since; None where it was not, or is gone.

    Raises:
        HistodsError: the file is no label map any more.
    """
    summary = read_json(space.remap_summary(name))
    asked = summary.get("map")
    if not isinstance(asked, str) or asked in (name, IDENTITY):
        return None
    file = next((path for path in (Path(asked), Path(audit.root, asked)) if path.is_file()), None)
    if file is None or read_label_map(file, _names(audit)).digest == summary.get("map_digest"):
        return None
    return file


def split_stage(space: Workspace, audit: AuditSummary) -> Stage:
    """The split of a workspace.

    Raises:
        HistodsError: the file is no split.
    """
    try:
        found = read_split(space, audit.manifest_digest)
    except StaleFileError:
        command = f"{read_any_split(space)[1].command}{space.option}"
        return Stage("split", "stale", "the dataset was audited again since", command)
    if found is None:
        return Stage("split", "missing", "no split yet", f"histods split{space.option}")
    sizes = {row["values"]: row["counts"] for row in found[0]["split"].value_counts().to_pylist()}
    detail = ", ".join(f"{sizes[name]:,} {name}" for name in sorted(sizes, key=lambda name: -sizes[name]))
    return Stage("split", "done", detail, f"{read_any_split(space)[1].command}{space.option}")


def training_map(space: Workspace, audit: AuditSummary, name: str | Path | None) -> LabelMap | None:
    """The label map that training uses, see `choose_workspace_map`; None for that of the shards.

    That is taken where it is named, or where the workspace has no class system. The labels file may be gone.

    Raises:
        HistodsError: there are several, and none is named; there is none of that name; or labels have no class.
    """
    known = list_label_maps(space)
    of_shards = _map_of_shards(space)
    if of_shards is not None and of_shards not in known and of_shards != IDENTITY:
        if name is None and known:
            raise HistodsError(
                f"The shards in {space.shards} have the classes of '{of_shards}', and the workspace has the label "
                f"map {', '.join(known)}. Choose one with --map {of_shards} or --map {known[0]}."
            )
        if name is None or str(name) == of_shards:
            return None
    names = _names(audit)
    manifest = Manifest.read(space.manifest).table
    histograms = flatten_labels(manifest.filter(pc.not_equal(manifest["role"], "excluded")))
    label_map = choose_workspace_map(name, space, Path(audit.root), histograms.labels, names)
    label_map.check_mapped(histograms.labels, histograms.pixels)
    return label_map


def _names(audit: AuditSummary) -> LabelTable:
    """Names of the labels; where their file is gone, those that the audit kept."""
    try:
        return labels_of_audit(audit)
    except StaleFileError:
        return LabelTable(names=audit.label_names)


def _map_of_shards(space: Workspace) -> str | None:
    """Name of the label map of the workspace's shards; None without shards."""
    try:
        return ShardSet.describe(space.shards).map
    except HistodsError:
        return None


def shard_stage(space: Workspace, audit: AuditSummary, label_map: LabelMap | None, *, named: bool) -> Stage:
    """The shards of a workspace.

    Args:
        space: the workspace.
        audit: what `audit.json` says.
        label_map: the label map that the shards should have; None for the one that they have.
        named: whether it was named by an option, which a command then repeats.
    """
    option = " --map FILE" if label_map is None else f" --map {label_map.name}" if named else ""
    command = f"histods shard{option}{space.option}"
    if not (space.shards / ShardSet.FILE).is_file():
        return Stage("shards", "missing", "no shards yet", command)
    try:
        shards = ShardSet.read(space.shards)
    except HistodsError as error:
        return Stage("shards", "stale", str(error), f"{command} --overwrite")
    found = read_split(space, audit.manifest_digest)
    reason = shards.differs_from(
        label_map=label_map,
        manifest_digest=audit.manifest_digest,
        split_digest=None if found is None else found[1],
    )
    if reason is not None:
        return Stage("shards", "stale", reason, f"{command} --overwrite")
    samples, size = sum(one.samples for one in shards.shards), sum(one.bytes for one in shards.shards)
    return Stage("shards", "done", f"{samples:,} samples of '{shards.map}', {size / 1e6:,.1f} MB", command)


def latent_stage(space: Workspace) -> Stage:
    """The latents of a workspace, compared with its shards where it has any."""
    if not (space.latents / LatentSet.FILE).is_file():
        return Stage("latents", "missing", "no latents", f"histods encode{space.option}")
    try:
        latents = LatentSet.read(space.latents)
    except HistodsError as error:
        return Stage("latents", "stale", str(error), f"histods encode{space.option}")
    command = f"{latents.command}{space.option}"
    if (space.shards / ShardSet.FILE).is_file() and (
        ShardSet.describe(space.shards).index_digest != latents.source_digest
    ):
        return Stage("latents", "stale", "they were made from other shards", command)
    samples = sum(one.samples for one in latents.shards)
    return Stage("latents", "done", f"{samples:,} samples in {latents.views} views", command)
