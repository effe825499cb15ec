"""Read samples from shards in any order, with one read of the file's bytes each, verified by digest.

It needs only NumPy and PyArrow (and xxhash when it reads). The location of every sample, and the samples of each
class, are looked up in memory-mapped arrays; see `histods.shards.index_cache`.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.errors import HistodsError
from histods.shards.images.shard_set import ShardSet
from histods.shards.index_cache import Index, load_index_cache

if TYPE_CHECKING:
    from collections.abc import Sequence

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
"""48 bytes per sample: its row of the index, and the location of its files; `mask_bytes` is 0 without a mask."""

_OPEN_FILES = 256


class Files(NamedTuple):
    """The files of a sample as stored; `mask` is None if there is none, which means all zeros."""

    image: bytes
    mask: bytes | None


class ShardReader:
    """The samples of some splits of a folder of shards.

    Attributes:
        shards: the contents of `shards.json`.
        lists: the samples of each class.

    Raises:
        HistodsError: the index is not the one that `shards.json` describes, a shard is missing or has another
            size, or a split does not exist.
    """

    def __init__(self, folder: str | Path, splits: Sequence[str] = ()) -> None:
        self.shards = ShardSet.read(Path(folder))
        self.splits = self.shards.choose(splits)
        self._index = Index(
            path=self.shards.index,
            digest=self.shards.index_digest,
            splits=self.splits,
            shards=[shard.name for shard in self.shards.shards],
            classes=len(self.shards.classes),
            record=RECORD,
            samples=sum(self.shards.splits[name][1] for name in self.splits),
        )
        self._records, self.lists = load_index_cache(self._index)
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
            HistodsError: the bytes in the shard have changed.
        """
        if not 0 <= sample < len(self):
            raise HistodsError(f"There is no sample {sample:,} among {len(self):,}; choose another.")
        record = self._records[sample]
        image = self._read(sample, record, "image")
        return Files(image, self._read(sample, record, "mask") if record["mask_bytes"] else None)

    def key(self, sample: int) -> str:
        """The key of a sample in the manifest, looked up on disk."""
        return self._index.key(int(self._records[sample]["row"]))

    def _read(self, sample: int, record: np.void, kind: str) -> bytes:
        import xxhash  # not needed for training on latents

        shard = int(record["shard"])
        size = int(record[f"{kind}_bytes"])
        offset = int(record[f"{kind}_offset"])
        known = shard < len(self.shards.shards) and offset + size <= self.shards.shards[shard].bytes
        content = os.pread(self._descriptor(shard), size, offset) if known else None
        if content is None or xxhash.xxh3_64_intdigest(content) != record[f"{kind}_digest"]:
            name = self.shards.shards[shard].name if known else "a shard"
            raise HistodsError(
                f"{name}.tar has other bytes than were written for the {kind} of {self.key(sample)}; "
                "run 'histods shard --verify', remove the damaged shard and run 'histods shard' again."
            )
        return content

    def _descriptor(self, shard: int) -> int:
        """The opened shard; the least recently used one is closed if too many are open."""
        descriptor = self._open.get(shard)
        if descriptor is not None:
            self._open.move_to_end(shard)
            return descriptor
        descriptor = os.open(self.shards.path(self.shards.shards[shard].name), os.O_RDONLY)
        self._open[shard] = descriptor
        if len(self._open) > _OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        return descriptor
