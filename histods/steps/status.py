"""status: where a workspace stands, part by part, and the command to type next."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from histods.classes.class_system import find_by_digest, list_label_maps
from histods.errors import HistodsError
from histods.io.run_files import list_runs, summarise_run
from histods.io.workspace import Workspace
from histods.labels.label_map_file import propose_label_map
from histods.printing import printed
from histods.repairs.journal import changes_dataset
from histods.shards.images.shard_set import ShardSet
from histods.shards.latents.latent_set import LatentSet
from histods.stages import (
    Stage,
    class_system_stages,
    latent_stage,
    shard_stage,
    split_stage,
    training_map,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from histods.io.audit_summary import AuditSummary


@printed(table="parts")
@dataclass(frozen=True, kw_only=True, slots=True)
class StatusResult:
    """Where a workspace stands.

    Attributes:
        workspace: its folder.
        parts: dataset, audit, label maps, split, shards, latents and runs, in the order in which they are made.
        next: the command to type next.
    """

    workspace: Path
    parts: tuple[Stage, ...]
    next: str


def status(workspace: str | Path | None = None) -> StatusResult:
    """Say which parts of a workspace are there, out of date or missing; nothing of the dataset is read.

    Args:
        workspace: folder of the audit and of all that was made from it.
    """
    space = Workspace.find(workspace)
    parts = tuple(_parts(space))
    return StatusResult(workspace=space.folder, parts=parts, next=_choose_next(space, parts))


def _parts(space: Workspace) -> Iterator[Stage]:
    command = f"histods audit DATASET{space.option}"
    if not space.audit.is_file():
        yield Stage("audit", "missing", f"no audit in {space.folder}", command)
        yield from _parts_without_audit(space)
        return
    try:
        audit = space.read_audit()
    except HistodsError as error:
        yield Stage("audit", "stale", str(error), command)
        yield from _parts_without_audit(space)
        return
    root = Path(audit.root)
    there = os.path.isdir(root)  # noqa: PTH112 - False for what is no possible path, too
    detail = str(root) if there else f"{root} is gone"
    yield Stage("dataset", "done" if there else "missing", detail, audit.command)
    yield _audit_stage(space, audit)
    systems = class_system_stages(space, audit)
    for stage in systems:
        yield Stage(f"label map {stage.name}", stage.state, stage.detail, stage.command)
    if not systems:
        labels = audit.options.labels
        found = propose_label_map(root, labels, audit.other_files)
        wanted = "--draft my_map.yml" if found is None else f"--map {shlex.quote(found)}"
        command = f"histods remap {wanted}{space.option}"
        yield Stage("label map", "missing", "none: the labels are the classes", command)
    split = _or_damaged("split", f"histods split{space.option}", lambda: split_stage(space, audit))
    shards = _or_damaged("shards", f"histods shard{space.option}", lambda: _shards(space, audit))
    yield from (split, shards)
    if (space.latents / LatentSet.FILE).is_file():
        yield latent_stage(space)
    outdated = any(stage.state == "stale" for stage in (*systems, split, shards))
    yield from _runs(space, outdated=outdated)


def _parts_without_audit(space: Workspace) -> Iterator[Stage]:
    """Shards, latents and runs, which may have been copied without the audit."""
    if (space.shards / ShardSet.FILE).is_file():
        command = f"histods shard --verify{space.option}"
        yield _or_damaged("shards", command, lambda: _describe_shards(space, command))
    if (space.latents / LatentSet.FILE).is_file():
        yield latent_stage(space)
    yield from _runs(space)


def _or_damaged(name: str, command: str, find: Callable[[], Stage]) -> Stage:
    """A part, or that it cannot be read."""
    try:
        return find()
    except HistodsError as error:
        return Stage(name, "stale", str(error), command)


def _audit_stage(space: Workspace, audit: AuditSummary) -> Stage:
    counts, found = audit.counts, sum(audit.findings.values())
    usable, excluded = (counts.conditional + counts.unconditional, counts.excluded) if counts else (0, 0)
    detail = f"{usable:,} samples in use, {excluded:,} set aside, {found:,} findings"
    written = space.audit.stat().st_mtime_ns
    later = (one for one in space.fixes.glob("*.jsonl") if one.stat().st_mtime_ns > written)
    if any(changes_dataset(journal) for journal in later):
        return Stage("audit", "stale", "'histods fix' moved or changed files since", audit.command)
    return Stage("audit", "done", detail, audit.command)


def _shards(space: Workspace, audit: AuditSummary) -> Stage:
    if not (space.shards / ShardSet.FILE).is_file():
        return Stage("shards", "missing", "no shards yet", f"histods shard{space.option}")
    known = list_label_maps(space)
    if len(known) > 1:  # which of them, `histods train` is told
        name = ShardSet.describe(space.shards).map
        return shard_stage(
            space, audit, training_map(space, audit, name if name in known else known[0]), named=True
        )
    return shard_stage(space, audit, training_map(space, audit, None), named=False)


def _describe_shards(space: Workspace, command: str) -> Stage:
    shards = ShardSet.read(space.shards)
    samples = sum(one.samples for one in shards.shards)
    return Stage("shards", "done", f"{samples:,} samples of '{shards.map}'", command)


def _runs(space: Workspace, *, outdated: bool = False) -> Iterator[Stage]:
    """Training runs: how far each is, and whether its data are those of the workspace."""
    here = {
        kind.describe(folder).index_digest
        for kind, folder in ((ShardSet, space.shards), (LatentSet, space.latents))
        if _is_sound(kind, folder)
    }
    for found in list_runs(space):
        name = "" if found.run == "default" else f" --name {shlex.quote(found.run)}"
        if found.makes_masks:
            name = " --what masks" + ("" if found.run == "masks" else f" --name {shlex.quote(found.run)}")
        run, command = f"run {found.run}", f"histods train{name}{space.option}"
        step, steps, digest = found.step, found.steps, found.index_digest
        if step is None or steps is None:
            yield Stage(run, "missing", "no checkpoint yet", command)
        elif outdated or (here and digest and digest not in here):
            yield Stage(run, "stale", f"step {step:,}, of data that are out of date", command)
        elif step < steps:
            yield Stage(run, "missing", f"step {step:,} of {steps:,}", command)
        else:
            yield Stage(run, "done", f"all {steps:,} steps", command)


def _is_sound(kind: type[ShardSet] | type[LatentSet], folder: Path) -> bool:
    try:
        kind.describe(folder)
    except HistodsError:
        return False
    return True


def _choose_next(space: Workspace, parts: tuple[Stage, ...]) -> str:
    """The command for the first part that keeps a network from being trained; else making images with one."""
    shards = next((one for one in parts if one.name == "shards"), None)
    lost = next((one for one in parts if one.name in ("audit", "dataset") and one.state != "done"), None)
    # What is made from the dataset needs it; finished shards that came without it do not.
    if lost is not None and (lost.state == "stale" or shards is None or shards.state != "done"):
        return lost.command
    runs = [one for one in parts if one.name.startswith("run ")]
    maps = [one for one in parts if one.name.startswith("label map")]
    begun = runs or shards is None or shards.state != "missing"
    todo = [one for one in maps if one.state == "stale" or (one.state == "missing" and not begun)]
    if todo:
        return todo[0].command
    known = [one.name.removeprefix("label map ") for one in maps if one.state == "done"]
    option = f" --map {shlex.quote(known[-1])}" if len(known) > 1 else ""
    unfinished = next((one for one in runs if one.state == "missing"), None)
    if unfinished is not None:
        return unfinished.command
    makers = {found.run for found in list_runs(space) if found.makes_masks}
    images = [one for one in runs if one.name.removeprefix("run ") not in makers]
    finished = [one.name.removeprefix("run ") for one in images if one.state == "done"]
    if finished:
        return sample_command(space, finished[-1])
    return f"histods train{' --name NEW' if images else ''}{option}{space.option}"


def sample_command(space: Workspace, run: str) -> str:
    """The command that makes images with a run, from masks of the dataset: with the label map behind it."""
    digest = summarise_run(space.runs / run).map_digest
    name = None if digest is None else find_by_digest(space, digest)
    given = "" if name is None else f" --map {shlex.quote(name)}"
    return f"histods sample --run {shlex.quote(run)} --masks MASKS{given}{space.option}"
