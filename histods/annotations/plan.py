"""What will be drawn into which image: all files of annotations are read, and nothing is written."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from histods.annotations.classes import merge_categories
from histods.annotations.formats import read_annotations, suffix_of
from histods.annotations.match import ImageIndex, Match
from histods.annotations.shapes import LeftOut
from histods.dataset.scan import scan
from histods.errors import HistodsError, StaleFileError, UnreadableFileError
from histods.images.formats import image_suffixes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.annotations.formats import Found
    from histods.annotations.match import Region
    from histods.annotations.shapes import Category, ImageShapes, Shape
    from histods.records import Progress

MASK_SUFFIX = "_mask"
_MAX_NAME_BYTES = 255  # on all common file systems


class Drawing(NamedTuple):
    """An image that gets a mask.

    Attributes:
        key: path of both in the new folder, without suffixes.
        image: path of the image below the root; None for a mask alone.
        file: path of the file of annotations.
        place: number of the image in that file.
        region: the part of the slide that the image shows, if the annotations are those of the slide.
    """

    key: str
    image: str | None
    file: str
    place: int
    region: Region | None


class Skipped(NamedTuple):
    """An image or a file of annotations of which nothing is made: their paths, or "", the kind and the reason."""

    image: str
    file: str
    status: str
    reason: str


class Lost(NamedTuple):
    """An annotation of no image that gets a mask: its file, the image's name in it, and the reason."""

    file: str
    image: str
    left_out: LeftOut


@dataclass(slots=True)
class Plan:
    """What will be made.

    Attributes:
        drawings: the images that get masks, sorted by key.
        skipped: the other images and files.
        lost: annotations that belong to none of these images.
        categories: the classes.
        annotations: shapes of each class.
        digests: SHA-256 of each file of annotations that could be read.
        states: bytes and modification time of each image that gets a mask.
        formats: names of the formats of these files.
    """

    drawings: list[Drawing] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    categories: dict[str, Category] = field(default_factory=dict)
    annotations: Counter[str] = field(default_factory=Counter)
    digests: dict[str, str] = field(default_factory=dict)
    states: dict[str, tuple[int, int]] = field(default_factory=dict)
    formats: set[str] = field(default_factory=set)

    def digest(self, *how: object) -> str:
        """Digest of everything that determines the bytes of the new folder."""
        parts = (how, self.drawings, self.skipped, sorted(self.digests.items()), sorted(self.states.items()))
        return hashlib.sha256(repr(parts).encode()).hexdigest()


class Source(NamedTuple):
    """Where annotations are: a folder and the POSIX paths of the files in it, or one file that was named."""

    folder: Path
    files: tuple[str, ...]
    is_named: bool

    def path(self, file: str) -> Path:
        """The path of a file."""
        return self.folder / file


class Reader:
    """Reads files of annotations, first to plan and then to draw; the last one is kept, so that one is read once.

    Args:
        source: where the files are.
        unclassified: class of annotations without one; None leaves them out.
    """

    def __init__(self, source: Source, unclassified: str | None) -> None:
        self.source = source
        self._unclassified = unclassified
        self._last: tuple[str, Found] | None = None

    def read(self, file: str) -> Found:
        """Read a file.

        Raises:
            UnreadableFileError: it is damaged, or of no known format; the message is a part of a sentence.
        """
        self._last = None  # before another one is in memory
        found = read_annotations(self.source.path(file), self._unclassified)
        self._last = file, found
        return found

    def read_again(self, file: str, digest: str) -> Found:
        """The contents of a file that was read before.

        Args:
            file: the file.
            digest: its SHA-256 then.

        Raises:
            StaleFileError: it is not kept, and has changed since.
        """
        if self._last is not None and self._last[0] == file:
            return self._last[1]
        try:
            found = self.read(file)
        except UnreadableFileError as error:
            raise StaleFileError(
                f"{self.source.path(file)} has changed since it was first read ({error}); "
                "run the same command again."
            ) from error
        if found.digest != digest:
            raise StaleFileError(
                f"{self.source.path(file)} has changed since it was first read; run the same command again."
            )
        return found


class _Index(NamedTuple):
    """The images of a folder, and its other files that are not annotations."""

    images: ImageIndex
    others: ImageIndex


