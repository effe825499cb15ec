"""A folder of shards being written: the planned and finished shards, and how to resume after a kill.

It serves all kinds of shards: a shard is a file with a final name, and a part of the index that marks it as
complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from histods.dataset.manifest import metadata_of, read_table, write_table
from histods.errors import HistodsError
from histods.io.atomic import write_json
from histods.io.checked import fit, is_name
from histods.io.workspace import read_json
from histods.shards.base import Series, Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_MARK = "unfinished.json"


def begin_shards(kind: type[Series], folder: Path, plans: Mapping[str, str], kept: Iterable[Shard]) -> list[str]:
    """Record which shards are about to be written, and remove files that a killed run with another plan left.

    Args:
        kind: the kind of the shards.
        folder: the folder for shards.
        plans: name -> digest of the plan of each shard to write.
        kept: finished shards to keep.

    Returns:
        Names of the planned shards that no killed run finished.

    Raises:
        HistodsError: the folder holds shards that this command did not write.
    """
    for other in {"shards.json", "latents.json"} - {kind.FILE}:
        if (folder / other).is_file():
            raise HistodsError(f"{folder} holds other shards ({other}); choose another folder with --out.")
    if (folder / "parts").is_symlink():
        raise HistodsError(f"{folder / 'parts'} is a link, not a folder of this command; remove it.")
    mark = folder / _MARK
    earlier = _read_mark(mark) if mark.is_file() else set()
    if (folder / kind.FILE).is_file():
        earlier |= {one.name for one in kind.describe(folder).shards}
    strangers = sorted(path.name for path in folder.glob(f"*{kind.SUFFIX}") if path.stem not in earlier)
    if strangers:
        raise HistodsError(
            f"{folder} holds {strangers[0]}, which is not of this command; choose a new folder with --out."
        )
    done = _clear(kind, folder, plans, earlier - {one.name for one in kept})
    if plans:
        write_json(mark, {"shards": sorted(plans)})
    return [name for name in plans if name not in done]


def _clear(kind: type[Series], folder: Path, plans: Mapping[str, str], earlier: set[str]) -> set[str]:
    """Remove files that killed runs left, except finished planned shards; return the names of these."""
    for part in (*folder.glob(".*.part"), *folder.glob("parts/.*.part")):
        part.unlink()
    done = {name for name, plan in plans.items() if _is_done(part_of(folder, name), plan, kind.SUFFIX)}
    for part in (folder / "parts").glob("*.parquet"):
        if part.stem not in done:
            part.unlink()
    for name in sorted((earlier | plans.keys()) - done):
        (folder / f"{name}{kind.SUFFIX}").unlink(missing_ok=True)
    return done


def _read_mark(mark: Path) -> set[str]:
    """Names of the shards that a killed run was about to write.

    Raises:
        HistodsError: the file names something else.
    """
    try:
        names = fit(read_json(mark).get("shards"), list[str], "shards")
        if (wrong := next((name for name in names if not is_name(name)), None)) is not None:  # it may be empty
            raise ValueError(f"shards {wrong!r}")  # noqa: TRY301 - all that is wrong with it is one error
    except ValueError as error:
        raise HistodsError(
            f"{mark} does not hold names of shards ({error}); remove that file and run the same command again."
        ) from error
    return set(names)


def part_of(folder: Path, name: str) -> Path:
    """The path of the part of the index that marks a shard as complete."""
    return folder / "parts" / f"{name}.parquet"


def write_part(folder: Path, name: str, rows: pa.Table, *, size: int, sha256: str, plan: str) -> None:
    """Mark a shard as complete: write its rows of the index, its size and its digest."""
    write_table(rows, part_of(folder, name), {"bytes": str(size), "sha256": sha256, "plan": plan})


def _is_done(part: Path, plan: str, suffix: str) -> bool:
    """Whether a killed run finished this shard, from the same samples."""
    archive = part.parent.parent / f"{part.stem}{suffix}"
    if not part.is_file() or not archive.is_file():
        return False
    try:
        metadata = _read_part(part)[1]
    except HistodsError:
        return False
    return metadata.get("plan") == plan and metadata.get("bytes") == str(archive.stat().st_size)


def clean_up(folder: Path) -> None:
    """Remove files that were only needed to resume, once everything is in the index."""
    (folder / _MARK).unlink(missing_ok=True)
    for part in (folder / "parts").glob("*.parquet"):
        part.unlink()
    if (folder / "parts").is_dir():
        (folder / "parts").rmdir()


def collect_shards(folder: Path, kept: pa.Table) -> tuple[list[Shard], pa.Table]:
    """Collect the shards with a part of the index in the folder, and the index of these and the kept rows, by key.

    Raises:
        HistodsError: histods did not write a part.
    """
    shards, tables = [], [kept]
    for path in sorted((folder / "parts").glob("*.parquet")):
        table, metadata = _read_part(path)
        try:
            tables.append(table.cast(kept.schema))
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
        except (KeyError, ValueError, IndexError, pa.ArrowException) as error:
            raise HistodsError(
                f"{path} is not a part of the index; remove that file and run the same command again."
            ) from error
    return shards, pa.concat_tables(tables).sort_by("key").combine_chunks()


def _read_part(path: Path) -> tuple[pa.Table, dict[str, str]]:
    """The rows of the index of one shard, and its metadata."""
    table = read_table(path)
    return table.replace_schema_metadata(None), metadata_of(table)
