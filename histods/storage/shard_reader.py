"""Read samples out of shards, in any order: one read of the file's own bytes each, proved by their digest.

It needs NumPy and PyArrow alone. Where every sample is, and which samples each class has, is kept in arrays
that are memory-mapped: all processes of a machine share them, and 100 million samples need no memory of their
own. They are made from `index.parquet` when it is first read, beside it or, where that folder is read-only, in
the system's temporary folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from histods.errors import HistodsError
from histods.sampling import ClassLists, list_classes
from histods.storage.shard_set import ShardSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

RECORD = np.dtype(
    [
        ("row", "<u4"),
        ("shard", "<u4"),
        ("image_offset", "<u8"),
        ("image_bytes", "<u4"),
        ("image_digest", "<u8"),
        ("mask_offset", "<u8"),
        ("mask_bytes", "<u4"),
        ("mask_digest", "<u8"),
    ]
)
"""48 bytes a sample: its row of the index, and where its files are; `mask_bytes` is 0 where there is no mask."""

_COLUMNS = [name for name in RECORD.names or () if name not in ("row", "shard")]
_BATCH = 65536
_OPEN_FILES = 256


class Files(NamedTuple):
    """The files of a sample as they are stored; `mask` is None where it has none, which stands for zeros."""

    image: bytes
    mask: bytes | None


class ShardReader:
    """The samples of some splits of a folder of shards.

    Attributes:
        shards: what `shards.json` says.
        lists: the samples of each class.

    Raises:
        HistodsError: the index is not the one that `shards.json` describes, a shard is missing or has another
            size, or a split does not exist.
    """

    def __init__(self, folder: str | Path, splits: Sequence[str] = ()) -> None:
        self.shards = ShardSet.read(Path(folder))
        known = sorted({shard.split for shard in self.shards.shards})
        if unknown := sorted(set(splits) - set(known)):
            raise HistodsError(
                f"Expected one of the splits {', '.join(known)} of {folder}, found {unknown[0]!r}; choose one."
            )
        self.splits = tuple(sorted(splits)) or tuple(known)
        lookup = _find_lookup(self.shards, self.splits)
        self._records: NDArray[np.void] = np.load(lookup / "records.npy", mmap_mode="r")
        self.lists = ClassLists(
            np.load(lookup / "samples.npy", mmap_mode="r"), np.load(lookup / "bounds.npy", mmap_mode="r")
        )
        self._open: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def __getstate__(self) -> tuple[Path, tuple[str, ...]]:
        return self.shards.folder, self.splits

    def __setstate__(self, state: tuple[Path, tuple[str, ...]]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # another process maps the same files

    def __del__(self) -> None:
        for descriptor in getattr(self, "_open", {}).values():
            os.close(descriptor)

    def read(self, sample: int) -> Files:
        """The files of a sample (0 <= sample < len).

        Raises:
            HistodsError: the bytes in the shard are not those that were written.
        """
        record = self._records[sample]
        image = self._read(sample, record, "image")
        return Files(image, self._read(sample, record, "mask") if record["mask_bytes"] else None)

    def key(self, sample: int) -> str:
        """The key that a sample has in the manifest; it is looked up on disk."""
        row = int(self._records[sample]["row"])
        with pq.ParquetFile(self.shards.index) as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row < rows:
                    return str(file.read_row_group(group, columns=["key"])["key"][row].as_py())
                row -= rows
        raise HistodsError(f"Expected a sample below {len(self):,}, found {sample:,}; choose another.")

    def _read(self, sample: int, record: np.void, kind: str) -> bytes:
        import xxhash  # a machine that only trains on latents need not have it

        shard = int(record["shard"])
        size = int(record[f"{kind}_bytes"])
        content = os.pread(self._descriptor(shard), size, int(record[f"{kind}_offset"]))
        if xxhash.xxh3_64_intdigest(content) != record[f"{kind}_digest"]:
            name = self.shards.shards[shard].name
            raise HistodsError(
                f"Expected the {kind} of {self.key(sample)} in {name}.tar as it was written, found other bytes; "
                "run 'histods shard --verify', remove the damaged shard and run 'histods shard' again."
            )
        return content

    def _descriptor(self, shard: int) -> int:
        """The opened shard; the least recently used one is closed where too many are open."""
        descriptor = self._open.get(shard)
        if descriptor is not None:
            self._open.move_to_end(shard)
            return descriptor
        descriptor = os.open(self.shards.tar(self.shards.shards[shard].name), os.O_RDONLY)
        self._open[shard] = descriptor
        if len(self._open) > _OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        return descriptor


def _find_lookup(shards: ShardSet, splits: tuple[str, ...]) -> Path:
    """The folder of arrays for these splits of this index; made where it is not there."""
    name = hashlib.sha256(repr((shards.index_digest, splits)).encode()).hexdigest()[:16]
    homes = [shards.folder / ".lookup", Path(tempfile.gettempdir(), f"histods-lookup-{os.getuid()}")]
    for home in homes:
        if (home / name / "bounds.npy").is_file():
            return home / name
    making = _new_folder(homes)
    found = making.parent / name
    try:
        _make_lookup(shards, splits, making)
        making.chmod(0o755)
        making.rename(found)
    except OSError:
        if not (found / "bounds.npy").is_file():  # else another process was faster
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return found


def _new_folder(homes: Sequence[Path]) -> Path:
    """An empty folder in the first of some places that can be written to."""
    for home in homes:
        try:
            home.mkdir(exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=".making.", dir=home))
        except OSError as error:
            reason = error
    raise HistodsError(
        f"Expected a place for the arrays of the index in {homes[0]} or {homes[1]}, found: {reason}; "
        "make one of them writable."
    )


def _make_lookup(shards: ShardSet, splits: tuple[str, ...], folder: Path) -> None:
    """Write the arrays, in two passes over the index: one to count, one to fill."""
    count = len(shards.classes)
    sizes = np.zeros(count, dtype=np.int64)
    rows = 0
    for _, table in _batches(shards, splits, ["classes"]):
        sizes += _list(table, count).sizes
        rows += len(table)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    records = np.lib.format.open_memmap(folder / "records.npy", mode="w+", dtype=RECORD, shape=(rows,))
    samples = np.lib.format.open_memmap(
        folder / "samples.npy", mode="w+", dtype=np.uint32, shape=(int(bounds[-1]),)
    )
    numbers = {shard.name: number for number, shard in enumerate(shards.shards)}
    done, filled = 0, bounds[:-1].copy()
    for places, table in _batches(shards, splits, ["classes", "shard", *_COLUMNS]):
        here = records[done : done + len(table)]
        here["row"] = places
        here["shard"] = [numbers[name] for name in table["shard"].to_pylist()]
        for column in _COLUMNS:
            here[column] = pc.fill_null(table[column], 0).to_numpy()
        lists = _list(table, count)
        for index in range(count):
            listed = lists.samples[lists.bounds[index] : lists.bounds[index + 1]]
            samples[filled[index] : filled[index] + len(listed)] = listed + np.uint32(done)
            filled[index] += len(listed)
        done += len(table)
    records.flush()
    samples.flush()
    np.save(folder / "bounds.npy", bounds)  # last: it says that the others are whole


def _batches(
    shards: ShardSet, splits: tuple[str, ...], columns: list[str]
) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Go through the rows of some splits, some thousands at a time, with their places in the index."""
    first = 0
    with pq.ParquetFile(shards.index) as file:
        for batch in file.iter_batches(_BATCH, columns=[*columns, "split"]):
            wanted = np.isin(batch["split"].to_numpy(zero_copy_only=False), splits)
            yield first + np.flatnonzero(wanted), batch.filter(wanted)
            first += len(batch)


def _list(table: pa.RecordBatch, count: int) -> ClassLists:
    lengths = pc.fill_null(pc.list_value_length(table["classes"]), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return list_classes(pc.list_flatten(table["classes"]).to_numpy(), offsets, count)
