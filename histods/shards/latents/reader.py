"""Read latents and masks of samples, in any order and view, directly into a batch's memory; verify every read.

It needs only NumPy and PyArrow. A view of a sample costs one read of its moments, which are contiguous, two small
reads of its mask's runs, and their checksums; a mask is rotated by the choice of its runs (see
`histods.shards.latents.writer`), without transposing pixels.
"""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.errors import HistodsError
from histods.shards.index_cache import Index, load_index_cache
from histods.shards.latents.latent_set import LatentSet
from histods.shards.latents.writer import Shape, crc32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_OPEN_FILES = 256
_TURNED, _BACKWARD, _ROWS_REVERSED = 1, 2, 4
# How each dihedral view of a mask is read; tests compare this with `histods.sampling.draws.dihedral`.
_READING = (
    0,
    _TURNED | _ROWS_REVERSED,
    _BACKWARD,
    _TURNED | _BACKWARD | _ROWS_REVERSED,
    _BACKWARD | _ROWS_REVERSED,
    _TURNED,
    _ROWS_REVERSED,
    _TURNED | _BACKWARD,
)


class Latent(NamedTuple):
    """A view of a sample: mean and log-variance float16 [C, h, w], mask uint8 [H, W]."""

    mean: NDArray[np.float16]
    logvar: NDArray[np.float16]
    mask: NDArray[np.uint8]


