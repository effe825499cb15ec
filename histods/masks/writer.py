"""Remapped masks as 8-bit grey PNG files: the encoder, the work of a worker, and ownership of the folder."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from histods.errors import HistodsError, StaleFileError, UnreadableFileError
from histods.images.contents import Room
from histods.images.reader import decode_mask
from histods.io.atomic import write_bytes, write_json
from histods.io.open_file import OpenRoot
from histods.io.overlap import Pace, overlap
from histods.io.workspace import read_json
from histods.run_lengths import find_runs, histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from histods.colours.colour_labels import Mask

_ENCODING = (
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)

_READING, _WRITING = Pace(), Pace()  # in this worker


class MaskTask(NamedTuple):
    """A mask to remap: its path and target, its audited state, and the classes that must result."""

    source: str
    target: str
    bytes: int
    mtime_ns: int
    height: int
    width: int
    classes: list[int]
    pixels: list[int]


class _Found(NamedTuple):
    """The state of a mask: whether its target already exists, and its content if needed."""

    present: bool = False
    content: bytes | None = None
    problem: HistodsError | None = None


class MaskReport(NamedTuple):
    """The result for a chunk of masks; `problems` are paths with a reason."""

    written: int
    present: int
    problems: list[tuple[str, str]]
    disk: str | None


def plan_masks(samples: pa.Table, histograms: Iterable[tuple[list[int], list[int]]]) -> Iterator[MaskTask]:
    """One task per readable mask; two samples may share a mask, but two masks never share a target.

    Args:
        samples: rows of a manifest.
        histograms: classes and pixels of each row.

    Raises:
        HistodsError: a mask is outside the dataset, or two masks would get the same name.
    """
    columns = ("mask_path", "mask_bytes", "mask_mtime_ns", "height", "width", "labels")
    sources: dict[str, str] = {}
    rows = zip(*(samples[column].to_pylist() for column in columns), histograms, strict=True)
    for path, size, time, height, width, labels, (classes, pixels) in rows:
        if path is None or labels is None:
            continue
        target = PurePosixPath(path).with_suffix(".png")
        if target.is_absolute() or ".." in target.parts:
            raise HistodsError(f"The mask {path} is outside the dataset, and masks outside it are not written.")
        other = sources.get(str(target))
        if other == path:
            continue
        if other is not None:
            raise HistodsError(
                f"{other} and {path} would both be written as {target}; rename one of them and audit again."
            )
        sources[str(target)] = path
        yield MaskTask(path, str(target), size, time, height, width, classes, pixels)


def claim_folder(folder: Path, map_digest: str, manifest_digest: str) -> None:
    """Mark a folder as holding masks of this map and manifest, unless it is marked already.

    Raises:
        HistodsError: the folder holds other masks or other PNG files.
    """
    mark = folder / "remap.json"
    wanted = {"map_digest": map_digest, "manifest_digest": manifest_digest}
    if mark.exists():
        if read_json(mark) != wanted:
            raise HistodsError(f"{folder} holds masks of another label map or manifest; choose a new folder.")
    elif other := next(folder.rglob("*.png"), None):
        raise HistodsError(f"{folder} holds PNG files already, such as {other}; choose a new folder.")
    write_json(mark, wanted)


def encode_mask(classes: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Encode [height, width] classes as grey PNG of 8 or 16 bits: run lengths of unfiltered rows.

    On masks, whose rows are few long runs, this is the fastest setting and, except for exhaustive search, the
    smallest (one core, 512x512, microseconds and bytes per mask, measured in one run):

    | encoder | 12 real masks | noisy edges | all zero |
    | --- | --- | --- | --- |
    | OpenCV, run lengths, no filter | 460, 1,606 B | 565, 6,350 B | 415, 334 B |
    | OpenCV, default | 605, 2,506 B | 707, 8,225 B | 548, 1,102 B |
    | OpenCV, level 9, no filter | 6,300, 1,207 B | 7,989, 7,880 B | 1,342, 334 B |
    | Pillow, default | 2,380, 1,940 B | 3,273, 8,623 B | 1,704, 334 B |
    | Pillow, level 1 | 1,313, 3,227 B | 2,187, 11,423 B | 628, 1,226 B |
    | kornia-rs | 1,779, 2,184 B | 2,378, 9,651 B | 1,515, 1,232 B |
    """
    return cv2.imencode(".png", classes, _ENCODING)[1].tobytes()


