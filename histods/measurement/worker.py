"""What is measured of each file, in the worker that reads it: numbers only, no pixels leave.

`measure_files` is the function that engines run. It takes a chunk of files and gives back one Arrow
record batch as bytes, so that the parent neither unpickles nor converts anything file by file.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import xxhash

from histods.errors import InaccessibleFileError, NotAnIndexMaskError, UnreadableFileError
from histods.images.contents import Contents, Room, outweighs_masks, read_contents
from histods.images.reader import (
    check_image,
    decode_image,
    decode_mask,
    identify_mask,
    show_image,
)
from histods.images.reduced import Picture, reduce_image
from histods.io.open_file import OpenRoot
from histods.io.overlap import Pace, overlap
from histods.masks.evidence import MIN_OBJECTS, count_objects, is_white_zero, lossy_storage, why_not_labels
from histods.masks.looks_of_files import look_at_content
from histods.run_lengths import count_between, count_specks, find_runs, histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from histods.colours.colour_counts import ColourCounts
    from histods.colours.colour_labels import Mask
    from histods.images.header import Header
    from histods.measurement.extra_measure import Measure
    from histods.run_lengths import Runs

_COLOUR = pa.struct(
    [
        ("colour", pa.uint32()),
        ("pixels", pa.uint32()),
        ("runs", pa.uint32()),
        ("border", pa.uint32()),
        ("blended", pa.uint32()),
        ("index", pa.uint16()),
    ]
)
"""One colour of a mask; see `ColourCounts`."""

LOOK = pa.struct(
    [
        ("colours", pa.uint32()),
        ("flat", pa.float32()),
        ("solid", pa.float32()),
        ("contrast", pa.uint8()),
        ("darkest", pa.uint8()),
        ("brightest", pa.uint8()),
        ("grey", pa.bool_()),
    ]
)
"""The fields of `histods.masks.looks.Look`."""

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
        ("look", LOOK),
        ("colours", pa.list_(_COLOUR)),
        ("colours_total", pa.uint32()),
        ("palette", pa.string()),
        ("lossy", pa.string()),
        ("inverted", pa.bool_()),
        ("blobs", pa.uint32()),
        ("compact", pa.uint32()),
        ("ground_runs", pa.uint32()),
        ("orientation", pa.uint8()),
        ("converted", pa.string()),
        ("between", pa.uint32()),
    ]
)
"""One row per file. `how` names the options under which it was measured: the row holds for those alone.
It is null where the reason may pass (permissions, memory): such a file is read again in the next audit."""

QUALITY = "+quality."
"""What begins the part of `how` that names measurements of `--quality` alone; the rest holds without them."""

_REMEMBERED = 256  # measurements of whole mask files kept by digest in each worker
_PACE = Pace()  # of reading, in this worker


FileTask = tuple[str, bool, str | None, bool]
"""One file to measure: its path, whether it is a mask, why it must not be opened (broken link) if so, and
whether to look if it is an image at all (an image without a mask).

