"""Write images and masks of a chunk of samples, in a worker.

Images are copied byte for byte. Formats that demand PNG get 8-bit RGB PNG files: as they are where they are such
files, else the pixels that training sees, encoded without loss.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
import pyarrow as pa

from histods.errors import HistodsError, StaleFileError, UnreadableFileError
from histods.exports.parts import ROWS, write_part
from histods.images.audited_files import AuditedFile, read_ahead
from histods.images.reader import check_image, decode_mask, decode_rgb, show_image
from histods.io.atomic import write_bytes
from histods.io.open_file import OpenRoot
from histods.io.overlap import MAX_THREADS, Pace, overlap
from histods.masks.writer import remap_labels
from histods.tiles.cut import encode_image

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from histods.exports.base import Encoded, Format
    from histods.exports.class_values import ClassValues

SAMPLES = pa.schema(
    [
        ("name", pa.string()),
        ("key", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("width", pa.uint32()),
        ("height", pa.uint32()),
        ("image", pa.string()),
        ("mask", pa.string()),
        ("image_path", pa.string()),
        ("image_bytes", pa.int64()),
        ("image_mtime_ns", pa.int64()),
        ("mask_path", pa.string()),
        ("mask_bytes", pa.int64()),
        ("mask_mtime_ns", pa.int64()),
        ("classes", pa.list_(pa.uint16())),
        ("pixels", pa.list_(pa.uint32())),
        ("image_digest", pa.string()),
    ]
)
"""The input, one row per sample: `image` and `mask` are paths to write, `classes` those after the label map."""

_RGB_8 = b"\x08\x02"  # bit depth and colour type of a PNG
_BYTES_AHEAD = 64 << 20
_READS = Pace()  # in this worker


class ExportTask(NamedTuple):
    """A chunk of samples to export: its name, an Arrow stream of `SAMPLES`, and their digest."""

    name: str
    samples: bytes
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """How samples are exported.

    Attributes:
        root: the dataset's folder.
        folder: the folder for the export.
        format: its format.
        module: the module of the format, since a worker has the table of formats that is on disk.
        values: the value of each class.
        lookup: [65536] class of each label.
        map_digest: digest of the label map.
        audit: the command that makes the audit again, for messages.
        colours: RGB of labels, for colour masks, as in the audit.
        nearest: give unknown colours the nearest label, as in the audit.
    """

    root: str
    folder: str
    format: str
    module: str
    values: ClassValues
    lookup: NDArray[np.uint8]
    map_digest: str
    audit: str
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    nearest: bool = False

    @property
    def how(self) -> str:
        """The options that determine the bytes of files."""
        colours = sorted(self.colours.items())
        return repr(
            (1, self.format, self.values.values, self.values.names, self.map_digest, colours, self.nearest)
        )


class ExportProblem(NamedTuple):
    """What ended the work: the dataset is not as audited, or the disk failed."""

    kind: Literal["stale", "disk"]
    message: str


class _File(NamedTuple):
    path: str
    content: bytes


def plan_export(name: str, samples: pa.Table, options: ExportOptions) -> ExportTask:
    """Make the task of writing a chunk of samples from rows of `SAMPLES`."""
    sink = pa.BufferOutputStream()
    table = samples.select(SAMPLES.names).cast(SAMPLES).combine_chunks()
    with pa.ipc.new_stream(sink, SAMPLES) as writer:
        writer.write_table(table)
    content = bytes(sink.getvalue())
    return ExportTask(name, content, hashlib.sha256(options.how.encode() + content).hexdigest())


def write_export(tasks: Sequence[ExportTask], *, options: ExportOptions) -> ExportProblem | None:
    """Write chunks of samples, in a worker; a chunk is marked as complete when all its files are there."""
    for task in tasks:
        try:
            _write_chunk(task, options)
        except HistodsError as error:
            return ExportProblem("stale", str(error))
        except OSError as error:
            return ExportProblem("disk", f"{error.filename}: {error.strerror or error}")
    return None


def _write_chunk(task: ExportTask, options: ExportOptions) -> None:
    samples = pa.ipc.open_stream(task.samples).read_all().to_pylist()
    rows: list[dict[str, Any]] = []
    folder = Path(options.folder)
    largest = max(sample["width"] * sample["height"] for sample in samples)
    with OpenRoot(options.root) as root, closing(_make_files(samples, root, options, rows)) as files:
        for _ in overlap(lambda file: write_bytes(folder / file.path, file.content), files, _writes(largest)):
            pass
    write_part(folder, task.name, pa.Table.from_pylist(rows, ROWS), task.digest)


def _writes(pixels: int) -> Pace:
    """Number of writes in flight in this worker, limited to `_BYTES_AHEAD` bytes of images of so many pixels."""
    return _pace(min(max(_BYTES_AHEAD // (3 * pixels + 1), 1), MAX_THREADS))


@cache
def _pace(most: int) -> Pace:
    return Pace(most=most)


def _make_files(
    samples: Sequence[dict[str, Any]], root: OpenRoot, options: ExportOptions, rows: list[dict[str, Any]]
) -> Generator[_File, None, None]:
    """The files of some samples, in order; `rows` gets what is known of each sample once its files are made."""
    form = cast("Format", import_module(options.module))
    contents = read_ahead([file for sample in samples for file in _sources(sample)], root, options.audit, _READS)
    for sample in samples:
        image = next(contents)
        encoded = _encode_mask(sample, next(contents) if sample["mask_path"] else b"", form, options)
        row = {"name": sample["name"], "image": sample["image"], "mask": sample["mask"], "note": encoded.note}
        try:
            content = _to_png(image) if form.PNG else image
        except UnreadableFileError as error:
            rows.append({"name": sample["name"], "reason": str(error)})
            continue
        yield _File(sample["image"], content)
        if sample["mask"] is not None:
            yield _File(sample["mask"], encoded.file)
        rows.append(row | {"image_bytes": len(content), "mask_bytes": len(encoded.file)})


def _sources(sample: dict[str, Any]) -> Iterator[AuditedFile]:
    yield AuditedFile(sample["image_path"], sample["image_bytes"], sample["image_mtime_ns"])
    if sample["mask_path"]:
        yield AuditedFile(sample["mask_path"], sample["mask_bytes"], sample["mask_mtime_ns"])


def _encode_mask(sample: dict[str, Any], content: bytes, form: Format, options: ExportOptions) -> Encoded:
    """The mask of a sample in the values of the format; class 0 throughout where it has none."""
    classes = sample["classes"] or [0]
    shape = sample["height"], sample["width"]
    if len(classes) == 1:
        return form.encode(np.full(shape, classes[0], np.uint8), options.values)
    try:
        mask = decode_mask(content, options.colours, nearest=options.nearest)
        remapped = remap_labels(mask, options.lookup, classes=classes, pixels=sample["pixels"])
    except HistodsError as error:
        raise StaleFileError(
            f"{sample['mask_path']} does not have the pixels that were audited ({error}); "
            f"run '{options.audit} --fresh'."
        ) from error
    return form.encode(remapped, options.values)


def _to_png(content: bytes) -> bytes:
    """An 8-bit RGB PNG with the pixels that training sees; a file that is one already stays as it is."""
    header = check_image(content)
    if header.format == "jpeg":
        return encode_image(decode_rgb(content))
    shown = show_image(content, header)
    if header.format == "png" and shown.converted is None and content[24:26] == _RGB_8:
        return content
    return encode_image(shown.pixels)
