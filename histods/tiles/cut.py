"""Cut images and masks into tiles, in a worker; pixels are those that the audit and training read.

The image of a tile is a PNG, which is lossless. An image that already is one whole tile and needs no conversion is
copied byte for byte instead, since a JPEG is a sixth of the size of a PNG. The mask of a tile is a grey PNG of
labels, with 8 bits if its labels fit.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import cv2
import numpy as np
import pyarrow as pa

from histods.errors import HistodsError, StaleFileError, UnreadableFileError
from histods.images.contents import Room
from histods.images.reader import check_image, decode_mask, decode_rgb, show_image
from histods.io.atomic import write_bytes
from histods.io.open_file import OpenRoot
from histods.io.overlap import MAX_THREADS, Pace, overlap
from histods.masks.writer import encode_mask
from histods.run_lengths import find_runs, histogram
from histods.tiles.grid import BLANK_SHARE, WHITE, Box, find_tissue, list_boxes, pad, tissue_share

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

CUT = pa.schema(
    [
        ("source", pa.string()),
        ("status", pa.string()),
        ("image_path", pa.string()),
        ("mask_path", pa.string()),
        ("x", pa.uint32()),
        ("y", pa.uint32()),
        ("width", pa.uint32()),
        ("height", pa.uint32()),
        ("tissue", pa.float32()),
        ("image_bytes", pa.int64()),
        ("mask_bytes", pa.int64()),
        ("reason", pa.string()),
    ]
)
"""The result for each tile: `written`, `blank` (not written), or for a whole image `unreadable` with a reason.

