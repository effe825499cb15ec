"""Which chunks of an export are complete: a small table for each, from which a killed run resumes.

```
export.json       what the folder holds, and the digests of the files that describe it (null: unfinished)
samples.csv       one row per sample: its name, key, split, group, files and sources
parts/00000.parquet ...    complete chunks of an unfinished export
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from histods.dataset.manifest import metadata_of, read_table, write_table
from histods.dataset.scan import ask_states
from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ROWS = pa.schema(
    [
        ("name", pa.string()),
        ("image", pa.string()),
        ("mask", pa.string()),
        ("image_bytes", pa.int64()),
        ("mask_bytes", pa.int64()),
        ("note", pa.string()),
        ("reason", pa.string()),
    ]
)
"""The result for each sample: its files with their sizes and its note, or the reason why it cannot be exported."""
_FOLDER = "parts"


def part_of(folder: Path, name: str) -> Path:
    """The table that marks a chunk as complete."""
    return folder / _FOLDER / f"{name}.parquet"


def write_part(folder: Path, name: str, rows: pa.Table, digest: str) -> None:
    """Mark a chunk as complete."""
    write_table(rows, part_of(folder, name), {"plan": digest})


def read_part(folder: Path, name: str) -> pa.Table:
    """The rows of a complete chunk."""
    return read_table(part_of(folder, name)).cast(ROWS)


def list_done(folder: Path, plans: Mapping[str, str]) -> set[str]:
    """Names of the chunks that an earlier run completed, and whose files have their sizes.

    Args:
        folder: the folder of the export.
        plans: name -> digest of each chunk.
    """
    done = set()
    for name, digest in plans.items():
        if not part_of(folder, name).is_file():
            continue
        try:
            table = read_table(part_of(folder, name))
            rows = table.cast(ROWS)
        except (HistodsError, pa.ArrowException):
            continue
        if metadata_of(table).get("plan") == digest and not _torn(folder, rows):
            done.add(name)
    return done


def _torn(folder: Path, rows: pa.Table) -> bool:
    """Whether a file is missing or has another size."""
    for kind in ("image", "mask"):
        paths, sizes = rows[kind].drop_null(), rows[f"{kind}_bytes"].filter(rows[kind].is_valid())
        if not sizes_match(folder, paths.to_pylist(), sizes.to_pylist()):
            return True
    return False


def sizes_match(folder: Path, paths: Sequence[str], sizes: Sequence[int]) -> bool:
    """Whether files exist and have these sizes, in bytes."""
    found: list[int] = ask_states(folder, paths)[0].tolist()
    return found == list(sizes)


def iter_notes(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and note of each exported sample of some chunks, one chunk in memory at a time."""
    for name in names:
        rows = read_part(folder, name)
        for sample, note, reason in zip(
            *(rows[one].to_pylist() for one in ("name", "note", "reason")), strict=True
        ):
            if reason is None:
                yield sample, note


def remove_parts(folder: Path) -> None:
    """Remove what was only needed to resume."""
    parts = folder / _FOLDER
    for part in (*parts.glob("*.parquet"), *parts.glob(".*.part")):
        part.unlink(missing_ok=True)
    if parts.is_dir():
        parts.rmdir()
