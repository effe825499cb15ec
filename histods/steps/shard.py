"""shard: copy samples into archives that trainers read, with an index of where each one is; verify them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from histods.classes.class_system import choose_workspace_map, flatten_labels, with_classes
from histods.dataset.manifest import Manifest, to_polars
from histods.engines import Failed, engine_for
from histods.errors import HistodsError
from histods.io.atomic import only_one
from histods.io.workspace import Workspace, refuse_file
from histods.labels.audit_labels import labels_of_audit
from histods.printing import printed
from histods.shards.base import Shard, read_index, write_index
from histods.shards.images.shard_set import INDEX, ShardSet
from histods.shards.images.tar import safe_key, stored_size
from histods.shards.images.verify import verify_shard
from histods.shards.images.writer import ShardOptions, ShardTask, get_ready, plan_shard, write_shards
from histods.shards.partition import cut, shuffled
from histods.shards.resumable_write import begin_shards, clean_up, collect_shards
from histods.shards.verified import conclude_verification
from histods.splits.split_table import SplitOptions, read_any_split, read_split, with_split_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from histods.engines import Engine
    from histods.io.audit_summary import AuditSummary
    from histods.labels.label_map import LabelMap, LabelTable
    from histods.records import Progress

ALL = "all"
"""Name of the one split where there are none."""
_MEGABYTE = 1_000_000
_JSON_BYTES = 512  # what the JSON member of a sample is reckoned to take


@printed()
@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """What is in a folder of shards.

    Attributes:
        folder: where the shards are.
        map: name of the label map.
        classes: names of the classes.
        splits: split -> (shards, samples, bytes).
        written: shards that this run wrote.
        present: shards that were there already.
        verified: whether every byte was read and compared.
        left_out: samples that are excluded, or in none of the splits that were asked for.
    """

    folder: Path
    map: str
    classes: tuple[str, ...]
    splits: dict[str, tuple[int, int, int]]
    written: int = 0
    present: int = 0
    verified: bool = False
    left_out: int = 0


def shard(
    *,
    workspace: str | Path | None = None,
    map: str | Path | None = None,  # noqa: A002 - named like the command's option
    split: Sequence[str] = (),
    shard_mb: int = 512,
    out: str | Path | None = None,
    verify: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ShardResult:
    """Write shards of the audited dataset, or verify those that are there.

    A run that was killed resumes where it stopped. Where the folder holds shards of the same map already, new
    samples are appended in new shards; the old ones stay as they are.

    Args:
        workspace: folder of the audit and of the split, if there is one.
        map: label map: the name of a class system of the workspace, a path, a file of the dataset's root, a
            bundled one, or `labels`, which keeps them. If None, the workspace's only class system, else `labels`.
        split: names of splits to write; all of them if empty.
        shard_mb: megabytes (10**6 bytes) that a shard holds at most.
        out: folder for the shards; `shards` in the workspace if None.
        verify: write no shards; read every byte of those that are there, compare, and record it in `verified.log`.
        overwrite: replace finished shards of another map, split or audit.
        workers: processes; all usable cores by default.
        progress: called with a stage, shards done and shards in all.

    Raises:
        HistodsError: the input is wrong, the folder holds other shards, or shards are damaged.
        StaleFileError: the manifest, the split or a file changed since it was read.
    """
    space = Workspace.find(workspace)
    folder = space.shards if out is None else Path(out)
    if verify:
        return _verify(ShardSet.describe(folder), workers, progress)
    if shard_mb < 1:
        raise HistodsError(f"--shard-mb {shard_mb} is below 1; 512 is usual.")
    audit = space.read_audit()
    space.check_place(folder, "--out", Path(audit.root))
    refuse_file(folder, "--out")
    with engine_for("local", workers) as engine:
        if not (folder / ShardSet.FILE).is_file():  # else there may be nothing to write
            engine.warm_up(get_ready)
        samples = _choose_samples(space, audit, map, split)
        return _write(engine, folder, audit, samples, shard_mb * _MEGABYTE, progress, overwrite=overwrite)


class _Chosen(NamedTuple):
    """The samples to write, with their split and classes; what they were made from; how many are left out."""

    samples: pa.Table
    label_map: LabelMap
    names: LabelTable
    split_digest: str | None
    left_out: int


def _choose_samples(
    space: Workspace,
    audit: AuditSummary,
    map: str | Path | None,  # noqa: A002 - named like the command's option
    split: Sequence[str],
) -> _Chosen:
    names = labels_of_audit(audit)
    manifest = Manifest.read(space.manifest).table
    samples = manifest.filter(pc.not_equal(manifest["role"], "excluded"))
    labels = flatten_labels(samples).labels
    label_map = choose_workspace_map(map, space, Path(audit.root), labels, names)
    samples, digest = _select(_with_classes(samples, label_map), space, audit.manifest_digest, split)
    return _Chosen(samples, label_map, names, digest, len(manifest) - len(samples))


def _write(
    engine: Engine,
    folder: Path,
    audit: AuditSummary,
    chosen: _Chosen,
    most: int,
    progress: Progress | None,
    *,
    overwrite: bool,
) -> ShardResult:
    """Plan and write shards of at most so many bytes, by workers that get ready meanwhile."""
    label_map = chosen.label_map
    options = ShardOptions(
        root=audit.root,
        folder=str(folder.resolve()),
        lookup=label_map.lookup(),
        map_digest=label_map.digest,
        audit=audit.command,
        colours=dict(chosen.names.colours),
        nearest=audit.options.nearest_colour,
    )
    with only_one(folder, "writes shards"):
        kept, rows, tasks = _plan(folder, chosen, audit.manifest_digest, options, most, overwrite=overwrite)
        unfinished = begin_shards(ShardSet, folder, {task.name: task.digest for task in tasks}, kept)
        if not kept:  # until all are written, nothing says that shards are finished here
            (folder / ShardSet.FILE).unlink(missing_ok=True)
        todo = [task for task in tasks if task.name in unfinished]
        _write_all(engine, todo, options, progress)
        parts, index = collect_shards(folder, rows.cast(INDEX))
        shards = ShardSet(
            folder=folder,
            shards=tuple(sorted([*kept, *parts], key=lambda one: one.name)),
            map=label_map.name,
            classes=label_map.classes,
            labels=tuple(label_map.labels_of(index) for index in range(len(label_map.classes))),
            map_digest=label_map.digest,
            manifest_digest=audit.manifest_digest,
            split_digest=chosen.split_digest,
            index_digest=write_index(index, folder),
        )
        shards.write()
        clean_up(folder)
    return _result(
        shards,
        written=len(todo),
        present=len(shards.shards) - len(todo),
        left_out=chosen.left_out,
    )


def _with_classes(samples: pa.Table, label_map: LabelMap) -> pa.Table:
    """Add what each mask holds after the label map, and the role that follows from it."""
    samples, histograms = with_classes(samples, label_map)
    role = pa.array(np.where(histograms.conditional(), "conditional", "unconditional"), pa.string())
    return samples.set_column(samples.schema.get_field_index("role"), "role", role)


def _select(
    samples: pa.Table, space: Workspace, manifest_digest: str, wanted: Sequence[str]
) -> tuple[pa.Table, str | None]:
    """Rows of the wanted splits with their split and member name, in random order; the split's digest."""
    found = read_split(space, manifest_digest)
    if found is None and wanted:
        raise HistodsError(
            f"There is no split in {space.folder} yet, so --split {wanted[0]} names nothing; run 'histods split'."
        )
    if found is None:
        split, digest = pa.array([ALL] * len(samples), pa.string()), None
    else:
        table, digest = found
        samples = _with_groups(samples, read_any_split(space)[1])
        places = pc.index_in(samples["key"], table["key"].combine_chunks())
        split = table["split"].combine_chunks().take(places.combine_chunks())
        if unknown := sorted(set(wanted) - set(table["split"].unique().to_pylist())):
            known = ", ".join(sorted(table["split"].unique().to_pylist()))
            raise HistodsError(f"There is no split {unknown[0]!r}; give --split one of {known}.")
    samples = samples.append_column("split", split)
    if wanted:
        samples = samples.filter(pc.is_in(samples["split"], pa.array(list(wanted), pa.string())))
    keys = samples["key"].to_pylist()
    samples = samples.append_column("member", pa.array([safe_key(key) for key in keys], pa.string()))
    if not keys:
        raise HistodsError(
            f"No sample in {space.folder} can be used, so there is none to write; see its findings."
        )
    return samples.take(pa.array(shuffled(keys))), digest