def find_source(root: Path, annotations: Path | None) -> Source:
    """List the files of annotations: the named one, or those in a folder (by default the one of the images).

    Raises:
        HistodsError: there are none.
    """
    place = root if annotations is None else annotations
    if not place.exists():
        raise HistodsError(f"{place} does not exist; give --annotations a file, or a folder of files.")
    if not place.is_dir():
        return Source(place.parent, (place.name,), is_named=True)
    files = tuple(sorted(path for path in scan(place, states=False).paths if suffix_of(path)))
    if not files:
        raise HistodsError(
            f"There are no annotations (.geojson or .json) in {place}; name a file or another folder with "
            "--annotations."
        )
    return Source(place, files, is_named=False)


def make_plan(root: Path, reader: Reader, *, alone: bool, progress: Progress) -> Plan:
    """Read all files of annotations, and decide what becomes of each image.

    Args:
        root: the folder of the images.
        reader: reads the files of annotations.
        alone: whether a file of annotations without an image gets a mask.
        progress: called with a stage, files done and files in all.

    Raises:
        HistodsError: the file that was named cannot be read.
    """
    source, suffixes = reader.source, image_suffixes()
    listing = scan(root)
    states = zip(listing.paths, listing.sizes.tolist(), listing.mtimes.tolist(), strict=True)
    images = {path: (size, time) for path, size, time in states if path.lower().endswith(suffixes)}
    others = (path for path in listing.paths if path not in images and suffix_of(path) is None)
    index, plan, claims = (
        _Index(ImageIndex(sorted(images)), ImageIndex(others)),
        Plan(),
        dict[str, list[Drawing]](),
    )
    categories: list[Category] = []
    for number, file in enumerate(source.files):
        progress("reading annotations", number, len(source.files))
        try:
            categories += _plan_file(plan, claims, index, reader, file, alone=alone)
        except UnreadableFileError as error:
            if source.is_named:
                raise HistodsError(f"{source.path(file)}: {error}; export it again.") from error
            of = index.images.find_named(_stem(file)) or [Match("")]
            plan.skipped += [Skipped(one.path, file, "unreadable annotations", str(error)) for one in of]
    progress("reading annotations", len(source.files), len(source.files))
    plan.categories = merge_categories(categories)
    for drawing, problem in _settle(plan, claims):  # few, so that their annotations may be read again
        file = drawing.file
        image = reader.read_again(file, plan.digests[file]).annotations.images[drawing.place]
        lost = [] if drawing.region is not None else _all_lost(image, f"its image is left out: {problem}")
        plan.lost += [Lost(drawing.file, drawing.image or drawing.key, one) for one in lost]
    plan.states = {one.image: images[one.image] for one in plan.drawings if one.image is not None}
    named = {one.image for one in plan.drawings} | {one.image for one in plan.skipped}
    masks = {f"{path.rpartition('.')[0]}{MASK_SUFFIX}" for path in images}
    others = (path for path in sorted(images) if path not in named and path.rpartition(".")[0] not in masks)
    plan.skipped += [Skipped(path, "", "no annotations", "no file of annotations names it") for path in others]
    return plan


def _plan_file(
    plan: Plan, claims: dict[str, list[Drawing]], index: _Index, reader: Reader, file: str, *, alone: bool
) -> list[Category]:
    """Add what becomes of the images that a file annotates; its classes.

    Raises:
        UnreadableFileError: it is damaged, or of no known format; the message is a part of a sentence.
    """
    found = reader.read(file)
    plan.digests[file] = found.digest
    plan.formats.add(found.format.NAME)
    plan.lost += [Lost(file, "", one) for one in found.annotations.left_out]
    for place, image in enumerate(found.annotations.images):
        _claim(plan, claims, index, file, place, image, alone=alone)
        plan.annotations.update(shape.name for shape in image.shapes)
    return found.annotations.categories


def _claim(
    plan: Plan,
    claims: dict[str, list[Drawing]],
    index: _Index,
    file: str,
    place: int,
    image: ImageShapes,
    *,
    alone: bool,
) -> None:
    """Add the images that some annotations belong to; where there is none, say why."""
    stem = _stem(file)
    name = image.image or stem
    matches, problem = list[Match](), image.problem
    if problem is None:
        matches, problem = _match(index.images, image.image, stem)
    if not matches and problem is None and alone:
        claims.setdefault(stem, []).append(Drawing(stem, None, file, place, None))
        return
    if problem is not None or not matches:
        status = "no image" if problem is None else "not clear"
        problem = problem or _why_missing(index.others, image.image, stem)
        plan.skipped.append(Skipped(name, file, status, problem))
        reason = f"its image is left out: {problem}"
        plan.lost += [Lost(file, name, one) for one in _all_lost(image, reason)]
        return
    for match in matches:
        claims.setdefault(match.path, []).append(Drawing(_key(match.path), match.path, file, place, match.region))
    if matches[0].region is not None:
        outside = _outside_all(image.shapes, [match.region for match in matches if match.region is not None])
        plan.lost += [Lost(file, name, _lose(shape, "outside all images of its slide")) for shape in outside]
        plan.lost += [Lost(file, name, one) for one in image.left_out]


