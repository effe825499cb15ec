"""A dataset of all formats and kinds of masks, split by slide, and its exports."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods import audit, export_data, remap, split
from tests.conftest import Site, make_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.steps.export_data import ExportDataResult

CLASSES = ("Unknown", "Tumour", "Stroma")


@dataclass(frozen=True)
class Exported:
    """An export: its folder, what the command returned, and the rows of `samples.csv` by key."""

    site: Site
    folder: Path
    result: ExportDataResult
    rows: dict[str, dict[str, str]]

    def masks(self, values: list[int]) -> dict[str, NDArray[np.uint8]]:
        """Name -> mask that is expected, in these values of the three classes; computed from what was painted."""
        lookup = np.array(values, np.uint8)
        found = {}
        for key, row in self.rows.items():
            classes = self.site.classes(key)
            assert classes is not None
            found[row["name"]] = lookup[classes]
        return found

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """The image of a name, as Pillow decodes its source."""
        (key,) = (key for key, row in self.rows.items() if row["name"] == name)
        return self.site.pixels(key)


def read_rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "samples.csv").open(encoding="utf-8", newline="") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


def make_source(folder: Path) -> Site:
    """The dataset, with more formats of images; five slides of eight pairs, and a sixth of five."""
    site = make_site(folder)
    random = np.random.default_rng(7)
    for number, suffix in enumerate((".bmp", ".webp", ".png", ".PNG", ".jpg")):
        key = f"slide.5/more {number}"
        pixels = random.integers(0, 255, (48, 48, 3), dtype=np.uint8)
        image = Image.fromarray(pixels[..., 0] if suffix == ".PNG" else pixels)
        site.images[key] = site.root / f"{key}{suffix}"
        site.images[key].parent.mkdir(exist_ok=True)
        image.save(site.images[key], lossless=True)  # as only WebP asks
        labels = np.zeros((48, 48), np.uint16)
        labels[number : number + 30, 5:40] = (2, 300, 12, 5, 7)[number]
        Image.fromarray(labels).save(site.root / f"{key}_mask.png")
        site.labels[key] = labels
    audit(
        site.root, workspace=site.workspace, group_regex=r"^(slide\.\d)", allow_unpaired=True, hash=True, workers=1
    )
    remap(workspace=site.workspace, map=site.map)
    return site


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A dataset that no test changes, split into train, val and test."""
    site = make_source(tmp_path_factory.mktemp("exports"))
    split(workspace=site.workspace, test=0.2, val=0.2)
    return site


@pytest.fixture(scope="session")
def exported(source: Site) -> Callable[[str], Exported]:
    """Makes the export of a format, once."""
    made: dict[str, Exported] = {}

    def make(name: str) -> Exported:
        if name not in made:
            folder = source.workspace.parent / "raw" / f"Dataset101_{name}"
            result = export_data(to=folder, format=name, workspace=source.workspace, workers=1)
            made[name] = Exported(source, folder, result, read_rows(folder))
        return made[name]

    return make