def _with_groups(samples: pa.Table, options: SplitOptions) -> pa.Table:
    """Give samples the groups by which they were split."""
    if options.group_regex is None:
        return samples
    groups = with_split_groups(to_polars(samples.select(["key", "group"])), options)["group"].to_arrow()
    return samples.set_column(samples.schema.get_field_index("group"), "group", groups.cast(pa.string()))


def _plan(
    folder: Path, chosen: _Chosen, manifest_digest: str, options: ShardOptions, most: int, *, overwrite: bool
) -> tuple[list[Shard], pa.Table, list[ShardTask]]:
    """Finished shards that stay, their rows of the index, and the shards to write.

    Raises:
        HistodsError: the folder holds finished shards of another map, or of samples that have changed, and they
            are not to be overwritten.
    """
    kept: list[Shard] = []
    tasks: list[ShardTask] = []
    rows, samples = INDEX.empty_table(), chosen.samples
    known = ShardSet.describe(folder) if (folder / ShardSet.FILE).is_file() else None
    if known is not None and not known.check_index():  # else nothing tells what is where: all is written again
        index = read_index(known)
        places = pc.index_in(samples["key"], index["key"].combine_chunks()).combine_chunks()
        homes = index["shard"].combine_chunks().take(places)
        of_old = [samples.filter(pc.equal(homes, old.name)) for old in known.shards]
        old_tasks = [plan_shard(old.name, own, options) for old, own in zip(known.shards, of_old, strict=True)]
        changed = [task.name for task, old in zip(old_tasks, known.shards, strict=True) if task.digest != old.plan]
        if changed and overwrite:
            return [], rows, list(_new_tasks(samples, options, most, ()))
        if changed:
            reason = known.differs_from(
                label_map=chosen.label_map, manifest_digest=manifest_digest, split_digest=chosen.split_digest
            )
            raise HistodsError(
                f"{folder} holds other shards: {reason or f'the samples of {changed[0]}.tar changed'}. "
                "Add --overwrite to replace them, or write to a new folder with --out."
            )
        for task, old in zip(old_tasks, known.shards, strict=True):
            path = known.path(old.name)
            if path.is_file() and path.stat().st_size == old.bytes:
                kept.append(old)
            else:
                tasks.append(task)
        rows = index.filter(pc.is_in(index["shard"], pa.array([one.name for one in kept], pa.string())))
        samples = samples.filter(pc.is_null(homes))
    taken = [one.name for one in kept] + [task.name for task in tasks]
    return kept, rows, [*tasks, *_new_tasks(samples, options, most, taken)]