A plain tuple: half a million named ones cost the parent a second more to make and to pickle."""


class Measured(NamedTuple):
    """What the content of a file gives: the columns of `SCHEMA` after the first four, and `extra`."""

    how: str | None
    error: str | None = None
    not_index: str | None = None
    format: str | None = None
    kind: str | None = None
    width: int | None = None
    height: int | None = None
    labels: list[int] | None = None
    pixels: list[int] | None = None
    digest: str | None = None
    runs: int | None = None
    specks: int | None = None
    off_palette: int | None = None
    look: dict[str, Any] | None = None
    colours: list[dict[str, int | None]] | None = None
    colours_total: int | None = None
    palette: str | None = None
    lossy: str | None = None
    inverted: bool | None = None
    blobs: int | None = None
    compact: int | None = None
    ground_runs: int | None = None
    orientation: int | None = None  # null for 1
    converted: str | None = None  # how training sees an image otherwise than it is stored
    between: int | None = None
    extra: tuple[object, ...] | None = None  # one value for each of `MeasureOptions.measures`


Row = tuple[Any, ...]  # one value for each column of SCHEMA


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureOptions:
    """How files are measured. `images_how` and `masks_how` name the options, for reuse of measurements.

    `measures` are those of checks that need numbers of their own. Those that are taken only with `quality` have
    columns without it, too: what an earlier audit measured is kept.
    """

    root: str
    decode: bool = False
    digest_images: bool = False
    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    nearest: bool = False
    quality: bool = False
    measures: tuple[Measure, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """`SCHEMA`, and a column for each of `measures`."""
        return pa.schema([*SCHEMA, *((measure.column, measure.type) for measure in self.measures)])

    @property
    def images_how(self) -> str:
        """Name of the options that bear on images."""
        return self._images + self._name_quality(of_image=True)

    @property
    def _images(self) -> str:
        return ("decode" if self.decode else "structure") + ("+digest" if self.digest_images else "")

    @property
    def looks_how(self) -> str:
        """Name of the options that bear on images without a mask, which are looked at."""
        return f"{self._images}+look{self._name_quality(of_image=True)}"

    @property
    def masks_how(self) -> str:
        """Name of the options that bear on masks."""
        always = [measure for measure in self.measures if measure.of_mask and not measure.quality]
        measures = "".join(f"+{measure.column}.{measure.version}" for measure in always)
        measures += self._name_quality(of_image=False)
        if not self.colours:
            return f"values{measures}"
        named = ";".join(f"{label}:{colour}" for label, colour in sorted(self.colours.items()))
        read = "nearest:" if self.nearest else "colours:"
        return f"{read}{xxhash.xxh3_128_hexdigest(named.encode())}{measures}"

    def _name_quality(self, *, of_image: bool) -> str:
        """The last part of a name: what is measured with `quality` alone."""
        only = [measure for measure in self.measures if measure.quality and bool(measure.of_image) == of_image]
        if not self.quality or not only:
            return ""
        named = " ".join(f"{measure.column}.{measure.version}" for measure in only)
        return f"{QUALITY}{xxhash.xxh3_64_hexdigest(named.encode())}"


def measure_files(chunk: Sequence[FileTask], *, options: MeasureOptions) -> bytes:
    """Measure a chunk of files; a damaged file is a row with an error.

    Returns:
        An Arrow IPC stream with one record batch of the options' schema, in the chunk's order; empty for no files.
    """
    if not chunk:
        return b""
    try:
        with OpenRoot(options.root) as root:
            return _serialise(list(_measure(chunk, root, options)), options)
    except InaccessibleFileError as error:  # the root itself
        failed = Measured(None, str(error))
        return _serialise([_row(path, is_mask, 0, 0, failed, options) for path, is_mask, *_ in chunk], options)


def _measure(chunk: Sequence[FileTask], root: OpenRoot, options: MeasureOptions) -> Iterator[Row]:
    """Measure files one by one, while those to come are read where storage makes them wait."""
    images, masks, looks = options.images_how, options.masks_how, options.looks_how
    whole = options.decode or options.digest_images or options.quality
    room = Room()
    read = partial(read_contents, root=root, whole=whole, room=room)
    for task, ahead in zip(chunk, overlap(read, chunk, _PACE), strict=True):
        contents = ahead or read(task, in_turn=True) or Contents()
        path, is_mask, problem, look = task
        how = masks if is_mask else looks if look else images
        measured = Measured(how, problem) if problem is not None else _measure_file(contents, task, options, how)
        room.give(contents.content)
        yield _row(path, is_mask, contents.size, contents.mtime_ns, measured, options)


def failed_row(task: FileTask, error: str, options: MeasureOptions) -> bytes:
    """The row of a file whose measuring failed in every attempt, as `measure_files` gives rows."""
    path, is_mask, *_ = task
    return _serialise([_row(path, is_mask, 0, 0, Measured(None, error), options)], options)


def _row(path: str, is_mask: bool, size: int, mtime_ns: int, measured: Measured, options: MeasureOptions) -> Row:
    """One value for each column of the options' schema."""
    extra = measured.extra or (None,) * len(options.measures)
    return (path, is_mask, size, mtime_ns, *measured[:-1], *extra)


def _serialise(rows: list[Row], options: MeasureOptions) -> bytes:
    """Rows as an Arrow IPC stream."""
    schema = options.schema
    columns = zip(*rows, strict=True)
    arrays = [
        pa.nulls(len(rows), kind) if values.count(None) == len(rows) else pa.array(values, kind)
        for values, kind in zip(columns, schema.types, strict=True)
    ]  # most of an image's columns are null, and soon made
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    return bytes(sink.getvalue())


def _measure_file(contents: Contents, task: FileTask, options: MeasureOptions, how: str) -> Measured:
    try:
        if contents.error is not None:
            raise contents.error
        if task[1]:
            return _measure_mask(contents.content or b"", options, how)
        measured = _measure_image(contents, options, how)
        return measured._replace(look=_look(contents, measured)) if task[3] else measured
    except (InaccessibleFileError, OSError) as error:
        return Measured(None, str(error))
    except UnreadableFileError as error:
        return Measured(how.partition(QUALITY)[0], str(error))  # nothing was decoded
    except MemoryError:
        return Measured(None, "too large for the memory of this machine")


def _measure_image(contents: Contents, options: MeasureOptions, how: str) -> Measured:
    content = None if contents.header else contents.content
    header = contents.header or check_image(content or b"")
    error = digest = None
    converted, extra = header.converted, None
    if options.digest_images and content is not None:
        digest = xxhash.xxh3_128_hexdigest(content)
    if content is not None and (options.decode or options.quality or header.doubtful):
        try:
            if options.decode and not (options.quality and header.format == "jpeg"):  # decoding finds the same
                decode_image(content, header)
            if options.quality:
                shown = reduce_image(content, header)
                converted = shown.converted
                extra = _measure_picture(Picture(shown.pixels, header, content), options)
            elif header.doubtful:
                converted = show_image(content, header).converted
        except UnreadableFileError as damage:
            error = str(damage)
    # By position: this line and its like run half a million times.
    measured = Measured(how, error, None, header.format, None, header.width, header.height, None, None, digest)
    if converted is None and extra is None and header.orientation == 1:
        return measured
    return measured._replace(orientation=_turned(header), converted=converted, extra=extra)


