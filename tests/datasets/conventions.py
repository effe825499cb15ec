"""Small sound datasets in the naming conventions that real segmentation datasets use."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image

from histods.errors import HistodsError
from histods.synthetic.files import building, encode
from histods.synthetic.palette import colour_table, write_labels_file
from histods.synthetic.tissue import Patch, make_patch

if TYPE_CHECKING:
    from collections.abc import Callable

Convention = Literal["suffix", "folders", "tissue_images", "numbered", "maskbin", "token", "colours", "csv"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
"""The conventions that `make_convention` knows."""

_SIZE = 64
_SLIDES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ConventionTruth:
    """A dataset, its pairs, and the options with which an audit finds them all.

    Options that are None are not needed. Where both patterns are None, the audit finds the layout by itself.

    Attributes:
        root: the dataset.
        pairs: (image, mask) paths relative to the root, sorted.
        others: files that are neither, sorted: overlays and text.
        image_pattern: value for `--image-pattern`.
        mask_pattern: value for `--mask-pattern`.
        pairs_file: value for `--pairs`.
        labels_file: value for `--labels`, beside the dataset.
    """

    root: Path
    pairs: tuple[tuple[str, str], ...]
    others: tuple[str, ...] = ()
    image_pattern: str | None = None
    mask_pattern: str | None = None
    pairs_file: Path | None = None
    labels_file: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Style:
    """How a convention names and stores the files of pair `number`."""

    image: Callable[[int], str]
    mask: Callable[[int], str]
    encode_mask: Callable[[Patch, str], bytes]
    image_pattern: str | None = None
    mask_pattern: str | None = None


def make_convention(folder: str | Path, name: Convention, *, pairs: int = 30, seed: int = 0) -> ConventionTruth:
    """Write a sound dataset in one of `CONVENTIONS`.

    Args:
        folder: new or empty. `colours` also writes `FOLDER_labels.yml` beside it; `csv` writes `pairs.csv`
            into it, with the columns image, mask, group and split.
        name: one of `CONVENTIONS`.
        pairs: number of pairs.
        seed: 0 or more; the same seed gives the same bytes.

    Raises:
        HistodsError: the name is unknown or the folder holds something.
    """
    if name not in _STYLES:
        raise HistodsError(f"There is no convention {name!r}; choose one of {', '.join(CONVENTIONS)}.")
    style, folder = _STYLES[name], Path(folder).absolute()
    others: list[str] = []
    with building(folder) as root:
        for number in range(1, pairs + 1):
            patch = make_patch(seed, number, size=_SIZE, slide=_slide(number))
            image = style.image(number)
            _write(root, image, encode(patch.image, Path(image).suffix))
            _write(root, style.mask(number), style.encode_mask(patch, Path(style.mask(number)).suffix))
            if name == "maskbin":
                others += _write_company(root, Path(image).stem, patch)
        found = tuple(sorted((style.image(number), style.mask(number)) for number in range(1, pairs + 1)))
        if name == "csv":
            _write(root, "pairs.csv", _pairs_csv(found))
            others.append("pairs.csv")
    labels_file = None
    if name == "colours":
        labels_file = folder.with_name(f"{folder.name}_labels.yml")
        write_labels_file(labels_file)
    return ConventionTruth(
        root=folder,
        pairs=found,
        others=tuple(sorted(others)),
        image_pattern=style.image_pattern,
        mask_pattern=style.mask_pattern,
        pairs_file=folder / "pairs.csv" if name == "csv" else None,
        labels_file=labels_file,
    )


def _slide(number: int) -> int:
    return number % _SLIDES + 1


def _write(root: Path, path: str, content: bytes) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def _write_company(root: Path, stem: str, patch: Patch) -> list[str]:
    """An overlay of the mask on the image and a text file, beside a pair."""
    overlay = (patch.image // 2 + colour_table()[patch.mask] // 2).astype(np.uint8)
    _write(root, f"{stem}_overlay.png", encode(overlay, ".png"))
    _write(root, f"{stem}.txt", f"{np.unique(patch.mask).size} labels\n".encode())
    return [f"{stem}_overlay.png", f"{stem}.txt"]


def _pairs_csv(pairs: tuple[tuple[str, str], ...]) -> bytes:
    """Rows image, mask, group, split: one slide in five is for testing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "mask", "group", "split"])
    for image, mask in pairs:
        group = image.split("/")[1]
        writer.writerow([image, mask, group, "test" if group == "scan 1" else "train"])
    return text.getvalue().encode()


def _labels(patch: Patch, suffix: str) -> bytes:
    return encode(patch.mask, suffix)


def _one_bit(patch: Patch, suffix: str) -> bytes:
    """The label with the most pixels against all others, as a 1-bit mask."""
    drawn = patch.mask == np.bincount(patch.mask.ravel()).argmax()
    return encode(Image.fromarray(drawn), suffix)


def _coloured(patch: Patch, suffix: str) -> bytes:
    return encode(colour_table()[patch.mask], suffix)


_STYLES: dict[str, _Style] = {
    "suffix": _Style(
        image=lambda number: f"slide_{_slide(number)}/patch.{number:03d}.jpg",
        mask=lambda number: f"slide_{_slide(number)}/patch.{number:03d}_mask.png",
        encode_mask=_labels,
    ),
    "folders": _Style(
        image=lambda number: f"images/slide_{_slide(number)}_{number:03d}.jpg",
        mask=lambda number: f"masks/slide_{_slide(number)}_{number:03d}.png",
        encode_mask=_labels,
    ),
    "tissue_images": _Style(
        image=lambda number: f"Tissue_Images/Human_Skin_{number:02d}.tif",
        mask=lambda number: f"Binary_masks/Human_Skin_{number:02d}.png",
        encode_mask=_one_bit,
        image_pattern="Tissue_Images/{key}.tif",
        mask_pattern="Binary_masks/{key}.png",
    ),
    "numbered": _Style(
        image=lambda number: f"img_{number}.png",
        mask=lambda number: f"label_{number}.png",
        encode_mask=_labels,
        image_pattern="img_{key}.png",
        mask_pattern="label_{key}.png",
    ),
    "maskbin": _Style(
        image=lambda number: f"skin{number:02d}.png",
        mask=lambda number: f"skin{number:02d}_maskbin.png",
        encode_mask=_one_bit,
        image_pattern="{key}.png",
        mask_pattern="{key}_maskbin.png",
    ),
    "token": _Style(
        image=lambda number: f"case{_slide(number):02d}_image_{number:04d}.png",
        mask=lambda number: f"case{_slide(number):02d}_label_{number:04d}.png",
        encode_mask=_labels,
        image_pattern="{key}_image_{key}.png",
        mask_pattern="{key}_label_{key}.png",
    ),
    "colours": _Style(
        image=lambda number: f"tile_{number:03d}.png",
        mask=lambda number: f"tile_{number:03d}_mask.png",
        encode_mask=_coloured,
    ),
    "csv": _Style(
        image=lambda number: f"scans/scan {_slide(number)}/{number * 7919 % 65536:04x}.jpg",
        mask=lambda number: f"annotations/seg-{1000 - number:06d}.png",
        encode_mask=_labels,
    ),
}