`x` and `y` are the upper left corner in the source image, `width` and `height` the size without padding in pixels,
`tissue` the share of these pixels that is not near white.
"""
_LABEL_8 = np.iinfo(np.uint8).max
_BYTES_AHEAD = 64 << 20
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FAST_FILTERS)


class TileTask(NamedTuple):
    """An image to cut: its key, the target of its tiles, and its files with their audited state."""

    key: str
    target: str
    width: int
    height: int
    image_path: str
    image_bytes: int
    image_mtime_ns: int
    mask_path: str | None
    mask_bytes: int | None
    mask_mtime_ns: int | None
    labels: list[int] | None
    pixels: list[int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TileOptions:
    """How tiles are cut.

    Attributes:
        root: the dataset's folder.
        folder: the folder for tiles.
        size: side of a tile, pixels.
        stride: pixels from one tile to the next.
        edge: how to handle the last tile of a row or column.
        pad_label: label of the padding of masks.
        keep_blank: also write blank tiles.
        audit: the command that makes the audit again, for messages.
        colours: RGB of labels, for colour masks, as in the audit.
        nearest: give unknown colours the nearest label, as in the audit.
    """

    root: str
    folder: str
    size: int
    stride: int
    edge: Literal["shift", "pad"]
    pad_label: int
    keep_blank: bool
    audit: str
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    nearest: bool = False

    def boxes(self, width: int, height: int) -> Iterator[Box]:
        """The tiles of an image."""
        return list_boxes(width, height, size=self.size, stride=self.stride, shift=self.edge == "shift")


class TileReport(NamedTuple):
    """The result for a chunk of images: rows of `CUT` as an Arrow stream, and any error that ended the work."""

    rows: bytes
    stale: str | None = None
    disk: str | None = None


class _File(NamedTuple):
    """A file to write; after the last one of an image, an empty path and the results for all its tiles."""

    path: str
    content: bytes
    rows: list[dict[str, Any]]


_READS = Pace()  # in this worker


@cache
def _writes(size: int) -> Pace:
    """Number of writes in flight in this worker, limited to `_BYTES_AHEAD` bytes."""
    return Pace(most=min(max(_BYTES_AHEAD // (3 * size * size), 1), MAX_THREADS))


def cut_tiles(tasks: Sequence[TileTask], *, options: TileOptions) -> TileReport:
    """Cut images and their masks, in a worker, one image at a time; existing tiles are written again.

    If storage is slow, images are read ahead and tiles are written in the background.
    """
    rows: list[dict[str, Any]] = []

    def write(file: _File) -> list[dict[str, Any]]:
        if file.path:
            write_bytes(Path(options.folder, file.path), file.content)
        return file.rows

    try:
        with OpenRoot(options.root) as root, closing(_cut_all(tasks, root, options)) as files:
            for cut in overlap(write, files, _writes(options.size)):
                rows += cut
    except StaleFileError as error:
        return TileReport(_to_stream(rows), stale=str(error))
    except OSError as error:
        return TileReport(_to_stream(rows), disk=f"{error.filename}: {error.strerror or error}")
    return TileReport(_to_stream(rows))


def _to_stream(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, CUT) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, CUT))
    return bytes(sink.getvalue())


def _cut_all(tasks: Sequence[TileTask], root: OpenRoot, options: TileOptions) -> Generator[_File, None, None]:
    """The files of all tiles of some images, which are read ahead as far as memory allows."""
    room = Room()
    sources = [source for task in tasks for source in _sources_of(task)]
    read = partial(_read, root=root, options=options, room=room)
    contents = overlap(read, sources, _READS)
    for task in tasks:
        found = [
            read(source, in_turn=True) if content is None else content
            for source, content in zip(_sources_of(task), contents, strict=False)
        ]
        yield from _cut(task, found, options)
        for content in found:
            room.give(content)


def _cut(task: TileTask, contents: Sequence[bytes | None], options: TileOptions) -> Iterator[_File]:
    """The files of the tiles of one image, and finally its rows of `CUT`, one per tile.

    Args:
        task: the image.
        contents: its file, and that of its mask if there is one.
        options: how it is cut.
    """
    content, *mask = (content or b"" for content in contents)
    labels = _labels(task, mask[0], options) if mask else None
    try:
        image, suffix = _decode(content)
    except UnreadableFileError as error:
        yield _File("", b"", [{"source": task.key, "status": "unreadable", "reason": str(error)}])
        return
    shapes = {image.shape[:2], *(() if labels is None else (labels.shape,))}
    if shapes != {(task.height, task.width)}:
        raise _stale(task.image_path, "other pixels", options, fresh=True)
    whole = (task.height, task.width) == (options.size, options.size)
    tissue = find_tissue(image)
    rows = []
    for box in options.boxes(task.width, task.height):
        share = tissue_share(box.cut(tissue))
        row: dict[str, Any] = {"source": task.key, "status": "blank", **box._asdict(), "tissue": share}
        part = None if labels is None else box.cut(labels)
        if options.keep_blank or share >= BLANK_SHARE or (part is not None and part.any()):
            place = f"{task.target}/x{box.x:06d}_y{box.y:06d}"
            if part is not None:
                tile = encode_labels(part, options)
                row |= {"mask_path": f"{place}_mask.png", "mask_bytes": len(tile)}
                yield _File(row["mask_path"], tile, [])
            copied = whole and suffix is not None
            tile = content if copied else encode_image(pad(box.cut(image), options.size, WHITE))
            path = f"{place}{suffix if copied else '.png'}"
            row |= {"status": "written", "image_path": path, "image_bytes": len(tile)}
            yield _File(path, tile, [])
        rows.append(row)
    yield _File("", b"", rows)


def _decode(content: bytes) -> tuple[NDArray[np.uint8], str | None]:
    """Pixels [height, width, 3] as training sees them, and the suffix if the file can be copied unchanged."""
    header = check_image(content)
    if header.format == "jpeg":
        return decode_rgb(content), None if header.converted else ".jpg"
    shown = show_image(content, header)
    return shown.pixels, ".png" if header.format == "png" and shown.converted is None else None


def encode_image(pixels: NDArray[np.uint8]) -> bytes:
    """Encode [height, width, 3] red, green and blue as PNG.

    Two real lung patches of 512x512, one busy core: level 1 with adaptive filters 34 ms and 438 KB, OpenCV by
    default 31 ms and 534 KB, level 3 58 ms and 428 KB, level 6 132 ms and 427 KB, Pillow by default
    177 ms and 455 KB.
    """
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), _PNG)[1].tobytes()


def encode_labels(part: NDArray[np.integer], options: TileOptions) -> bytes:
    """Encode [height, width] labels as grey PNG, padded to a whole tile; 8 bits if all labels fit, else 16."""
    small = (
        max(int(part.max()), options.pad_label if part.shape != (options.size, options.size) else 0) <= _LABEL_8
    )
    labels = part.astype(np.uint8 if small else np.uint16)
    return encode_mask(pad(labels, options.size, options.pad_label))


def _labels(task: TileTask, content: bytes, options: TileOptions) -> NDArray[np.uint8 | np.uint16]:
    """The labels of a mask, which must be unchanged since the audit."""
    path = str(task.mask_path)
    try:
        labels = decode_mask(content, options.colours, nearest=options.nearest).labels
    except UnreadableFileError as error:
        raise _stale(path, str(error), options, fresh=True) from error
    found, numbers = histogram(find_runs(labels))
    if found.tolist() != task.labels or numbers.tolist() != task.pixels:
        raise _stale(path, "other labels", options, fresh=True)
    return labels


class _Source(NamedTuple):
    """A file to read, with its audited state."""

    path: str
    bytes: int
    mtime_ns: int


def _sources_of(task: TileTask) -> list[_Source]:
    """The files of an image and of its mask."""
    sources = [_Source(task.image_path, task.image_bytes, task.image_mtime_ns)]
    if task.mask_path is not None and task.mask_bytes is not None and task.mask_mtime_ns is not None:
        sources.append(_Source(task.mask_path, task.mask_bytes, task.mask_mtime_ns))
    return sources


def _read(
    source: _Source, *, root: OpenRoot, options: TileOptions, room: Room, in_turn: bool = False
) -> bytes | None:
    """Read a file, which must be unchanged since the audit; None if there is no room for it before its turn."""
    try:
        with root.open(source.path) as file:
            if (file.size, file.mtime_ns) == (source.bytes, source.mtime_ns):
                content = room.read(file, in_turn=in_turn)
                if content is None or len(content) == source.bytes:
                    return content
    except HistodsError as error:
        raise _stale(source.path, f"it {error}", options) from error
    except OSError as error:
        raise _stale(source.path, f"it cannot be read: {error.strerror}", options) from error
    raise _stale(source.path, "another size or time", options)


def _stale(path: str, found: str, options: TileOptions, *, fresh: bool = False) -> StaleFileError:
    again = " --fresh" if fresh else ""
    return StaleFileError(
        f"{path} is not as the audit read it ({found}); run '{options.audit}{again}', then tile again."
    )