class LatentReader:
    """The samples of some splits of a folder of latents; thread-safe.

    Attributes:
        shards: the contents of `latents.json`.
        splits: names of the splits.
        lists: the samples of each class.

    Raises:
        HistodsError: the index is not the one that `latents.json` describes, a shard is missing or has another
            size, or a split does not exist.
    """

    def __init__(self, folder: str | Path, splits: Sequence[str] = ()) -> None:
        self.shards = LatentSet.read(Path(folder))
        self.splits = self.shards.choose(splits)
        self._shape = Shape.of(self.shards)
        self._index = Index(
            path=self.shards.index,
            digest=self.shards.index_digest,
            splits=self.splits,
            shards=[shard.name for shard in self.shards.shards],
            classes=len(self.shards.classes),
            record=_record(self.shards.views),
            samples=sum(self.shards.splits[name][1] for name in self.splits),
        )
        self._records, self.lists = load_index_cache(self._index)
        self._open: OrderedDict[int, _File] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._records)

    def __getstate__(self) -> tuple[Path, tuple[str, ...]]:
        return self.shards.folder, self.splits

    def __setstate__(self, state: tuple[Path, tuple[str, ...]]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # another process maps the same files

    def key(self, sample: int) -> str:
        """The key of a sample in the manifest, looked up on disk."""
        return self._index.key(int(self._records[sample]["row"]))

    def read(self, sample: int, view: int = 0) -> Latent:
        """One view of a sample (0 <= sample < len).

        Raises:
            HistodsError: the bytes in the shard have changed, or there is no such view.
        """
        latents = (1, self._shape.channels, self._shape.height, self._shape.width)
        found = Latent(
            np.empty(latents, np.float16),
            np.empty(latents, np.float16),
            np.empty((1, self._shape.image_height, self._shape.image_width), np.uint8),
        )
        self.read_into(np.array([sample]), np.array([view]), *found)
        return Latent(*(array[0] for array in found))

    def read_into(
        self,
        samples: NDArray[np.int64],
        views: NDArray[np.int64],
        means: NDArray[np.float16],
        logvars: NDArray[np.float16],
        masks: NDArray[np.uint8],
    ) -> None:
        """Read views of samples into C-contiguous arrays.

        Args:
            samples: [B], indices of samples.
            views: [B], 0 to 7; all 0 if the latents have only one view.
            means: output, [B, C, h, w].
            logvars: output, [B, C, h, w].
            masks: output, [B, H, W].

        Raises:
            HistodsError: bytes in a shard have changed, or there is no such view.
        """
        if views.max(initial=0) >= self._shape.views:
            raise HistodsError(
                f"The latents in {self.shards.folder} have {self._shape.views} of 8 views, not view "
                f"{views.max()}; run 'histods encode --views 8'."
            )
        if samples.min(initial=0) < 0 or samples.max(initial=0) >= len(self):
            raise HistodsError(
                f"There are only {len(self):,} samples, numbered from 0, but numbers up to {samples.max():,} are "
                "asked for; choose others."
            )
        rows = zip(samples.tolist(), views.tolist(), self._records[samples].tolist(), strict=True)
        for (sample, view, row), mean, logvar, mask in zip(rows, means, logvars, masks, strict=True):
            record = _Record(*row)
            self._check(sample, record)
            file = self._file(record.shard)
            if not self._read_moments(file, record, view, mean, logvar):
                raise self._damaged(sample, record.shard, f"latents (view {view})")
            if not self._read_mask(file, record, view, mask):
                raise self._damaged(sample, record.shard, "mask")

    def _read_moments(
        self, file: _File, record: _Record, view: int, mean: NDArray[np.float16], logvar: NDArray[np.float16]
    ) -> bool:
        """Read the moments of a view, both halves with one call; return whether they are intact."""
        size = 2 * mean.nbytes
        read = os.preadv(file.descriptor, [mean.data, logvar.data], record.moments_offset + view * size)
        return read == size and crc32(logvar, crc32(mean)) == record.moments_crc[view]

    def _read_mask(self, file: _File, record: _Record, view: int, mask: NDArray[np.uint8]) -> bool:
        """Read the runs of a mask; return whether they are intact."""
        reading = _READING[view]
        turned = reading & _TURNED
        skipped, runs = (record.runs, record.turned_runs) if turned else (0, record.runs)
        lengths = os.pread(file.descriptor, 4 * runs, record.lengths_offset + 4 * skipped)
        labels = os.pread(file.descriptor, runs, record.labels_offset + skipped)
        crc = zlib.crc32(labels, zlib.crc32(lengths))
        if crc != (record.turned_crc if turned else record.mask_crc):
            return False
        step = -1 if reading & _BACKWARD else 1
        counts = np.frombuffer(lengths, "<u4")
        if len(labels) != len(counts) or int(counts.sum(dtype=np.int64)) != mask.size:
            return False
        flat = np.repeat(np.frombuffer(labels, np.uint8)[::step], counts[::step])
        pixels = flat.reshape(mask.shape)
        mask[:] = pixels[::-1] if reading & _ROWS_REVERSED else pixels
        return True

    def _check(self, sample: int, record: _Record) -> None:
        """Check that the location of a sample is inside its shard.

        Raises:
            HistodsError: it is not.
        """
        shards = self.shards.shards
        most = self._shape.image_height * self._shape.image_width
        ends = (
            record.moments_offset + 2 * int(np.prod(self._shape.moments)),
            record.lengths_offset + 4 * (record.runs + record.turned_runs),
            record.labels_offset + record.runs + record.turned_runs,
        )
        if record.shard >= len(shards) or max(ends) > shards[record.shard].bytes or record.runs > most:
            raise self._damaged(sample, min(record.shard, len(shards) - 1), "place")

    def _damaged(self, sample: int, shard: int, what: str) -> HistodsError:
        name = self.shards.path(self.shards.shards[shard].name).name
        return HistodsError(
            f"{name} has other bytes than were written for the {what} of {self.key(sample)}; "
            "run 'histods encode --verify', remove the damaged shard and run 'histods encode' again."
        )

    def _file(self, shard: int) -> _File:
        """The opened shard; the least recently used one is released if too many are open."""
        with self._lock:
            file = self._open.get(shard)
            if file is None:
                file = self._open[shard] = _File(self.shards.path(self.shards.shards[shard].name))
                if len(self._open) > _OPEN_FILES:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(shard)
            return file


class _File:
    """A file open for reading until the last thread that uses it releases it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class _Record(NamedTuple):
    """The record of a sample; see `histods.shards.latents.writer.INDEX`."""

    row: int
    shard: int
    moments_offset: int
    lengths_offset: int
    labels_offset: int
    runs: int
    mask_crc: int
    turned_runs: int
    turned_crc: int
    moments_crc: NDArray[np.uint32] | list[int]


def _record(views: int) -> np.dtype[np.void]:
    """44 bytes per sample, and 4 per view."""
    wide = {"moments_offset", "lengths_offset", "labels_offset"}
    names = _Record._fields[:-1]
    columns = [(name, "<u8" if name in wide else "<u4") for name in names]
    return np.dtype([*columns, ("moments_crc", "<u4", (views,))])