def _new_tasks(samples: pa.Table, options: ShardOptions, most: int, taken: Sequence[str]) -> Iterator[ShardTask]:
    """Share samples out over new shards, split by split."""
    for name in sorted(samples["split"].unique().to_pylist()):
        here = samples.filter(pc.equal(samples["split"], name))
        first = sum(one.rsplit("-", 1)[0] == name for one in taken)
        numbers = cut(_sizes(here), most)
        for number in range(int(numbers[-1]) + 1):
            yield plan_shard(f"{name}-{first + number:05d}", here.filter(pa.array(numbers == number)), options)


def _sizes(samples: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Bytes that each sample will take in an archive, by the sizes of its files."""
    image, mask = (pc.fill_null(samples[column], 0).to_numpy() for column in ("image_bytes", "mask_bytes"))
    rounded = -(-image // 512) * 512 + -(-mask // 512) * 512
    return np.asarray(rounded + 3 * 512 + stored_size(_JSON_BYTES) - 512, dtype=np.int64)


def _write_all(
    engine: Engine, tasks: Sequence[ShardTask], options: ShardOptions, progress: Progress | None
) -> None:
    outcomes = engine.run(partial(write_shards, options=options), ([task] for task in tasks))
    for done, outcome in enumerate(outcomes, start=1):
        problem = outcome.error if isinstance(outcome, Failed) else outcome.value
        if problem is not None:
            raise HistodsError(problem)
        if progress is not None:
            progress("writing shards", done, len(tasks))


def _verify(shards: ShardSet, workers: int | None, progress: Progress | None) -> ShardResult:
    """Read every byte of all shards."""
    if faults := shards.check_index():
        conclude_verification(shards, faults)
    index = read_index(shards)
    problems: list[str] = []

    def tasks() -> Iterator[list[tuple[str, Shard, bytes]]]:
        for one in shards.shards:
            rows = index.filter(pc.equal(index["shard"], one.name))
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, rows.schema) as writer:
                writer.write_table(rows)
            yield [(str(shards.folder), one, bytes(sink.getvalue()))]

    with engine_for("local", workers) as engine:
        for done, outcome in enumerate(engine.run(verify_shard, tasks()), start=1):
            problems += [outcome.error] if isinstance(outcome, Failed) else outcome.value
            if progress is not None:
                progress("verifying shards", done, len(shards.shards))
    conclude_verification(shards, sorted(problems))
    return _result(shards, present=len(shards.shards), verified=True)


def _result(shards: ShardSet, **what: Any) -> ShardResult:
    return ShardResult(folder=shards.folder, map=shards.map, classes=shards.classes, splits=shards.splits, **what)