def remap_labels(
    mask: Mask, lookup: NDArray[np.uint8], *, classes: list[int], pixels: list[int]
) -> NDArray[np.uint8]:
    """Classes [height, width] of a mask under a label map, checked against the pixel counts of the manifest.

    Args:
        mask: labels [height, width].
        lookup: [65536] class of each label.
        classes: the classes that must result, ascending.
        pixels: pixels of each.

    Raises:
        StaleFileError: the pixel counts differ; the message has no path.
    """
    remapped = lookup[mask.labels]
    found, numbers = histogram(find_runs(remapped))
    if found.tolist() != classes or numbers.tolist() != pixels:
        raise StaleFileError("its pixels changed, or the labels file did")
    return remapped


def remap_mask(mask: Mask, lookup: NDArray[np.uint8], *, classes: list[int], pixels: list[int]) -> bytes:
    """Encode a mask under a label map; see `remap_labels`."""
    return encode_mask(remap_labels(mask, lookup, classes=classes, pixels=pixels))


@lru_cache(maxsize=64)
def constant_mask(height: int, width: int, index: int) -> bytes:
    """Encode a mask of one class."""
    return encode_mask(np.full((height, width), index, dtype=np.uint8))


def write_mask_files(
    tasks: Sequence[MaskTask],
    *,
    root: str,
    folder: str,
    lookup: NDArray[np.uint8],
    colours: Mapping[int, tuple[int, int, int]],
    nearest: bool,
) -> MaskReport:
    """Remap a chunk of masks, in a worker; masks that already exist in the folder are kept.

    Args:
        tasks: the masks.
        root: the dataset's folder.
        folder: the folder for the remapped masks.
        lookup: [65536] class of each label.
        colours: RGB of labels, for colour masks, as in the audit.
        nearest: give unknown colours the nearest label, as in the audit.
    """
    room = Room()
    written = present = 0
    problems: list[tuple[str, str]] = []

    def encode(dataset: OpenRoot) -> Iterator[tuple[Path, bytes]]:
        """The masks to write, in order."""
        nonlocal present
        find = partial(_find, dataset=dataset, folder=folder, room=room)
        for task, ahead in zip(tasks, overlap(find, tasks, _READING), strict=True):
            found = ahead or find(task, in_turn=True) or _Found()
            try:
                if found.problem is not None:
                    raise found.problem
                if found.present:
                    present += 1
                    continue
                if found.content is None:  # most masks of most datasets, whose pixels are known from the manifest
                    content = constant_mask(task.height, task.width, task.classes[0])
                else:
                    mask = decode_mask(found.content, colours, nearest=nearest)
                    content = remap_mask(mask, lookup, classes=task.classes, pixels=task.pixels)
            except (StaleFileError, UnreadableFileError) as error:
                problems.append((task.source, str(error)))
                continue
            finally:
                room.give(found.content)
            yield Path(folder, task.target), content

    with OpenRoot(root) as dataset:
        for failure in overlap(_write, encode(dataset), _WRITING):
            if failure is not None:
                return MaskReport(written, present, problems, failure)
            written += 1
    return MaskReport(written, present, problems, None)


def _write(mask: tuple[Path, bytes]) -> str | None:
    """Write a mask; return an error message if the disk fails."""
    target, content = mask
    try:
        write_bytes(target, content)
    except OSError as error:
        return f"{target}: {error.strerror or error}"
    return None


def _find(task: MaskTask, *, dataset: OpenRoot, folder: str, room: Room, in_turn: bool = False) -> _Found | None:
    """Find a mask, which must be unchanged since the audit; None if there is no room for it before its turn."""
    present = Path(folder, task.target).exists()
    content = None
    try:
        with dataset.open(task.source) as file:
            if (file.size, file.mtime_ns) != (task.bytes, task.mtime_ns):
                return _Found(problem=StaleFileError("its size or time changed"))
            if len(task.classes) > 1 and not present:
                content = room.read(file, in_turn=in_turn)
                return None if content is None else _Found(content=content)
    except UnreadableFileError as error:
        return _Found(problem=error)
    return _Found(present=present)