def _why_missing(others: ImageIndex, image: str, stem: str) -> str:
    """Why there is no image for a file or an entry of it."""
    found, _ = _match(others, image, stem)
    if not found:
        return "there is no such image"
    suffix = PurePosixPath(found[0].path).suffix
    return f"files ending in {suffix or 'no suffix'} are not read; export tiles of a slide, or convert it to PNG"


def _match(index: ImageIndex, image: str, stem: str) -> tuple[list[Match], str | None]:
    """The images that a file or an entry of it belongs to, or why it is not clear."""
    if not image:
        matches = index.find_named(stem)
    else:
        if ".." in image.replace("\\", "/").split("/") or "\0" in image:
            return [], "its file_name leads out of the folder of images"
        matches = index.find_file(image)
    if len(matches) > 1 and matches[0].region is None:
        listed = " and ".join(match.path for match in matches[:3])
        return [], f"{len(matches)} images have this name: {listed}"
    return matches, None


def _settle(plan: Plan, claims: dict[str, list[Drawing]]) -> list[tuple[Drawing, str]]:
    """Leave out images with several sources, and those whose files would have the names of others; say why."""
    refused = []
    targets: Counter[str] = Counter()
    for path, drawings in claims.items():
        key = drawings[0].key
        targets.update(
            {f"{key}{MASK_SUFFIX}.png"} if drawings[0].image is None else {path, f"{key}{MASK_SUFFIX}.png"}
        )
    for path, drawings in sorted(claims.items()):
        first = drawings[0]
        problem = None
        if len(drawings) > 1:
            files = dict.fromkeys(one.file for one in drawings)
            where = " and ".join([*files][:3]) if len(files) > 1 else f"{len(drawings)} entries of {first.file}"
            problem = f"annotated by {where}; keep one"
        elif targets[f"{first.key}{MASK_SUFFIX}.png"] > 1 or (first.image is not None and targets[path] > 1):
            problem = "another image has this name with another suffix, so their masks would have one name"
        elif len(os.fsencode(f"{first.key}{MASK_SUFFIX}.png".rpartition("/")[2])) > _MAX_NAME_BYTES:
            problem = "its name is too long for that of a mask; rename it"
        elif first.key.endswith(MASK_SUFFIX):
            problem = f"its name ends in {MASK_SUFFIX}, as those of masks do; rename it"
        if problem is None:
            plan.drawings.append(first)
        else:
            plan.skipped += [Skipped(path, one.file, "not clear", problem) for one in drawings]
            refused += [(one, problem) for one in drawings]
    plan.drawings.sort()
    return refused


def _all_lost(image: ImageShapes, reason: str) -> Iterator[LeftOut]:
    yield from image.left_out
    for shape in image.shapes:
        yield _lose(shape, reason)


def _lose(shape: Shape, reason: str) -> LeftOut:
    return LeftOut(shape.item, shape.name, reason)


def _outside_all(shapes: Sequence[Shape], regions: Sequence[Region]) -> list[Shape]:
    """The shapes of a slide that none of its images shows."""
    if not shapes:
        return []
    boxes = np.array([shape.box for shape in shapes])
    seen = np.zeros(len(shapes), dtype=bool)
    for region in regions:
        seen |= meets(boxes, region)
    return [shape for shape, is_seen in zip(shapes, seen, strict=True) if not is_seen]


def meets(boxes: NDArray[np.float64], region: Region) -> NDArray[np.bool_]:
    """Whether boxes [n, left top right bottom] meet a region."""
    left, top, right, bottom = boxes.T
    across: NDArray[np.bool_] = (left < region.x + region.width) & (right > region.x)
    inside: NDArray[np.bool_] = across & (top < region.y + region.height) & (bottom > region.y)
    return inside


def _stem(file: str) -> str:
    return file[: len(file) - len(suffix_of(file) or "")]


def _key(path: str) -> str:
    return path.rpartition(".")[0]
