"""Write drafts of labels files and label maps, never in the dataset and never over another file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError
from histods.io.atomic import write_text
from histods.labels.draft import draft_map
from histods.labels.label_map import IDENTITY
from histods.labels.label_map_file import read_label_map
from histods.records import LabelCount

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.labels.label_map import LabelMap, LabelTable

_SUFFIXES = (".yml", ".yaml")


def check_draft_path(file: str | Path, root: Path | None, option: str = "--write-labels") -> Path:
    """Check that a draft can be written to a path.

    Args:
        file: the path as given by the user.
        root: the dataset's folder, resolved; None without one.
        option: the option that names the path.

    Raises:
        HistodsError: the path exists, is in the dataset, or does not have a YAML suffix.
    """
    path = Path(file)
    problem = None
    if path.suffix.lower() not in _SUFFIXES:
        problem = f"{option} writes YAML, so its path cannot be {path.name!r}: choose a name that ends in .yml"
    elif path.exists() or path.is_symlink():
        problem = f"{path} exists already; move it away or choose another name for {option}"
    elif root is not None and path.resolve().is_relative_to(root):
        problem = f"{path} is inside the dataset, which is never written to; choose a path outside it for {option}"
    if problem:
        raise HistodsError(f"{problem}.")
    return path


def write_draft(path: Path, text: str | None, root: Path) -> None:
    """Write a draft atomically.

    Raises:
        HistodsError: there is nothing to write, or the path exists by then.
    """
    if text is None:
        raise HistodsError(
            "No mask has colours or labels to draft a labels file from; "
            "see the audit's findings for what is wrong with them."
        )
    write_text(check_draft_path(path, root), text)


def write_map_draft(
    file: str | Path,
    root: Path | None,
    labels: NDArray[np.uint16],
    pixels: NDArray[np.int64],
    images: NDArray[np.int64] | None,
    names: LabelTable,
) -> LabelMap:
    """Write a label map to edit, and read it back.

    Args:
        file: a new path, as given by the user.
        root: the dataset's folder, if there is one.
        labels: [labels] that occur, ascending.
        pixels: [labels] pixels of each.
        images: [labels] number of masks that hold each; None if unknown.
        names: names of the labels.

    Raises:
        HistodsError: there are no labels, or the path exists.
    """
    path = check_draft_path(file, root, "--draft")
    if not len(labels):
        raise HistodsError("There are no labels to draft a map from: no mask in use can be read; see the audit.")
    percent = 100 * pixels / max(int(pixels.sum()), 1)
    masks = np.zeros_like(pixels) if images is None else images
    columns = (column.tolist() for column in (labels, pixels, percent, masks))
    rows = [
        LabelCount(label=label, name=names.name(label), pixels=count, percent=share, images=held)
        for label, count, share, held in zip(*columns, strict=True)
    ]
    name = re.sub(r"[^\w.-]+", "-", path.stem).strip("-.")[:80]
    write_text(path, draft_map(rows, "classes" if name in ("", IDENTITY) else name))
    return read_label_map(path)
