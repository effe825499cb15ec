"""Files with known truth, and how a remedy is called on them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image

from histods.images.reader import decode_mask
from histods.labels.label_map import LabelTable
from histods.remedies.base import Dataset, RefusedError, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from histods.remedies import Remedy
    from histods.remedies.base import Repaired

COLOURS = {0: (0, 0, 0), 1: (255, 0, 0), 2: (0, 200, 0), 3: (0, 0, 255)}
NAMED = LabelTable(names={label: f"class {label}" for label in COLOURS}, colours=COLOURS)
ORIENTATIONS = range(2, 9)


def regions(seed: int = 0, *, height: int = 48, width: int = 64, labels: int = 4) -> NDArray[np.uint8]:
    """[height, width] labels 0 to n - 1 in smooth regions, all of which occur."""
    random = np.random.default_rng(seed)
    fields = cv2.resize(random.random((6, 6, labels)), (width, height), interpolation=cv2.INTER_CUBIC)
    mask: NDArray[np.uint8] = fields.argmax(axis=2).astype(np.uint8)
    mask[0, :labels] = np.arange(labels)
    return mask


def saved(image: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=name, **options)
    return file.getvalue()


def as_colours(
    mask: NDArray[np.uint8], colours: Mapping[int, tuple[int, int, int]] = COLOURS
) -> NDArray[np.uint8]:
    """[height, width, 3] the colour of each label."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[list(colours)] = list(colours.values())
    return table[mask]


def as_palette(mask: NDArray[np.uint8], colours: Iterable[tuple[int, int, int]] = COLOURS.values()) -> Image.Image:
    image = Image.fromarray(mask, "P")
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def tagged(orientation: int) -> Image.Exif:
    """EXIF data with an orientation, and something else that must stay."""
    exif = Image.Exif()
    exif[274], exif[270] = orientation, "a description"
    return exif


def study(remedy: Remedy, labels: LabelTable | None = None, manifest: pl.DataFrame | None = None) -> Any:
    if manifest is None:
        manifest = pl.DataFrame(schema={"mask_kind": pl.String, "labels": pl.List(pl.UInt16)})
    return remedy.study(Dataset(manifest, frozenset(), labels or LabelTable(names={})))


def repair(
    remedy: Remedy,
    content: bytes,
    *,
    labels: LabelTable | None = None,
    partners: tuple[bytes, ...] = (),
    is_mask: bool = True,
    named: bool = False,
    path: str = "x.png",
    studied: Any = None,
) -> Repaired:
    known = study(remedy, labels) if studied is None else studied
    return remedy.repair(
        Source(content=content, path=path, is_mask=is_mask, partners=lambda: partners, named=named, study=known)
    )


def refusal(*arguments: Any, **options: Any) -> str:
    """The reason and the detail with which a file is refused."""
    with pytest.raises(RefusedError) as caught:
        repair(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labels_of(content: bytes) -> tuple[str, NDArray[Any]]:
    mask = decode_mask(content)
    return mask.kind, mask.labels
