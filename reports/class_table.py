"""The data of the charts, read from a workspace or from a table of counts, and written as CSV."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from histods.dataset.manifest import Manifest, read_table
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import file_digest
from histods.io.csv_table import to_csv
from histods.io.workspace import Workspace, read_json
from histods.labels.label_names import read_counts
from histods.records import ClassCount

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from histods.io.audit_summary import AuditSummary

RAW = "labels"
"""Name of the source labels in charts."""
DRAWN_LIMIT = 40
"""Maximum number of classes on one chart, besides one bar for all others."""
COUNTED_LIMIT = 256
"""Maximum number of classes for which co-occurrence is counted; masks of instance numbers can hold thousands."""
CHUNK_ROWS = 65536
"""Images counted at a time, a multiple of 64: at 256 classes 16 MiB."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClassSystem:
    """The source labels or the classes of one label map, with all data for charts.

    `images` is the number of masks in use (those of samples that are not excluded), and `together` the number of
    images with both of two classes, int64 of shape [n, n] over the `counted` classes; both are None for a table of
    counts. `images_with_others` is the number of images with a class that is not `drawn`.
    `source` identifies the origin of the numbers, by digest.
    """

    name: str
    classes: tuple[ClassCount, ...]
    images: int | None
    together: NDArray[np.int64] | None
    source: str
    images_with_others: int | None = None

    @property
    def noun(self) -> str:
        """The noun for a row of this system: label for source labels, class after a label map."""
        return "label" if self.name == RAW else "class"

    @property
    def pixels(self) -> int:
        """Pixels over all classes."""
        return sum(row.pixels for row in self.classes)

    @property
    def title_name(self) -> str:
        """Its name in titles; empty for the source labels."""
        return "" if self.name == RAW else self.name

    @property
    def counted(self) -> tuple[ClassCount, ...]:
        """The classes of `together`, by index: all, or the `COUNTED_LIMIT` with most pixels."""
        return largest(self.classes, COUNTED_LIMIT)

    @property
    def drawn(self) -> tuple[ClassCount, ...]:
        """The classes on the charts, by index: all, or the `DRAWN_LIMIT` with most pixels."""
        return largest(self.classes, DRAWN_LIMIT)

    @property
    def others(self) -> ClassCount | None:
        """All other classes as one; None if all are drawn."""
        left = set(self.classes) - set(self.drawn)
        if not left:
            return None
        return ClassCount(
            index=-1,
            name=f"{len(left):,} {'other' if len(left) == 1 else 'others'}",
            pixels=sum(row.pixels for row in left),
            percent=math.fsum(row.percent for row in left),
            images=self.images_with_others,
        )

    def say_drawn(self, number: int) -> str:
        """Which classes are drawn; empty if all are."""
        total = len(self.classes)
        return "" if number == total else f"The {number} of {total:,} with most pixels"

    @property
    def note(self) -> str:
        """The same for charts that have one bar for all others."""
        said = self.say_drawn(len(self.drawn))
        return f"{said}; the others are one bar" if said else ""


def largest(classes: Iterable[ClassCount], number: int) -> tuple[ClassCount, ...]:
    """The given number of classes with the most pixels, by index."""
    first = sorted(classes, key=lambda row: (-row.pixels, row.index))[:number]
    return tuple(sorted(first, key=lambda row: row.index))


def read_systems(workspace: Workspace) -> list[ClassSystem]:
    """The source labels of the audit and every class system of a workspace, in that order.

    Raises:
        HistodsError: there is no audit, a summary is not readable, or no mask is in use.
        StaleFileError: the manifest or a class system belongs to another audit.
    """
    audit = workspace.read_audit()
    digest = audit.manifest_digest
    remapped = (read_remapped(workspace, name, digest) for name in workspace.class_systems())
    return [read_labels(workspace, audit), *(system for system in remapped if system is not None)]


def read_labels(workspace: Workspace, audit: AuditSummary | None = None) -> ClassSystem:
    """The source labels of a workspace's audit, whose summary is read unless it is given.

    Raises:
        HistodsError: the summary is not readable, or no mask is in use.
    """
    audit = audit or workspace.read_audit()
    classes = tuple(
        ClassCount(
            index=row.label,
            name=printable(row.name),
            pixels=row.pixels,
            percent=row.percent,
            images=row.images,
        )
        for row in audit.labels
    )
    table = Manifest.read(workspace.manifest).table
    table = table.filter(pc.not_equal(table["role"], "excluded"))
    return _with_images(RAW, classes, table, "labels", audit.manifest_digest)


def read_remapped(workspace: Workspace, name: str, digest: str) -> ClassSystem | None:
    """One class system, proved to be made from the manifest with this digest; None for the labels themselves.

    Raises:
        HistodsError: its summary or table is not readable, or has a name that means the source labels.
        StaleFileError: it was made from another manifest.
    """
    path = workspace.remap_summary(name)
    summary = read_json(path)
    classes = parse_classes(summary.get("classes"), "class", path)
    if name == RAW:
        if all(row.get("labels") == [row["class"]] for row in summary["classes"]):
            return None  # remapped without a map: drawn already
        raise HistodsError(
            f"{path} is a class system named '{RAW}', which means the source labels: remove it, give its label "
            "map another name and remap."
        )
    table = read_table(workspace.remap_table(name))
    stored = (table.schema.metadata or {}).get(b"manifest_digest", b"").decode()
    if not digest == summary.get("manifest_digest") == stored:
        label_map = "" if summary.get("map") is None else f" --map {summary['map']}"
        raise StaleFileError(
            f"The class system '{name}' was made from another audit; "
            f"run 'histods remap{label_map} -w {workspace.folder}' again."
        )
    return _with_images(name, classes, table, "classes", digest)


