"""Write shards: plain USTAR archives with adjacent `KEY.jpg`, `KEY.mask.png` and `KEY.json`.

A shard is written under a temporary name and renamed; then its part of the index is written into `parts/`, which
marks it as complete. Images are copied byte for byte. So are masks that are 8-bit grey PNG files with unchanged
labels; all others are converted to such files, with classes.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import xxhash

from histods.errors import HistodsError, StaleFileError
from histods.images.audited_files import AuditedFile, read_ahead
from histods.images.reader import decode_mask
from histods.io.atomic import replacing
from histods.io.open_file import OpenRoot
from histods.io.overlap import Pace
from histods.masks.writer import constant_mask, remap_mask
from histods.shards.images.shard_set import INDEX
from histods.shards.images.tar import END, header, padding, stored_size
from histods.shards.resumable_write import write_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    import numpy as np
    from numpy.typing import NDArray

SAMPLES = pa.schema(
    [
        ("key", pa.string()),
        ("member", pa.string()),
        ("split", pa.string()),
        ("role", pa.string()),
        ("group", pa.string()),
        ("width", pa.uint32()),
        ("height", pa.uint32()),
        ("image_path", pa.string()),
        ("image_bytes", pa.int64()),
        ("image_mtime_ns", pa.int64()),
        ("mask_path", pa.string()),
        ("mask_bytes", pa.int64()),
        ("mask_mtime_ns", pa.int64()),
        ("labels", pa.list_(pa.uint16())),
        ("classes", pa.list_(pa.uint16())),
        ("pixels", pa.list_(pa.uint32())),
    ]
)
"""The input of a shard, one row per sample. `classes` are those after the label map, with their `pixels`."""

_PNG, _GREY_8 = b"\x89PNG\r\n\x1a\n", b"\x08\x00"  # magic bytes; bit depth and colour type
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_WRITE_BYTES = 128 << 10
"""Linux copies large pieces more slowly to its cache. 246,750 pairs by two processes, three alternating rounds:
6.8 to 8.3 s with 128 KiB, 7.4 to 8.2 s with 256 KiB, 8.0 to 8.3 s with 1 MiB, 7.3 to 8.7 s with 64 KiB."""
_ROWS = 512
"""Samples converted to Python objects at a time; the garbage collector traverses long-lived objects repeatedly."""
_PACE = Pace()  # for reading, in this worker


class ShardTask(NamedTuple):
    """A shard to write: its name without `.tar`, its samples (an Arrow stream of `SAMPLES`), and their digest."""

    name: str
    samples: bytes
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardOptions:
    """How shards are written.

    Attributes:
        root: the dataset's folder.
        folder: the folder for shards.
        lookup: [65536] class of each label.
        map_digest: digest of the label map.
        audit: the command that makes the audit again, for messages.
        colours: RGB of labels, for colour masks, as in the audit.
        nearest: give unknown colours the nearest label, as in the audit.
    """

    root: str
    folder: str
    lookup: NDArray[np.uint8]
    map_digest: str
    audit: str
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    nearest: bool = False

    @property
    def how(self) -> str:
        """The options that determine the bytes of a shard."""
        return repr((1, self.map_digest, sorted(self.colours.items()), self.nearest))


def plan_shard(name: str, samples: pa.Table, options: ShardOptions) -> ShardTask:
    """Make the task of writing a shard from rows of `SAMPLES`, in order."""
    sink = pa.BufferOutputStream()
    table = samples.select(SAMPLES.names).cast(SAMPLES).combine_chunks()
    with pa.ipc.new_stream(sink, SAMPLES) as writer:
        writer.write_table(table)
    content = bytes(sink.getvalue())
    return ShardTask(name, content, hashlib.sha256(options.how.encode() + content).hexdigest())


def get_ready(tasks: Sequence[ShardTask]) -> None:
    """Do nothing; to call it, a worker imports everything that writing needs."""


def write_shards(tasks: Sequence[ShardTask], *, options: ShardOptions) -> str | None:
    """Write shards, in a worker; return an error message if the input or the disk fails.

    A shard that cannot be finished leaves nothing behind.
    """
    for task in tasks:
        try:
            _write_shard(task, options)
        except HistodsError as error:
            return str(error)
        except OSError as error:
            return f"{task.name}.tar could not be written ({error}); fix that and run the same command again."
    return None


def _write_shard(task: ShardTask, options: ShardOptions) -> None:
    samples = pa.ipc.open_stream(task.samples).read_all()
    folder = Path(options.folder)
    with (
        OpenRoot(options.root) as root,
        replacing(folder / f"{task.name}.tar") as temporary,
        temporary.open("wb") as file,
    ):
        archive = _Archive(file)
        parts = []
        for batch in samples.to_batches(max_chunksize=_ROWS):
            found = batch.to_pylist()
            contents = read_ahead(
                [part for sample in found for part in _parts(sample)], root, options.audit, _PACE
            )
            rows = [_write_sample(archive, sample, task.name, contents, options) for sample in found]
            columns = zip(*rows, strict=True)
            arrays = [pa.array(values, kind) for values, kind in zip(columns, INDEX.types, strict=True)]
            parts.append(pa.record_batch(arrays, schema=INDEX))
        archive.close()
    rows_of_index = pa.Table.from_batches(parts, INDEX)
    write_part(
        folder,
        task.name,
        rows_of_index,
        size=archive.size,
        sha256=archive.sha256.hexdigest(),
        plan=task.digest,
    )


class _Archive:
    """An archive being written; it buffers members, so that the disk and the digest get large pieces."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pieces: list[bytes] = []
        self._waiting = 0
        self.size = 0
        self.sha256 = hashlib.sha256()

    def add(self, name: str, content: bytes) -> int:
        """Append a member and return the offset of its bytes."""
        offset = self.size + 512
        self._pieces += (header(name, len(content)), content, padding(len(content)))
        self._advance(stored_size(len(content)))
        return offset

    def close(self) -> None:
        """Write the end of the archive."""
        self._pieces.append(END)
        self._advance(len(END))
        self._flush()

    def _advance(self, size: int) -> None:
        self.size += size
        self._waiting += size
        if self._waiting >= _WRITE_BYTES:
            self._flush()

    def _flush(self) -> None:
        content = b"".join(self._pieces)
        self.sha256.update(content)
        self._file.write(content)
        self._pieces.clear()
        self._waiting = 0


