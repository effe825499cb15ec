"""Memory-mapped arrays made from an index: the location of each sample, and the samples of each class.

All processes of a machine share them, so even 100 million samples need no private memory. They are made from
`index.parquet` when it is first read, in `.lookup` next to it or, if that folder is read-only, in the system's
temporary folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from histods.errors import HistodsError
from histods.sampling.draws import ClassLists, list_classes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_BATCH = 65536


class IndexCache(NamedTuple):
    """The record of each sample, by number, and the samples of each class; memory-mapped."""

    records: NDArray[np.void]
    lists: ClassLists


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """An index, and the columns that are looked up by number.

    Attributes:
        path: the table; it has the columns `split`, `shard`, `classes` and those of `record`.
        digest: SHA-256 of the file.
        splits: only samples of these splits are numbered, in the order of the index.
        shards: names of the shards; a record holds the position of its shard among them.
        classes: number of classes.
        record: `row` (position in the index), `shard`, and columns of the index; a missing number is 0.
        samples: number of samples of these splits.
    """

    path: Path
    digest: str
    splits: tuple[str, ...]
    shards: Sequence[str]
    classes: int
    record: np.dtype[np.void]
    samples: int

    def key(self, row: int) -> str:
        """The key in a row, looked up on disk."""
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row < rows:
                    return str(file.read_row_group(group, columns=["key"])["key"][row].as_py())
                row -= rows
        raise HistodsError(f"{self.path} has no such row: it is {row:,} past the end; choose another.")


def load_index_cache(index: Index) -> IndexCache:
    """Map the arrays of an index; make them if they do not exist.

    Raises:
        HistodsError: no folder is writable, or the arrays do not belong to this index.
    """
    folder = _find(index)
    try:
        records, samples, bounds = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("records", "samples", "bounds")
        )
    except (OSError, ValueError, EOFError) as error:
        raise HistodsError(f"The arrays in {folder} cannot be read ({error}); remove that folder.") from error
    sound = (records.dtype, records.shape) == (index.record, (index.samples,))
    sound = sound and (bounds.dtype, bounds.shape) == (np.dtype(np.int64), (index.classes + 1,))
    sound = sound and (samples.dtype, samples.ndim) == (np.dtype(np.uint32), 1)
    if not sound or bounds[0] != 0 or bounds[-1] != len(samples) or (np.diff(bounds) < 0).any():
        raise HistodsError(f"The arrays in {folder} are not those of {index.path}; remove that folder.")
    return IndexCache(records, ClassLists(samples, bounds))


def _find(index: Index) -> Path:
    name = hashlib.sha256(repr((index.digest, index.splits)).encode()).hexdigest()[:16]
    homes = [index.path.parent / ".lookup", Path(tempfile.gettempdir(), f"histods-lookup-{os.getuid()}")]
    for home in homes:
        if (home / name / "bounds.npy").is_file() and _is_ours(home, homes):
            return home / name
    making = _new_folder(homes)
    found = making.parent / name
    try:
        _make_checked(index, making)
        making.chmod(0o755)
        making.rename(found)
    except OSError:
        if not (found / "bounds.npy").is_file():  # else another process was faster
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return found


def _is_ours(home: Path, homes: Sequence[Path]) -> bool:
    """Whether a folder can be trusted: any user may create one of that name in the system's temporary folder."""
    status = home.lstat()
    return home != homes[-1] or (stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid())


def _new_folder(homes: Sequence[Path]) -> Path:
    """A new empty folder in the first writable place."""
    for home in homes:
        try:
            home.mkdir(exist_ok=True)
            if not _is_ours(home, homes):
                raise PermissionError(errno.EPERM, "it belongs to another user", str(home))
            return Path(tempfile.mkdtemp(prefix=".making.", dir=home))
        except OSError as error:
            reason = error
    raise HistodsError(
        f"The arrays of the index cannot be written to {homes[0]} or {homes[1]} ({reason}); "
        "make one of them writable."
    )


def _make_checked(index: Index, folder: Path) -> None:
    """Write the arrays.

    Raises:
        HistodsError: the index names unknown shards or classes, or has impossible numbers.
    """
    try:
        _make(index, folder)
    except (KeyError, ValueError, IndexError, OverflowError, OSError, pa.ArrowException) as error:
        if (
            isinstance(error, OSError) and error.errno is not None
        ):  # a disk error; Arrow's errors about content have no number
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HistodsError(
            f"{index.path} does not say where the samples of its shards are ({reason}); "
            "make the shards again in a new folder."
        ) from error


def _make(index: Index, folder: Path) -> None:
    """Write the arrays in two passes over the index: one to count, one to fill."""
    sizes = np.zeros(index.classes, dtype=np.int64)
    rows = 0
    for _, table in _batches(index, ["classes"]):
        sizes += _list(table, index.classes).sizes
        rows += len(table)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    records = np.lib.format.open_memmap(folder / "records.npy", mode="w+", dtype=index.record, shape=(rows,))
    samples = np.lib.format.open_memmap(
        folder / "samples.npy", mode="w+", dtype=np.uint32, shape=(int(bounds[-1]),)
    )
    numbers = {name: number for number, name in enumerate(index.shards)}
    columns = [name for name in index.record.names or () if name not in ("row", "shard")]
    done, filled = 0, bounds[:-1].copy()
    for places, table in _batches(index, ["classes", "shard", *columns]):
        here = records[done : done + len(table)]
        here["row"] = places
        here["shard"] = [numbers[name] for name in table["shard"].to_pylist()]
        for column in columns:
            values = table[column]
            flat = values.flatten() if pa.types.is_list(values.type) else pc.fill_null(values, 0)
            filling = flat.to_numpy()
            if filling.min(initial=0) < 0 or filling.max(initial=0) > np.iinfo(here[column].dtype).max:
                raise ValueError(f"{column} {filling.min()} to {filling.max()}")
            here[column] = filling.reshape(here[column].shape)
        lists = _list(table, index.classes)
        for number in range(index.classes):
            listed = lists.samples[lists.bounds[number] : lists.bounds[number + 1]]
            samples[filled[number] : filled[number] + len(listed)] = listed + np.uint32(done)
            filled[number] += len(listed)
        done += len(table)
    records.flush()
    samples.flush()
    np.save(folder / "bounds.npy", bounds)  # last: its presence means that the others are complete


def _batches(index: Index, columns: list[str]) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Iterate over the rows of some splits, some thousands at a time, with their positions in the index."""
    first = 0
    with pq.ParquetFile(index.path) as file:
        for batch in file.iter_batches(_BATCH, columns=[*columns, "split"]):
            wanted = np.isin(batch["split"].to_numpy(zero_copy_only=False), index.splits)
            yield first + np.flatnonzero(wanted), batch.filter(wanted)
            first += len(batch)


def _list(table: pa.RecordBatch, count: int) -> ClassLists:
    lengths = pc.fill_null(pc.list_value_length(table["classes"]), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return list_classes(pc.list_flatten(table["classes"]).to_numpy(), offsets, count)
