"""One sample of a manifest as arrays: its image, its mask, and the image under its mask."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from histods.errors import HistodsError, UnreadableFileError
from histods.images.reader import decode_mask, decode_rgb
from histods.io.open_file import OpenRoot
from histods.io.workspace import Workspace
from histods.labels.audit_labels import labels_of_audit
from histods.masks.overlays import colour_labels, lay_over
from histods.printing import printed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from histods.colours.colour_labels import Colours
    from histods.dataset.manifest import Manifest

_MAX_NEAR = 3
_MAX_COMPARED = 5000


class AuditedDataset(NamedTuple):
    """Where the files of a manifest are, and how its masks are read: as the audit read them."""

    root: Path
    colours: Colours | None
    nearest: bool


@printed(hide=("dataset",))
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """One row of a manifest, whose files are read when they are asked for.

    Attributes:
        key: the sample's key.
        role: `conditional`, `unconditional` or `excluded`.
        group: its slide or patient; None without.
        image_path: path of its image below the dataset's folder; None without.
        mask_path: path of its mask; None without.
        width: pixels; None where no header could be read.
        height: pixels.
        labels: labels of its mask, ascending.
        pixels: pixels of each of these labels.
        dataset: where the files are.
    """

    key: str
    role: str
    group: str | None
    image_path: str | None
    mask_path: str | None
    width: int | None
    height: int | None
    labels: tuple[int, ...]
    pixels: tuple[int, ...]
    dataset: AuditedDataset

    def image(self) -> NDArray[np.uint8]:
        """The image as a viewer shows it and training sees it.

        Returns:
            red, green and blue, uint8 [height, width, 3].

        Raises:
            HistodsError: there is none, or it cannot be read.
        """
        return decode_rgb(self._read("image", self.image_path))

    def mask(self) -> NDArray[np.uint8 | np.uint16]:
        """The labels of the mask, as the audit read them.

        Returns:
            uint8 or uint16 [height, width].

        Raises:
            HistodsError: there is none, or it cannot be read.
        """
        content = self._read("mask", self.mask_path)
        return decode_mask(content, self.dataset.colours, nearest=self.dataset.nearest).labels

    def overlay(self) -> NDArray[np.uint8]:
        """The image under its mask in the colours of the charts; one of them alone where there is no other.

        Returns:
            uint8 [height, width, 3].

        Raises:
            HistodsError: one of them cannot be read, or their sizes differ.
        """
        if self.mask_path is None:
            return self.image()
        labels = self.mask()
        if self.image_path is None:
            return colour_labels(labels)
        image = self.image()
        if image.shape[:2] != labels.shape:
            sizes = " and ".join(f"{width}x{height}" for height, width in (image.shape[:2], labels.shape))
            raise HistodsError(f"{self.key}: image and mask differ in size ({sizes}); draw each by itself.")
        return lay_over(image, labels)

    def _read(self, what: str, path: str | None) -> bytes:
        if path is None:
            raise HistodsError(f"{self.key} has no {what}: its role is '{self.role}'.")
        try:
            with OpenRoot(self.dataset.root) as dataset, dataset.open(path) as file:
                return file.read()
        except UnreadableFileError as error:
            raise HistodsError(f"{self.dataset.root / path}: {error}") from error


def find_sample(manifest: Manifest, key: str) -> Sample:
    """The sample of a key.

    Raises:
        HistodsError: there is no such key (the message names near ones), or the manifest is of no workspace.
    """
    table = manifest.table
    place = table["key"].index(key).as_py()
    if place < 0:
        near = near_keys(key, pl.Series("key", table["key"].to_numpy(), dtype=pl.String))
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise HistodsError(f"There is no sample with the key {key!r} among {len(manifest):,}{hint}.")
    if manifest.workspace is None:
        raise HistodsError(
            "This manifest is in memory alone and does not say where the dataset is; "
            "read one of a workspace with Manifest.read('histods-out/manifest.parquet')."
        )
    [row] = table.slice(place, 1).to_pylist()
    space = Workspace(manifest.workspace)
    # Reading the summary proves the manifest by its digest, which is too slow to be done once per sample.
    stamps = tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in (space.audit, space.manifest))
    return Sample(
        **{name: row[name] for name in ("key", "role", "group", "image_path", "mask_path", "width", "height")},
        labels=tuple(row["labels"] or ()),
        pixels=tuple(row["pixels"] or ()),
        dataset=_dataset_of(space.folder.absolute(), stamps),
    )


@lru_cache(maxsize=4)
def _dataset_of(workspace: Path, _: tuple[int, ...]) -> AuditedDataset:
    """The dataset of the audit in a workspace, read again when its files have changed.

    Raises:
        HistodsError: there is no audit beside the manifest, or it is of another manifest.
    """
    audit = Workspace(workspace).read_audit()
    colours = labels_of_audit(audit).colours
    return AuditedDataset(Path(audit.root), colours, audit.options.nearest_colour)


def near_keys(wanted: str, keys: pl.Series, most: int = _MAX_NEAR) -> list[str]:
    """Keys like the wanted one: those that hold it, else those that are spelt nearly so.

    Args:
        wanted: what was asked for.
        keys: all keys.
        most: how many to give.
    """
    near: list[str] = keys.filter(keys.str.contains(re.escape(wanted))).head(most).to_list()
    if near:
        return near
    alike = keys.filter((keys.str.len_chars().cast(pl.Int64) - len(wanted)).abs() <= 2)
    return difflib.get_close_matches(wanted, alike.head(_MAX_COMPARED).to_list(), n=most)
