"""A contact sheet: each mask in the colours of its classes, next to the images made for it."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from histods.errors import HistodsError, UnreadableFileError
from histods.palette import INK, class_fill
from training.inference.pictures import coloured
from training.inference.pyramid import read_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image, ImageDraw, ImageFont

SIDE = 192
"""Width and height of the box that each picture is fitted into, pixels."""
_ENOUGH = 4 * SIDE  # pixels along the longer side of what is scaled to the box, at least, if there are that many
_GAP, _MARGIN, _LINE, _NAME = 6, 20, 22, 300
_TEXT, _TITLE = 13, 16
_MAX_PICTURES = 8  # side by side: 1,600 pixels
_MAX_MASKS, _MAX_CLASSES = 24, 30


class Cell(NamedTuple):
    """A mask [height, width] of classes, its images [height, width, 3], and their caption."""

    caption: str
    mask: NDArray[np.uint8]
    images: list[NDArray[np.uint8]]


class _Entry(NamedTuple):
    """A class in the legend, and its place."""

    number: int
    name: str
    left: int
    top: int


def draw_sheet(title: str, folder: Path, records: Sequence[dict[str, Any]], classes: Sequence[str]) -> bytes:
    """Draw a contact sheet of generated images as PNG; if there are many masks, an evenly spaced selection.

    Args:
        title: the title, one line.
        folder: the folder of the images and masks.
        records: for each image its path `image`, the path of its `mask` and the name `of` its mask; records of one
            mask are adjacent.
        classes: names of all classes; the legend shows those that occur.

    Raises:
        HistodsError: a file is damaged.
    """
    of_mask: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        of_mask.setdefault(record["of"], []).append(record)
    names = list(of_mask)
    places = np.linspace(0, len(names) - 1, min(len(names), _MAX_MASKS)).round().astype(int).tolist()
    if len(places) < len(names):
        title += f" ({len(places)} of {len(names):,} masks)"
    cells = [_read_cell(names[place], folder, of_mask[names[place]]) for place in places]
    return draw_cells(title, cells, classes)


def _read_cell(name: str, folder: Path, records: Sequence[dict[str, Any]]) -> Cell:
    from histods.images.reader import decode_rgb, read_mask

    images = []
    path = folder / records[0]["mask"]
    try:
        mask = _thinned(read_mask(path).labels.astype(np.uint8))
        for record in records[: _MAX_PICTURES - 1]:
            path = folder / record["image"]
            if path.suffix == ".tif":
                images.append(read_level(path, _ENOUGH))
            else:
                images.append(_thinned(decode_rgb(path.read_bytes())))
    except UnreadableFileError as error:
        raise HistodsError(
            f"{path} cannot be read any more: {error}; remove it and run the same command again."
        ) from error
    return Cell(name, mask, images)


def _thinned(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A large picture with every n-th pixel, at least four for each that is shown."""
    step = max(1, max(pixels.shape[:2]) // _ENOUGH)
    return pixels if step == 1 else pixels[::step, ::step].copy()


def draw_cells(title: str, cells: Sequence[Cell], classes: Sequence[str]) -> bytes:
    """Draw a contact sheet as PNG: a title, a legend of the colours, and one or more cells, in rows."""
    from PIL import Image, ImageDraw

    shown = 1 + max(len(cell.images) for cell in cells)
    columns = min(max(1, _MAX_PICTURES // shown), len(cells))
    cell_width, cell_height = shown * (SIDE + _GAP) - _GAP, SIDE + _LINE
    width = max(2 * _MARGIN + columns * (cell_width + _MARGIN) - _MARGIN, 640)
    legend = _legend(_present(cells, classes), width, top=_MARGIN + _LINE + _GAP)
    top = legend[-1].top + _LINE + _GAP
    rows = -(-len(cells) // columns)
    page = Image.new("RGB", (width, top + rows * (cell_height + _MARGIN)), "white")
    draw = ImageDraw.Draw(page)
    _write(draw, (_MARGIN, _MARGIN), title, _TITLE, width - 2 * _MARGIN)
    for entry in legend:
        fill = class_fill(entry.number)
        box = (entry.left, entry.top + 2, entry.left + 14, entry.top + 16)
        draw.rectangle(box, fill=fill.face, outline=fill.edge)
        _write(draw, (entry.left + _LINE, entry.top), entry.name, _TEXT, _NAME)
    for place, cell in enumerate(cells):
        row, column = divmod(place, columns)
        corner = _MARGIN + column * (cell_width + _MARGIN), top + row * (cell_height + _MARGIN)
        for number, pixels in enumerate([coloured(cell.mask), *cell.images]):
            page.paste(_fitted(pixels, sharp=number == 0), (corner[0] + number * (SIDE + _GAP), corner[1]))
        _write(draw, (corner[0], corner[1] + SIDE + 3), cell.caption, _TEXT, cell_width)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def draw_pairs(title: str, pairs: Sequence[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]) -> bytes:
    """Draw pairs of pictures as PNG, each with a caption, in rows of four pairs.

    Args:
        title: the title, one line.
        pairs: for each its caption and its two pictures [height, width, 3].
    """
    from PIL import Image, ImageDraw

    columns = min(_MAX_PICTURES // 2, max(1, len(pairs)))
    cell_width, cell_height = 2 * (SIDE + _GAP) - _GAP, SIDE + _LINE
    width = max(2 * _MARGIN + columns * (cell_width + _MARGIN) - _MARGIN, 640)
    top = 2 * _MARGIN + _LINE
    page = Image.new("RGB", (width, top + -(-len(pairs) // columns) * (cell_height + _MARGIN)), "white")
    draw = ImageDraw.Draw(page)
    _write(draw, (_MARGIN, _MARGIN), title, _TITLE, width - 2 * _MARGIN)
    for place, (caption, *pictures) in enumerate(pairs):
        row, column = divmod(place, columns)
        corner = _MARGIN + column * (cell_width + _MARGIN), top + row * (cell_height + _MARGIN)
        for number, pixels in enumerate(pictures):
            page.paste(_fitted(pixels, sharp=False), (corner[0] + number * (SIDE + _GAP), corner[1]))
        _write(draw, (corner[0], corner[1] + SIDE + 3), caption, _TEXT, cell_width)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def _fitted(pixels: NDArray[np.uint8], *, sharp: bool) -> Image.Image:
    """A picture scaled to fit the box; with `sharp`, edges of classes stay sharp."""
    from PIL import Image

    scale = SIDE / max(pixels.shape[:2])
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST if sharp else Image.Resampling.LANCZOS)


def _present(cells: Sequence[Cell], classes: Sequence[str]) -> list[tuple[int, str]]:
    """Index and name of the classes that occur in masks."""
    found = {index for cell in cells for index in np.unique(cell.mask).tolist()}
    named = [(index, classes[index] if index < len(classes) else f"class {index}") for index in sorted(found)]
    return named[:_MAX_CLASSES]


def _legend(named: Sequence[tuple[int, str]], width: int, *, top: int) -> list[_Entry]:
    """The legend of the colours, wrapped at the width."""
    left, entries = _MARGIN, []
    for index, name in named:
        length = _LINE + min(int(_font(_TEXT).getlength(name)), _NAME) + _MARGIN
        if left + length > width and left > _MARGIN:
            left, top = _MARGIN, top + _LINE
        entries.append(_Entry(index, name, left, top))
        left += length
    return entries


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, width: int) -> None:
    draw.text(place, _shortened(text, size, width), fill=INK, font=_font(size))


def _shortened(text: str, size: int, width: int) -> str:
    """Text that fits a width in pixels; long text is cut at the start, since patch names differ at the end."""
    plain = "".join(mark if mark.isprintable() else "?" for mark in text)
    font = _font(size)
    if font.getlength(plain) <= width:
        return plain
    keep = len(plain)
    while keep > 1 and font.getlength("..." + plain[-keep:]) > width:
        keep -= max(1, keep // 16)
    return "..." + plain[-keep:]


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans, which comes with Matplotlib and has most European letters; else Pillow's font, ASCII only."""
    from PIL import ImageFont

    try:
        import matplotlib as mpl

        return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
    except (ImportError, OSError):
        return ImageFont.load_default(size)
