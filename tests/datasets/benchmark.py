"""Datasets of any size with DRSK's proportions, written fast: what benchmarks read."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from loky import ProcessPoolExecutor

from histods.errors import HistodsError
from histods.records import Counts
from histods.synthetic.damage import png_chunk
from histods.synthetic.files import building, encode
from histods.synthetic.tissue import make_patch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DRSK_PAIRS, DRSK_ORPHANS, DRSK_ZERO_MASKS = 246_750, 5, 156_024

_BASES, _USES = 240, 25  # most distinct patches that all others are made from; pairs a patch is worth
_JPEG_QUALITY = 20
_CHANGED = 8  # pixels
_RENDERED = 2  # images are rendered at half their size and enlarged: smooth ones make small JPEG files


def drsk_proportions(pairs: int) -> tuple[int, int]:
    """Orphan masks (rounded up) and zero masks (to the nearest) for a number of pairs, as in DRSK.

    At DRSK's own 246,750 pairs they are 5 and 156,024.
    """
    orphans = -(-pairs * DRSK_ORPHANS // DRSK_PAIRS)
    return orphans, (2 * pairs * DRSK_ZERO_MASKS + DRSK_PAIRS) // (2 * DRSK_PAIRS)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What a benchmark dataset holds; workers get this and a range of numbers."""

    root: Path
    pairs: int
    orphans: int
    zero_masks: int
    seed: int
    size: int
    per_folder: int | None

    @property
    def bases(self) -> int:
        """Distinct patches from which all pairs are made: pair n shows patch n modulo this."""
        return min(_BASES, -(-(self.pairs + self.orphans) // _USES))

    def is_zero(self, number: int) -> bool:
        """Whether pair `number` has a zero mask: spread evenly over the pairs."""
        if number >= self.pairs:
            return False
        return (number + 1) * self.zero_masks // self.pairs > number * self.zero_masks // self.pairs

    def folder(self, number: int) -> Path:
        """Folder of a pair."""
        return self.root if self.per_folder is None else self.root / f"part_{number // self.per_folder:05d}"


def make_benchmark(
    folder: str | Path,
    *,
    pairs: int,
    orphans: int,
    zero_masks: int,
    seed: int = 0,
    size: int = 512,
    per_folder: int | None = None,
    workers: int | None = None,
) -> Counts:
    """Write `patch_000001.jpg` and `patch_000001_mask.png` and so on, sound but for the orphan masks.

    Zero masks are byte-identical, as in DRSK; the masks of all other pairs differ from each other in their
    pixels, and every JPEG in its bytes. Image and mask of a pair are not of the same tissue: nothing can be
    learnt from this dataset but how fast it is read.

    Args:
        folder: new or empty.
        pairs: images, each with a mask.
        orphans: further masks without an image; not zero.
        zero_masks: pairs whose mask is 0 everywhere, at most `pairs`.
        seed: 0 or more; the same seed gives the same bytes, whatever the number of workers.
        size: side in pixels, at least 64.
        per_folder: pairs in each folder; all in one folder by default.
        workers: processes; one a core by default.

    Returns:
        The counts that an audit must give.

    Raises:
        HistodsError: the folder holds something, or the numbers contradict each other.
    """
    if not 0 <= zero_masks <= pairs or orphans < 0 or (per_folder is not None and per_folder < 1):
        raise HistodsError(
            f"{pairs} pairs, {zero_masks} zero masks, {orphans} orphans and {per_folder} a folder do not fit "
            "together; correct the numbers so that 0 <= zero masks <= pairs and orphans are from 0."
        )
    with building(Path(folder).absolute()) as root:
        plan = _Plan(
            root=root,
            pairs=pairs,
            orphans=orphans,
            zero_masks=zero_masks,
            seed=seed,
            size=size,
            per_folder=per_folder,
        )
        total = pairs + orphans
        for number in range(0, total, per_folder or max(total, 1)):
            plan.folder(number).mkdir(exist_ok=True)
        _write_all(plan, workers or os.cpu_count() or 1)
    return Counts(
        images=pairs,
        masks=pairs + orphans,
        pairs=pairs,
        orphan_masks=orphans,
        images_without_mask=0,
        zero_masks=zero_masks,
        meaningful_masks=pairs - zero_masks,
        conditional=pairs - zero_masks,
        unconditional=zero_masks,
        excluded=orphans,
    )


def _write_all(plan: _Plan, workers: int) -> None:
    """Write all pairs, one base patch a task; one worker is this process itself."""
    if workers == 1:
        for base in range(plan.bases):
            _write_base(plan, base)
        return
    # One thread a process, since the processes share the cores already.
    with ProcessPoolExecutor(workers, initializer=cv2.setNumThreads, initargs=(1,)) as executor:
        list(executor.map(_write_base, [plan] * plan.bases, range(plan.bases)))


def _write_base(plan: _Plan, base: int) -> None:
    """Write all pairs that are made from one base patch: every `plan.bases`-th."""
    patch = make_patch(plan.seed, base, size=max(plan.size // _RENDERED, 32))
    shape = (plan.size, plan.size)
    jpeg = encode(cv2.resize(patch.image, shape, interpolation=cv2.INTER_CUBIC), ".jpg", quality=_JPEG_QUALITY)
    labels = np.asarray(cv2.resize(_busiest_quarter(patch.mask), shape, interpolation=cv2.INTER_NEAREST), np.uint8)
    zero = encode(np.zeros_like(labels), ".png")
    distinct = _distinct_masks(labels)
    for number in range(base, plan.pairs + plan.orphans, plan.bases):
        name = f"{plan.folder(number)}/patch_{number + 1:06d}"
        if number < plan.pairs:
            _write(f"{name}.jpg", _with_comment(jpeg, f"patch {number + 1}"))
        _write(f"{name}_mask.png", zero if plan.is_zero(number) else next(distinct))


def _busiest_quarter(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The quarter of a mask through which most outlines run.

    Enlarged, it has about as much outline as the masks that annotators draw: 12 real lung masks take 1.9 KB with
    825 runs on average, these 2.0 KB with 1,350, the whole patches with their thin layers 2.8 KB with 1,720.
    """
    middle = labels.shape[0] // 2
    halves = slice(None, middle), slice(-middle, None)
    return max((labels[rows, columns] for rows in halves for columns in halves), key=_outline)


def _outline(labels: NDArray[np.uint8]) -> int:
    """Pixels whose left or upper neighbour has another label."""
    return int(np.count_nonzero(labels[1:] != labels[:-1]) + np.count_nonzero(labels[:, 1:] != labels[:, :-1]))


def _distinct_masks(labels: NDArray[np.uint8]) -> Iterator[bytes]:
    """PNG files, without end, of masks that all differ in their pixels.

    The mask is flipped in four ways and rolled. Each of these is compressed once with Pillow, and the
    state of the compression before the last row is kept: that row alone differs between the files that
    follow, so that one costs 0.1 ms instead of 2.6 ms.
    """
    for number in count():
        flips, shift = number % 4, number // 4
        flipped = labels[:: 1 - 2 * (flips & 1), :: 1 - (flips & 2)]
        rolled = np.roll(flipped, divmod(shift, labels.shape[1])[::-1], (0, 1))
        yield from _with_other_last_rows(rolled)


def _with_other_last_rows(labels: NDArray[np.uint8]) -> Iterator[bytes]:
    """PNG files of a mask with 8 px of its last row changed, at each place in turn."""
    png = encode(labels, ".png")
    start = png.index(b"IDAT") + 4
    (length,) = struct.unpack_from(">I", png, start - 8)
    filtered = zlib.decompress(png[start : start + length])
    size = labels.shape[1]
    # Pillow's own settings for filtered rows, so that the files are what Pillow would have written.
    compressor = zlib.compressobj(-1, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    head = compressor.compress(filtered[: -size - 1])
    first, second = np.unique(labels)[:2].tolist()
    for place in range(0, size, _CHANGED):
        row = labels[-1].copy()
        row[place : place + _CHANGED] = second if row[place] == first else first
        rest = compressor.copy()
        # Row filter 2 ("up"): the difference from the row above.
        tail = rest.compress(b"\x02" + (row - labels[-2]).tobytes()) + rest.flush()
        yield png[: start - 8] + png_chunk(b"IDAT", head + tail) + png_chunk(b"IEND", b"")


def _with_comment(jpeg: bytes, comment: str) -> bytes:
    """The JPEG with a comment segment (COM) before its end marker: other bytes, the same picture.

    Not at the start: the headers of one encoder's files are equal, and so they are here.
    """
    text = comment.encode()
    return jpeg[:-2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + jpeg[-2:]


def _write(path: str, content: bytes) -> None:
    with open(path, "wb", buffering=0) as file:  # noqa: PTH123 - half a million times
        file.write(content)
