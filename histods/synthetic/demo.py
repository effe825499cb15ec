"""The demo dataset: skin-like pairs on a few slides, with planted defects and the list of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError
from histods.synthetic.defects import DEFECTS
from histods.synthetic.faults import Fault, write_faults
from histods.synthetic.files import building, encode
from histods.synthetic.palette import colour_table, palette_mask, write_labels_file
from histods.synthetic.site import Layout, Site
from histods.synthetic.tissue import make_patch

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP_REGEX = r"(slide_\d+)"
"""Extracts the slide from a key of a demo dataset."""

SMALLEST_PAIRS = 120
SMALLEST_SIZE = 96  # smaller masks are mostly edges, so specks prove nothing
_FEWEST_SLIDES = 8
_PAIRS_PER_SLIDE = 25  # where that makes more slides
_COLUMNS = 20  # patches per row of a slide
_ZERO_SHARE = 0.25  # of the samples without another defect
_FIRST_UNCONDITIONAL = 1_000_000  # patch numbers that no pair has


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """A dataset and the complete list of findings that an audit of it must report.

    The list is valid for an audit with `labels_file`, with digests of the images (`duplicate_image`), and without
    `--nearest-colour`.

    Attributes:
        root: the dataset.
        layout: `suffix` or `folders`.
        labels_file: file with names and colours of the labels, next to the dataset.
        group_regex: extracts the slide from a key.
        faults: the findings, sorted by code, key, path.
    """

    root: Path
    layout: Layout
    labels_file: Path
    group_regex: str
    faults: tuple[Fault, ...]

    def write_planted_csv(self, path: str | Path) -> None:
        """Write the list as CSV with the columns code, key, path and note."""
        write_faults(Path(path), self.faults)


def make_demo(
    folder: str | Path, *, seed: int = 0, pairs: int = 200, size: int = 256, layout: Layout = "suffix"
) -> Planted:
    """Write a dataset with several planted defects of every kind that an audit finds.

    Next to the dataset it writes `FOLDER_labels.yml` (the labels file) and `FOLDER_outside/` (the targets of links
    that leave the dataset).

    Args:
        folder: a new or empty folder.
        seed: 0 or more; the same seed gives the same bytes.
        pairs: samples before copies, at least 120; about 91 of them carry a defect. They are of 8 slides, or of
            more from 225 pairs on, one per 25.
        size: side of a patch in pixels, at least 96.
        layout: `suffix` (`x.jpg` and `x_mask.png`) or `folders` (`images/x.jpg` and `masks/x.png`).

    Raises:
        HistodsError: the folder is not empty, or a number is too small.
    """
    if pairs < SMALLEST_PAIRS or size < SMALLEST_SIZE or seed < 0:
        raise HistodsError(
            f"A demo needs at least {SMALLEST_PAIRS} pairs of {SMALLEST_SIZE} pixels and a seed from 0, "
            f"not {pairs} pairs, {size} pixels, seed {seed}; raise them."
        )
    folder = Path(folder).absolute()
    outside = folder.with_name(f"{folder.name}_outside")
    plan = _plan(seed, pairs)
    slides = max(_FEWEST_SLIDES, pairs // _PAIRS_PER_SLIDE)
    faults: list[Fault] = []
    with building(folder) as root:
        for index, write in enumerate(plan):
            slide = index * slides // pairs + 1
            place = f"x{index % _COLUMNS:03d}_y{index // _COLUMNS:03d}"
            site = Site(
                root=root,
                outside=outside,
                layout=layout,
                name=f"slide_{slide:02d}/slide_{slide:02d}_{place}",
                patch=make_patch(seed, index, size=size, slide=slide),
            )
            faults += write(site)
        (root / "README.txt").write_text("Synthetic patches; no patient was involved.\n", encoding="utf-8")
    labels_file = folder.with_name(f"{folder.name}_labels.yml")
    write_labels_file(labels_file)
    return Planted(
        root=folder, layout=layout, labels_file=labels_file, group_regex=GROUP_REGEX, faults=tuple(sorted(faults))
    )


def make_unconditional(folder: str | Path, *, images: int = 40, seed: int = 0, size: int = 256) -> None:
    """Write an intact folder of images without masks by design, in nested folders per slide.

    Args:
        folder: a new or empty folder.
        images: number of images.
        seed: 0 or more; the images differ from those of `make_demo` with the same seed.
        size: side in pixels, at least 64.

    Raises:
        HistodsError: the folder is not empty.
    """
    with building(Path(folder).absolute()) as root:
        for number in range(images):
            slide = number * 4 // images + 101
            patch = make_patch(seed, _FIRST_UNCONDITIONAL + number, size=size, slide=slide)
            path = root / f"slide_{slide}" / f"slide_{slide}_{number:04d}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encode(patch.image, ".jpg"))


def _plan(seed: int, pairs: int) -> list[Callable[[Site], list[Fault]]]:
    """Assign defects to samples; the rest are zero masks and intact pairs, in random order."""
    rest = pairs - len(DEFECTS)
    zeros = int(rest * _ZERO_SHARE)
    oddities = [*_SOUND_ODDITIES[: rest - zeros]]
    plain = [_sound] * (rest - zeros - len(oddities))
    writers = [*DEFECTS, *[_zero_mask] * zeros, *oddities, *plain]
    order = np.random.default_rng([seed, 11]).permutation(pairs)
    return [writers[place] for place in order]


def _sound(site: Site) -> list[Fault]:
    site.write_image()
    site.write_mask()
    return []


def _zero_mask(site: Site) -> list[Fault]:
    site.write_image()
    path = site.write_mask(".png", encode(np.zeros_like(site.patch.mask), ".png"))
    return [site.fault("zero_mask", path, "nothing is annotated")]


# Intact pairs that look odd: an audit must not report them.


def _in_formats(image_suffix: str, mask_suffix: str) -> Callable[[Site], list[Fault]]:
    """A pair in other file formats, or with capital letters in the suffix."""

    def write(site: Site) -> list[Fault]:
        site.write_image(image_suffix)
        site.write_mask(mask_suffix)
        return []

    return write


def _named(suffix: str) -> Callable[[Site], list[Fault]]:
    """A pair whose name has dots, spaces or letters beyond ASCII."""
    return lambda site: _sound(site.renamed(site.name + suffix))


def _palette_mask(site: Site) -> list[Fault]:
    """Indices are labels, and the palette shows each label in its colour."""
    site.write_image()
    site.write_mask(".png", palette_mask(site.patch.mask, colour_table()))
    return []


def _colour_mask(site: Site) -> list[Fault]:
    """Each label in its colour, every pixel on the palette."""
    site.write_image()
    site.write_mask(".png", encode(colour_table()[site.patch.mask], ".png"))
    return []


_SOUND_ODDITIES = (
    *[_palette_mask] * 10,  # so many that the palettes of a few others are the exceptions
    _colour_mask,
    _colour_mask,
    _in_formats(".JPG", ".PNG"),
    _in_formats(".tif", ".tif"),
    _in_formats(".webp", ".bmp"),
    _in_formats(".bmp", ".tiff"),
    _in_formats(".png", ".png"),
    _in_formats(".jpeg", ".png"),
    _named(".svs-12.5x"),
    _named(" (2) späť"),
)
