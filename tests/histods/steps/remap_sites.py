"""Datasets of masks made by hand, and workspaces in which an audit of them would have ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from PIL import Image

from histods.dataset.manifest import SCHEMA, Manifest
from histods.io.atomic import file_digest, write_json
from histods.io.workspace import Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.uint8] | NDArray[np.uint16]


COLOURS = {0: (0, 0, 0), 3: (255, 0, 0), 9: (0, 255, 0)}
MAP = """
name: three
classes: [Unknown, Tumour, Stroma]
map: {Unknown: [0, 1], Tumour: [3], Stroma: [9, 700]}
"""
RNG = np.random.default_rng(7)


@dataclass(frozen=True, kw_only=True)
class Mask:
    """One sample of a dataset made by hand; without labels it has no mask."""

    path: str | None = None
    labels: Labels | None = None
    role: str = "conditional"


class Site:
    """A dataset of masks, and the workspace in which an audit of it would have ended."""

    def __init__(self, folder: Path, masks: dict[str, Mask], *, labels_file: Path | None = None) -> None:
        self.root, self.space = folder / "data", Workspace(folder / "out")
        self.masks = masks
        self.labels_file = labels_file
        self.map = folder / "three.yml"
        self.root.mkdir(parents=True)
        self.map.write_text(MAP)
        for mask in masks.values():
            if mask.path is not None and mask.labels is not None:
                save(self.root / mask.path, mask.labels)
        self.audit()

    def audit(self) -> None:
        rows = [self._row(key, mask) for key, mask in sorted(self.masks.items())]
        Manifest(pa.Table.from_pylist(rows, SCHEMA), {}).write(self.space.manifest)
        summary = {
            "root": str(self.root),
            "labels": [{"label": 3, "name": "tumour", "pixels": 1, "percent": 100.0, "images": 1}],
            "options": {"labels": self.labels_file and str(self.labels_file), "nearest_colour": False},
            "manifest_digest": file_digest(self.space.manifest),
        }
        write_json(self.space.audit, summary)

    def _row(self, key: str, mask: Mask) -> dict[str, object]:
        if mask.path is None or mask.labels is None:
            return {"key": key, "mask_path": mask.path, "role": mask.role}
        labels, pixels = np.unique(mask.labels, return_counts=True)
        status = (self.root / mask.path).stat()
        height, width = mask.labels.shape
        return {
            "key": key,
            "mask_path": mask.path,
            "role": mask.role,
            "height": height,
            "width": width,
            "mask_bytes": status.st_size,
            "mask_mtime_ns": status.st_mtime_ns,
            "labels": labels.tolist(),
            "pixels": pixels.tolist(),
        }

    @property
    def usable(self) -> dict[str, Mask]:
        return {key: mask for key, mask in self.masks.items() if mask.role != "excluded"}


def save(path: Path, labels: Labels) -> None:
    """Store labels in the way that the path names: palette, rgb, or as deep as the array is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "palette" in path.stem:
        image = Image.fromarray(labels.astype(np.uint8)).convert("P")
        image.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    elif "rgb" in path.stem:
        image = Image.fromarray(np.array([COLOURS.get(i, (9, 9, 9)) for i in range(10)], np.uint8)[labels])
    elif "bilevel" in path.stem:
        image = Image.fromarray(labels.astype(bool))
    else:
        image = Image.fromarray(labels)
    image.save(path)


def draw(values: list[int], shape: tuple[int, int] = (24, 32)) -> Labels:
    dtype = np.uint8 if max(values) < 256 else np.uint16
    return RNG.choice(np.array(values, dtype), shape)


def make_site(folder: Path) -> Site:
    """Masks in all ways of storing them, and samples without one, zero, broken or orphaned."""
    return Site(
        folder,
        {
            "a/gray8": Mask(path="a/gray8_mask.png", labels=draw([0, 3, 9])),
            "a/gray16": Mask(path="a/gray16_mask.png", labels=draw([0, 3, 700])),
            "b/palette": Mask(path="b/palette_mask.png", labels=draw([0, 3, 9])),
            "b/tiff, 16 bits": Mask(path="b/tiff.v1_mask.tif", labels=draw([1, 700])),
            "bilevel": Mask(path="bilevel.png", labels=draw([0, 1])),
            "bmp": Mask(path="bmp_mask.bmp", labels=draw([9])),
            "zero": Mask(path="zero_mask.png", labels=draw([0]), role="unconditional"),
            "image only": Mask(role="unconditional"),
            "broken": Mask(path="broken.png", role="excluded"),
            "orphan": Mask(path="orphan.png", labels=draw([44]), role="excluded"),
        },
    )


def classes_of(labels: Labels) -> NDArray[np.uint8]:
    table = np.full(701, 255, np.uint8)
    table[[0, 1, 3, 9, 700]] = [0, 0, 1, 2, 2]
    return table[labels]