def _write_sample(
    archive: _Archive, sample: dict[str, Any], shard: str, contents: Iterator[bytes], options: ShardOptions
) -> tuple[Any, ...]:
    """Append the members of one sample, whose `_parts` are the next contents; return its row of `INDEX`."""
    suffix = posixpath.splitext(sample["image_path"])[1].lower()
    member = sample["member"]
    image = next(contents)
    image_offset = archive.add(member + suffix, image)
    mask_offset = mask_bytes = mask_digest = None
    if sample["classes"] is not None:
        mask = _mask(sample, next(contents), options)
        mask_offset, mask_bytes = archive.add(f"{member}.mask.png", mask), len(mask)
        mask_digest = xxhash.xxh3_64_intdigest(mask)
    archive.add(f"{member}.json", _describe(sample))
    return (
        *(sample["key"], member, shard, sample["split"], sample["role"], sample["group"]),
        *(sample["width"], sample["height"], suffix),
        *(image_offset, len(image), xxhash.xxh3_64_intdigest(image)),
        *(mask_offset, mask_bytes, mask_digest),
        *(sample["classes"], sample["pixels"]),
    )


def _describe(sample: dict[str, Any]) -> bytes:
    """The JSON member: the original key and paths, and the contents of the mask."""
    names = ("key", "image_path", "mask_path", "role", "group", "split", "width", "height", "classes", "pixels")
    document = {name: sample[name] for name in names}
    return _ENCODER.encode(document).encode()


def _parts(sample: dict[str, Any]) -> Iterator[AuditedFile]:
    """The files that a sample is made from."""
    yield AuditedFile(sample["image_path"], sample["image_bytes"], sample["image_mtime_ns"])
    if sample["classes"] is not None:
        yield AuditedFile(sample["mask_path"], sample["mask_bytes"], sample["mask_mtime_ns"])


def _mask(sample: dict[str, Any], content: bytes, options: ShardOptions) -> bytes:
    """A mask of classes as 8-bit grey PNG."""
    labels = sample["labels"]
    if content.startswith(_PNG) and content[24:26] == _GREY_8 and _stays(options.lookup, labels):
        return content
    if len(sample["classes"]) == 1:
        return constant_mask(sample["height"], sample["width"], sample["classes"][0])
    try:
        mask = decode_mask(content, options.colours, nearest=options.nearest)
        return remap_mask(mask, options.lookup, classes=sample["classes"], pixels=sample["pixels"])
    except HistodsError as error:
        raise StaleFileError(
            f"{sample['mask_path']} does not have the pixels that were audited ({error}); "
            f"run '{options.audit} --fresh'."
        ) from error


def _stays(lookup: NDArray[np.uint8], labels: Sequence[int]) -> bool:
    return all(lookup[label] == label for label in labels)
