"""The pictures of samples in the page: small, each once, and together no larger than the page may be."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from histods.errors import HistodsError, NotAnIndexMaskError
from histods.images.reader import decode_mask, decode_rgb
from histods.io.open_file import OpenRoot
from histods.printing import escaped
from reports.page.packing import data_uri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.records import Progress
    from reports.page.source import Source

SIDE = 192
"""Long side of a picture, pixels."""
MAX_BYTES = 7_000_000
"""Of all pictures of samples as texts of the page."""
MAX_PIXELS = 600_000_000
"""Pixels that are decoded for one page: a few seconds' work, also where images are large."""
MAX_FILE_PIXELS = 60_000_000
MAX_FILE_BYTES = 256 << 20
_QUALITY = 82
_MAX_LABELS = 255
"""Labels of one picture's mask; the smallest of more are left out of it."""
_KEEPS_SMALL = 64
"""Of masks of more labels, as instance numbers are, small parts are not drawn larger than they are."""


class Wanted(NamedTuple):
    """A picture that a section asks for: two files of the dataset, either of which may be None."""

    image_path: str | None
    mask_path: str | None
    pixels: int


@dataclass(slots=True)
class Pictures:
    """The pictures that sections ask for, which are drawn together at the end, the most important first."""

    source: Source
    _wanted: list[Wanted] = field(default_factory=list)
    _ranks: list[int] = field(default_factory=list)
    _known: dict[tuple[str | None, str | None], int] = field(default_factory=dict)

    def ask(self, image_path: str | None, mask_path: str | None, pixels: int | None, rank: int) -> int:
        """Ask for the picture of a sample.

        Args:
            image_path: path of its image below the dataset's folder; None without one.
            mask_path: path of its mask.
            pixels: pixels of the image; None where unknown.
            rank: pictures of a lower rank are drawn first.

        Returns:
            The picture's number, by which the page finds it.
        """
        place = self._known.setdefault((image_path, mask_path), len(self._wanted))
        if place == len(self._wanted):
            self._wanted.append(Wanted(image_path, mask_path, pixels or 0))
            self._ranks.append(rank)
        else:
            self._ranks[place] = min(self._ranks[place], rank)
        return place

    def draw(self, progress: Progress | None = None) -> list[dict[str, Any] | None]:
        """Draw what was asked for, by rank, until the page is full.

        Returns:
            A picture for each number; None for one that was left out.
        """
        drawn: list[dict[str, Any] | None] = [None] * len(self._wanted)
        root = self.source.root
        if root is None or not self._wanted:
            return drawn
        size = pixels = 0
        try:
            with OpenRoot(root) as dataset:
                order = sorted(range(len(drawn)), key=lambda place: (self._ranks[place], place))
                for done, place in enumerate(order):
                    wanted = self._wanted[place]
                    if size > MAX_BYTES or pixels > MAX_PIXELS:
                        break
                    picture = drawn[place] = draw_sample(dataset, wanted, self.source)
                    size += sum(len(value) for value in picture.values() if isinstance(value, str))
                    pixels += wanted.pixels
                    if progress is not None:
                        progress("drawing pictures", done + 1, len(order))
        except HistodsError as error:
            reason = {"notes": [f"The dataset {escaped(str(root))} {error}."]}
            return [reason] * len(drawn)
        return drawn


def draw_sample(dataset: OpenRoot, wanted: Wanted, source: Source) -> dict[str, Any]:
    """Draw image and mask of a sample, as far as they can be read, and say why there is not more.

    Returns:
        `notes`, and where they could be drawn: `image` and `size`, `mask` with the `labels` that its values stand
        for and `mask_size`, or `mask_picture` of a mask whose values are not labels.
    """
    made: dict[str, Any] = {"notes": []}
    notes: list[str] = made["notes"]
    if wanted.pixels > MAX_FILE_PIXELS:
        notes.append(f"The image has {wanted.pixels:,} pixels, too many to draw here.")
        return made
    if wanted.image_path is None:
        notes.append("There is no image.")
    else:
        try:
            pixels = decode_rgb(_read(dataset, wanted.image_path))
            made["image"], made["size"] = _jpeg(pixels), [pixels.shape[1], pixels.shape[0]]
        except (HistodsError, OSError) as error:
            notes.append(f"The image cannot be read: {escaped(str(error))}")
    if wanted.mask_path is None:
        notes.append("There is no mask.")
    else:
        _draw_mask(dataset, wanted.mask_path, source, made)
    sizes = made.get("size"), made.get("mask_size")
    if None not in sizes and sizes[0] != sizes[1]:
        image, mask = (f"{size[0]} x {size[1]}" for size in sizes if size is not None)
        notes.append(f"Image ({image}) and mask ({mask}) differ in size; they are drawn beside each other.")
    return made