def _with_images(
    name: str, classes: tuple[ClassCount, ...], table: pa.Table, column: str, digest: str
) -> ClassSystem:
    masks = table.column(column).drop_null().combine_chunks()
    if len(masks) == 0:
        raise HistodsError("There is no mask in use to draw; see 'histods show', then audit again.")
    return ClassSystem(
        name=name,
        classes=classes,
        images=len(masks),
        together=count_together(masks, np.array([row.index for row in largest(classes, COUNTED_LIMIT)])),
        source=f"manifest sha256 {digest}",
        images_with_others=_count_with_others(masks, [row.index for row in largest(classes, DRAWN_LIMIT)]),
    )


def _count_with_others(masks: pa.ListArray, indices: list[int]) -> int:
    """Count the images that hold a class other than these."""
    other = ~np.isin(masks.flatten().to_numpy(), indices)
    row = np.repeat(np.arange(len(masks)), masks.value_lengths().to_numpy())
    return len(np.unique(row[other]))


def count_together(masks: pa.ListArray, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the images that hold both of two classes.

    Args:
        masks: the classes of each image, without repeats; no nulls.
        indices: the n classes to count, ascending; others are ignored.

    Returns:
        int64 of shape [n, n], symmetric; the diagonal is the number of images of each class.
    """
    columns = np.full(65536, len(indices))
    columns[indices] = np.arange(len(indices))
    column = columns[masks.flatten().to_numpy()]
    row = np.repeat(np.arange(len(masks)), masks.value_lengths().to_numpy())
    total = np.zeros((len(indices), len(indices)), np.int64)
    for start in range(0, len(masks), CHUNK_ROWS):
        span = slice(*np.searchsorted(row, [start, start + CHUNK_ROWS]))
        # The last row collects the classes that are not counted.
        holds = np.zeros((len(indices) + 1, CHUNK_ROWS), bool)
        holds[column[span], row[span] - start] = True
        bits = np.packbits(holds[:-1], axis=1).view(np.uint64)
        for place, own in enumerate(bits):
            total[place] += np.bitwise_count(bits & own).sum(axis=1, dtype=np.int64)
    return total


def parse_classes(rows: Any, index: str, path: Path) -> tuple[ClassCount, ...]:
    """Read the list of classes of a summary, each an object with `index`, name, pixels, percent, images.

    Raises:
        HistodsError: the list is invalid.
    """
    try:
        return tuple(
            ClassCount(
                index=int(row[index]),
                name=printable(str(row["name"])),
                pixels=int(row["pixels"]),
                percent=float(row["percent"]),
                images=None if row["images"] is None else int(row["images"]),
            )
            for row in rows
        )
    except (KeyError, TypeError, ValueError) as error:
        raise HistodsError(
            f"{path} lacks {index}, name, pixels, percent or images of a {index} ({error}); make it again."
        ) from error


def read_counts_system(path: Path) -> ClassSystem:
    """Read a table of counts as the source labels.

    Raises:
        HistodsError: the file is missing or is not such a table, or no label has pixels.
    """
    table = read_counts(path)
    total = int(table.pixels.sum())
    if total == 0:
        raise HistodsError(f"{path} has no pixels to draw; check its column 'Pixel Count'.")
    rows = zip(table.labels.tolist(), table.names, table.pixels.tolist(), strict=True)
    return ClassSystem(
        name=RAW,
        classes=tuple(
            ClassCount(index=label, name=printable(name), pixels=pixels, percent=100 * pixels / total, images=None)
            for label, name, pixels in rows
        ),
        images=None,
        together=None,
        source=f"counts sha256 {file_digest(path)}",
    )


def printable(text: str) -> str:
    """Text on one line: white space becomes a space, and characters invalid in XML or print become U+FFFD."""
    return "".join(" " if mark.isspace() else mark if mark.isprintable() else "\ufffd" for mark in text)


def percent_csv(system: ClassSystem) -> str:
    """Pixels and their share, one line per class, as CSV."""
    rows = ((row.index, row.name, row.pixels, row.percent) for row in system.classes)
    return _csv((system.noun, "name", "pixels", "percent"), rows)


def images_csv(system: ClassSystem) -> str:
    """Images that hold a class and their share of all images with a mask in use, one line per class, as CSV."""
    rows = ((row.index, row.name, row.images, percent_of(row.images, system.images)) for row in system.classes)
    return _csv((system.noun, "name", "images", "percent_of_images"), rows)


def together_csv(system: ClassSystem) -> str:
    """Images that hold both of two classes, and their share of the first's images, one line per pair, as CSV."""
    assert system.together is not None  # noqa: S101 - only systems with images have this table
    noun = system.noun
    header = (noun, "name", f"other_{noun}", "other_name", "images", f"percent_of_{noun}_images")
    rows = (
        (one.index, one.name, other.index, other.name, count, percent_of(count, counts[position]))
        for position, (one, counts) in enumerate(zip(system.counted, system.together.tolist(), strict=True))
        for other, count in zip(system.counted, counts, strict=True)
    )
    return _csv(header, rows)


def percent_of(part: int | None, whole: int | None) -> float:
    """100 part / whole; 0 if the whole is 0."""
    return 100 * part / whole if part and whole else 0.0


def _harmless(value: float | str | None) -> float | str | None:
    """A cell that a spreadsheet shows as text: an apostrophe is put before text that begins like a formula.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _csv(header: tuple[str, ...], rows: Iterable[tuple[int | float | str | None, ...]]) -> str:
    return to_csv([header, *(map(_harmless, row) for row in rows)])