def _measure_picture(picture: Picture, options: MeasureOptions) -> tuple[object, ...]:
    """One value for each of `MeasureOptions.measures`; null for those of masks."""
    return tuple(measure.of_image(picture) if measure.of_image else None for measure in options.measures)


def _turned(header: Header) -> int | None:
    return None if header.orientation == 1 else header.orientation


def _look(contents: Contents, measured: Measured) -> dict[str, Any] | None:
    """How an image without a mask looks; None where its bytes already say that it is a photograph, or damaged."""
    if measured.error or not (measured.width and measured.height):
        return None
    content = contents.content
    if content is None or (
        measured.format == "jpeg" and outweighs_masks(contents.size, measured.width, measured.height)
    ):
        return None
    look = look_at_content(content)
    # A zero mask is grey: red, green and blue of one colour are rather a patch without tissue.
    if look is None or (look.colours == 1 and identify_mask(content)[1] in ("rgb", "rgba")):
        return None
    return asdict(look)


_seen: OrderedDict[tuple[str, str, int], Measured] = OrderedDict()


def _measure_mask(content: bytes, options: MeasureOptions, how: str) -> Measured:
    """Measure a mask, or remember it: all-zero masks of one encoder are byte-identical, and often most masks."""
    digest = xxhash.xxh3_128_hexdigest(content)
    key = digest, how, len(options.measures)  # `how` does not name measures that are not taken, which are null
    known = _seen.get(key)
    if known is not None:
        _seen.move_to_end(key)
        return known
    measured = _measure_mask_content(content, options, how)._replace(digest=digest)
    _seen[key] = measured
    if len(_seen) > _REMEMBERED:
        _seen.popitem(last=False)
    return measured


def _measure_mask_content(content: bytes, options: MeasureOptions, how: str) -> Measured:
    lossy = lossy_storage(content)
    try:
        mask = decode_mask(content, options.colours, nearest=options.nearest)
    except NotAnIndexMaskError as error:
        header, kind = identify_mask(content)
        measured = Measured(how, None, str(error), header.format, kind, header.width, header.height, lossy=lossy)
        measured = measured._replace(orientation=_turned(header))
        return _with_colours(measured, error.colours)
    except UnreadableFileError as error:
        return Measured(how, str(error), lossy=lossy)
    runs = find_runs(mask.labels)
    labels, pixels = histogram(runs)
    not_index = why_not_labels(mask, labels, pixels, runs)
    height, width = mask.labels.shape
    measured = Measured(
        how=how,
        not_index=not_index,
        format=mask.format,
        kind=mask.kind,
        width=width,
        height=height,
        labels=None if not_index else labels.tolist(),
        pixels=None if not_index else pixels.tolist(),
        runs=len(runs.lengths),
        specks=count_specks(runs),
        off_palette=mask.off_palette,
        lossy=lossy,
        inverted=(mask.format == "tiff" and is_white_zero(content)) or None,
        orientation=None if mask.orientation == 1 else mask.orientation,
    )
    if len(labels) > MIN_OBJECTS and not not_index:
        objects = count_objects(mask.labels, runs)
        measured = measured._replace(blobs=objects.blobs, compact=objects.compact, ground_runs=objects.ground_runs)
    if 5 * (measured.specks or 0) > len(runs.lengths):  # few masks have so many
        measured = measured._replace(between=count_between(runs))
    if options.measures and not not_index:
        measured = measured._replace(extra=_measure_labels(mask, runs, options))
    if mask.palette is not None:
        measured = measured._replace(palette=xxhash.xxh3_64_hexdigest(mask.palette.tobytes()))
    return _with_colours(measured, mask.colours)


def _measure_labels(mask: Mask, runs: Runs, options: MeasureOptions) -> tuple[object, ...]:
    """One value for each of `MeasureOptions.measures`; null for those of images."""
    return tuple(
        measure.of_mask(mask, runs) if measure.of_mask and (options.quality or not measure.quality) else None
        for measure in options.measures
    )


def _with_colours(measured: Measured, counts: ColourCounts | None) -> Measured:
    """Add the colours of a colour or palette mask as rows of `_COLOUR`."""
    if counts is None:
        return measured
    indices = [None] * len(counts.colours) if counts.indices is None else counts.indices.tolist()
    columns = (counts.colours, counts.pixels, counts.runs, counts.border, counts.blended)
    rows = zip(*(column.tolist() for column in columns), indices, strict=True)
    named = [dict(zip(_COLOUR.names, row, strict=True)) for row in rows]
    return measured._replace(colours=named, colours_total=counts.total)