def _draw_mask(dataset: OpenRoot, path: str, source: Source, made: dict[str, Any]) -> None:
    """Add the mask to a picture: its labels, or how it looks where its values are not labels."""
    try:
        content = _read(dataset, path)
        labels = decode_mask(content, source.names.colours or None, nearest=source.nearest).labels
        made["mask_size"] = [labels.shape[1], labels.shape[0]]
        made["mask"], made["labels"] = _mask_png(labels)
    except NotAnIndexMaskError as error:
        made["notes"].append(f"The values of the mask are not labels: {escaped(str(error))}")
        try:
            made["mask_picture"] = _jpeg(decode_rgb(content))
        except (HistodsError, OSError):
            return
    except (HistodsError, OSError) as error:
        made["notes"].append(f"The mask cannot be read: {escaped(str(error))}")


def _read(dataset: OpenRoot, path: str) -> bytes:
    with dataset.open(path) as file:
        if file.size > MAX_FILE_BYTES:
            raise HistodsError(f"it has over {MAX_FILE_BYTES >> 20} MiB, too many to draw here")
        return file.read()


def fitted(width: int, height: int, side: int = SIDE) -> tuple[int, int]:
    """Width and height that fit into a square of this side; small pictures keep theirs."""
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _jpeg(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    picture = Image.fromarray(pixels)
    small = picture.resize(fitted(*picture.size), Image.Resampling.BOX, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, format="JPEG", quality=_QUALITY, optimize=True)
    return data_uri("image/jpeg", file.getvalue())


def _mask_png(labels: NDArray[np.integer]) -> tuple[str, list[int]]:
    """A small mask as a grey palette PNG of places in a list of labels, and that list."""
    from PIL import Image

    small = shrink_labels(labels, fitted(labels.shape[1], labels.shape[0]))
    counts = np.bincount(small.ravel())
    found = np.flatnonzero(counts)
    table = np.zeros(len(counts), np.int64)
    table[found] = np.arange(len(found))
    places = table[small]
    if len(found) > _MAX_LABELS:
        found = np.sort(np.argsort(-counts, kind="stable")[:_MAX_LABELS])
        table[:] = 0
        table[found] = np.arange(_MAX_LABELS)
        places = table[small]
    picture = Image.fromarray(places.astype(np.uint8)).convert("L")
    picture.putpalette(bytes(np.repeat(np.arange(256, dtype=np.uint8), 3)))
    bits = next(bits for bits in (1, 2, 4, 8) if len(found) <= 1 << bits)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True, bits=bits)
    return data_uri("image/png", file.getvalue()), [int(label) for label in found]


def shrink_labels(labels: NDArray[np.integer], size: tuple[int, int]) -> NDArray[np.integer]:
    """Make a mask smaller such that small parts of it stay.

    Each pixel has the label in the middle of the pixels that it stands for. Where a label occurs and neither this
    pixel nor one beside it has it, the pixel gets that label; rare labels win. Masks of very many
    labels lose parts.

    Args:
        labels: [H, W].
        size: width and height of the result, at most those of the mask.

    Returns:
        [height, width] of the same type.
    """
    height, width = labels.shape
    if size == (width, height):
        return labels
    edges = [np.linspace(0, one, many + 1).astype(np.int64) for one, many in ((height, size[1]), (width, size[0]))]
    rows, columns = ((edge[:-1] + edge[1:]) // 2 for edge in edges)
    small: NDArray[np.integer] = labels[np.ix_(rows, columns)].copy()
    counts = np.bincount(labels.ravel())
    found = np.flatnonzero(counts)
    if not 1 < len(found) <= _KEEPS_SMALL:
        return small
    place = np.zeros(len(counts), np.int64)
    place[found] = np.arange(len(found))
    down, across = (np.repeat(np.arange(len(edge) - 1), np.diff(edge)) for edge in edges)
    held = np.zeros((len(found), size[1], size[0]), bool)
    held[place[labels], down[:, None], across] = True
    lost = held & ~_grown(np.arange(len(found))[:, None, None] == place[small])
    for one in np.argsort(-counts[found], kind="stable"):
        small[lost[one]] = found[one]
    return small


def _grown(areas: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Areas [N, H, W] with the pixels beside them."""
    wide = areas.copy()
    wide[:, :, 1:] |= areas[:, :, :-1]
    wide[:, :, :-1] |= areas[:, :, 1:]
    high = wide.copy()
    high[:, 1:] |= wide[:, :-1]
    high[:, :-1] |= wide[:, 1:]
    return high
