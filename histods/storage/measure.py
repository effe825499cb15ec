"""What is measured of each file, in the worker that reads it: numbers only, no pixels leave.

`measure_files` is the function that engines run. It takes a chunk of files and gives back one Arrow
record batch as bytes, so that the parent neither unpickles nor converts anything file by file.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import xxhash

from histods.errors import InaccessibleFileError, NotAnIndexMaskError, UnreadableFileError
from histods.runs import count_specks, find_runs, histogram
from histods.storage.images import decode_image, decode_mask, identify_mask, inspect_image, read_content

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("is_mask", pa.bool_()),
        ("bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("how", pa.string()),
        ("error", pa.string()),
        ("not_index", pa.string()),
        ("format", pa.string()),
        ("kind", pa.string()),
        ("width", pa.uint32()),
        ("height", pa.uint32()),
        ("labels", pa.list_(pa.uint16())),
        ("pixels", pa.list_(pa.uint32())),
        ("digest", pa.string()),
        ("runs", pa.uint32()),
        ("specks", pa.uint32()),
        ("off_palette", pa.uint32()),
    ]
)
"""One row a file. `how` names the options under which it was measured: the row holds for those alone.
It is null where the reason may pass (permissions, memory): such a file is read again in the next audit."""

_REMEMBERED = 256  # measurements of whole mask files kept by digest in each worker
_PICTURE_LABELS, _PICTURE_RUN = 64, 4.0


class FileTask(NamedTuple):
    """One file to measure, with the size and time that the scan saw."""

    path: str
    is_mask: bool
    bytes: int
    mtime_ns: int
    problem: str | None = None
    """Why it must not be opened (broken link, not a regular file), or None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureOptions:
    """How files are measured. `images_how` and `masks_how` name the options, for reuse of measurements."""

    root: str
    decode: bool = False
    digest_images: bool = False
    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    nearest: bool = False

    @property
    def images_how(self) -> str:
        """Name of the options that bear on images."""
        return ("decode" if self.decode else "structure") + ("+digest" if self.digest_images else "")

    @property
    def masks_how(self) -> str:
        """Name of the options that bear on masks."""
        if not self.colours:
            return "values"
        named = ";".join(f"{label}:{colour}" for label, colour in sorted(self.colours.items()))
        return ("nearest:" if self.nearest else "colours:") + xxhash.xxh3_128_hexdigest(named.encode())


Row = dict[str, Any]  # columns of SCHEMA; those that are absent are null


def measure_files(chunk: Sequence[FileTask], *, options: MeasureOptions) -> bytes:
    """Measure a chunk of files; a damaged file is a row with an error.

    Returns:
        An Arrow IPC stream with one record batch of `SCHEMA`, in the chunk's order; empty for no files.
    """
    if not chunk:
        return b""
    return serialise([_measure_file(task, options) for task in chunk])


def failed_row(task: FileTask, options: MeasureOptions, error: str) -> bytes:
    """The row of a file whose measuring failed in every attempt, as `measure_files` gives rows."""
    return serialise([_base_row(task, options) | {"error": error, "how": None}])


def serialise(rows: list[Row]) -> bytes:
    """Rows as an Arrow IPC stream."""
    columns = [
        pa.array([row.get(name) for row in rows], type=kind)
        for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
    return bytes(sink.getvalue())


def _base_row(task: FileTask, options: MeasureOptions) -> Row:
    how = options.masks_how if task.is_mask else options.images_how
    return {
        "path": task.path,
        "is_mask": task.is_mask,
        "bytes": task.bytes,
        "mtime_ns": task.mtime_ns,
        "how": how,
    }


def _measure_file(task: FileTask, options: MeasureOptions) -> Row:
    row = _base_row(task, options)
    if task.problem is not None:
        return row | {"error": task.problem}
    path = f"{options.root}/{task.path}"
    try:
        row.update(_measure_mask(path, options) if task.is_mask else _measure_image(path, options))
    except (InaccessibleFileError, OSError) as error:
        row |= {"error": str(error), "how": None}
    except UnreadableFileError as error:
        row["error"] = str(error)
    except MemoryError:
        row |= {"error": "too large for the memory of this machine", "how": None}
    return row


def _measure_image(path: str, options: MeasureOptions) -> Row:
    whole = options.decode or options.digest_images
    image = inspect_image(path, whole=whole)
    row: Row = {"format": image.header.format, "width": image.header.width, "height": image.header.height}
    if image.content is not None and whole:
        if options.digest_images:
            row["digest"] = xxhash.xxh3_128_hexdigest(image.content)
        if options.decode:
            try:
                decode_image(image.content, image.header)
            except UnreadableFileError as error:
                row["error"] = str(error)
    return row


_seen: OrderedDict[tuple[str, str], Row] = OrderedDict()


def _measure_mask(path: str, options: MeasureOptions) -> Row:
    """Measure a mask, or remember it: all-zero masks of one encoder are byte-identical, and often most masks."""
    content = read_content(path)
    digest = xxhash.xxh3_128_hexdigest(content)
    key = (digest, options.masks_how)
    row = _seen.get(key)
    if row is None:
        row = _measure_mask_content(content, options) | {"digest": digest}
        _seen[key] = row
        if len(_seen) > _REMEMBERED:
            _seen.popitem(last=False)
    else:
        _seen.move_to_end(key)
    return row


def _measure_mask_content(content: bytes, options: MeasureOptions) -> Row:
    try:
        mask = decode_mask(content, options.colours, nearest=options.nearest)
    except NotAnIndexMaskError as error:
        header, kind = identify_mask(content)
        return {
            "not_index": str(error),
            "format": header.format,
            "kind": kind,
            "width": header.width,
            "height": header.height,
        }
    except UnreadableFileError as error:
        return {"error": str(error)}
    runs = find_runs(mask.labels)
    labels, pixels = histogram(runs)
    height, width = mask.labels.shape
    row: Row = {
        "format": mask.format,
        "kind": mask.kind,
        "width": width,
        "height": height,
        "runs": len(runs.lengths),
        "specks": count_specks(runs),
        "off_palette": mask.off_palette,
    }
    if mask.kind == "palette" and _looks_like_a_picture(labels, runs.lengths):
        return row | {"not_index": f"{len(labels)} palette entries in short runs: a picture reduced to a palette"}
    return row | {"labels": labels, "pixels": pixels}


def _looks_like_a_picture(labels: NDArray[np.uint16], lengths: NDArray[np.int64]) -> bool:
    return len(labels) > _PICTURE_LABELS and float(lengths.mean()) < _PICTURE_RUN
