"""A folder of shards while they are written: what is planned, what is done, and how a killed run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from histods.errors import HistodsError
from histods.storage.atomic import write_json
from histods.storage.manifest import read_table
from histods.storage.shard_set import Shard, ShardSet
from histods.storage.shards import INDEX, part_of
from histods.storage.workspace import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from histods.storage.shards import ShardTask

_MARK = "unfinished.json"


def claim(folder: Path, tasks: Sequence[ShardTask], kept: Iterable[Shard]) -> list[ShardTask]:
    """Write down which shards are about to be written, and clear away what a killed run of another plan left.

    Returns:
        Those of the tasks that no killed run finished.

    Raises:
        HistodsError: the folder holds archives that no run of this command wrote.
    """
    mark = folder / _MARK
    earlier = set(read_json(mark)["shards"]) if mark.is_file() else set()
    if (folder / "shards.json").is_file():
        earlier |= {one.name for one in ShardSet.describe(folder).shards}
    strangers = sorted(path.name for path in folder.glob("*.tar") if path.stem not in earlier)
    if strangers:
        raise HistodsError(
            f"Expected no other archives in {folder}, found {strangers[0]}; choose a new folder with --out."
        )
    ours, planned = {one.name for one in kept}, {task.name for task in tasks}
    for part in (*folder.glob(".*.part"), *folder.glob("parts/.*.part")):
        part.unlink()
    done = {task.name for task in tasks if _is_done(folder, task)}
    for name in sorted((earlier | planned) - ours - done):
        part_of(folder, name).unlink(missing_ok=True)
        (folder / f"{name}.tar").unlink(missing_ok=True)
    if tasks:
        write_json(mark, {"shards": sorted(planned)})
    return [task for task in tasks if task.name not in done]


def _is_done(folder: Path, task: ShardTask) -> bool:
    """A killed run wrote this shard, from the same samples, and finished it."""
    part, archive = part_of(folder, task.name), folder / f"{task.name}.tar"
    if not part.is_file() or not archive.is_file():
        return False
    try:
        metadata = read_part(part)[1]
    except HistodsError:
        return False
    return metadata.get("plan") == task.digest and metadata.get("bytes") == str(archive.stat().st_size)


def tidy(folder: Path) -> None:
    """Remove what was only needed to go on after a kill; everything is in the index now."""
    (folder / _MARK).unlink(missing_ok=True)
    for part in (folder / "parts").glob("*.parquet"):
        part.unlink()
    if (folder / "parts").is_dir():
        (folder / "parts").rmdir()


def gather(folder: Path, kept: pa.Table) -> tuple[list[Shard], pa.Table]:
    """Shards whose part of the index is in the folder, and the index of these and of the kept rows, by key."""
    shards, tables = [], [kept.cast(INDEX)]
    for path in sorted((folder / "parts").glob("*.parquet")):
        table, metadata = read_part(path)
        shards.append(
            Shard(
                name=path.stem,
                split=table["split"][0].as_py(),
                samples=len(table),
                bytes=int(metadata["bytes"]),
                sha256=metadata["sha256"],
                plan=metadata["plan"],
            )
        )
        tables.append(table)
    return shards, pa.concat_tables(tables).sort_by("key").combine_chunks()


def read_part(path: Path) -> tuple[pa.Table, dict[str, str]]:
    """The rows of `INDEX` of one shard, and what else is known of it."""
    table = read_table(path)
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return table.cast(INDEX).replace_schema_metadata(None), metadata
