"""Find the masks to make images for, and check all of them before sampling starts.

A mask holds class indices, or source labels that a label map turns into classes.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError, MissingExtraError, StaleFileError, UnreadableFileError
from histods.images.formats import lossless_suffixes, mask_suffixes
from histods.labels.label_map_file import find_label_map, read_label_map
from histods.records import silent
from histods.run_lengths import find_runs, histogram
from training.data.dataset import reduce_mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from histods.io.workspace import Workspace
    from histods.labels.label_map import LabelMap
    from histods.records import Progress

MASK_ENDING = "_mask"
"""What the name of a mask adds to that of its image, here and in datasets."""
_LOSSLESS, _SUFFIXES = lossless_suffixes(), mask_suffixes()


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskFile:
    """One mask: its path, the name for its images, its size in pixels and the digest of its bytes.

    `name` is its path relative to the given folder, without suffix and without `_mask`.
    """

    path: Path
    name: str
    height: int
    width: int
    digest: str


class MaskReader:
    """Reads masks as classes and rejects those with a class or size that the network does not accept.

    Args:
        num_classes: classes are 0 to num_classes - 1.
        multiple: required divisor of height and width, pixels.
        label_map: turns labels into classes; None if masks hold classes.
        reduce: factor by which masks are reduced, as in training.
        window: pixels of the side that the network was trained on; None for any.
        factor: required divisor of sides that are longer than the window, pixels per latent.
        advice: what to do about labels that are no classes, for the message.
    """

    def __init__(
        self,
        num_classes: int,
        multiple: int,
        label_map: LabelMap | None = None,
        *,
        reduce: int = 1,
        window: int | None = None,
        factor: int = 1,
        advice: str = "give the label map of these masks with --map",
    ) -> None:
        self._advice = advice
        self._num_classes = num_classes
        self._multiple = multiple * reduce
        self._window = None if window is None else window * reduce
        self._factor = factor * reduce
        self._map = label_map
        self._reduce = reduce

    def read(self, path: Path) -> tuple[NDArray[np.uint8], str]:
        """Read the classes, uint8 [height, width], and the SHA-256 of the file.

        Raises:
            HistodsError: the mask cannot be used; the message names it.
        """
        try:
            from histods.images.reader import decode_mask
            from histods.io.open_file import OpenFile
        except ImportError as error:
            raise MissingExtraError(
                f'Reading masks needs {error.name}, which is not installed; run "pip install histods".'
            ) from error
        try:
            with OpenFile(path) as file:
                content = file.read()
            labels = decode_mask(content).labels
        except UnreadableFileError as error:
            raise HistodsError(
                f"{path} cannot be read as a mask of class indices: {error}; correct it or remove it."
            ) from error
        return self._classes(path, labels), hashlib.sha256(content).hexdigest()

    def check_sides(self, name: str, height: int, width: int, advice: str) -> None:
        """Reject a size that the network does not accept.

        Args:
            name: what has this size, for the message.
            height: height in pixels, before reduction.
            width: width in pixels.
            advice: what to do about it, for the message.

        Raises:
            HistodsError: a side is not a multiple of what it must be.
        """
        for side in (height, width):
            multiple = self._multiple if self._window is None or side <= self._window else self._factor
            if side % multiple:
                raise HistodsError(
                    f"{name} is {width}x{height} px, but its sides must be multiples of {multiple} px; {advice}."
                )

    def read_again(self, mask: MaskFile) -> NDArray[np.uint8]:
        """Read the classes of a mask that was checked before.

        Raises:
            StaleFileError: it has changed since.
        """
        classes, digest = self.read(mask.path)
        if digest != mask.digest:
            raise StaleFileError(f"{mask.path} has changed since it was checked; run the same command again.")
        return classes

    def _classes(self, path: Path, labels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
        present, pixels = histogram(find_runs(labels))
        if self._map is None:
            strange, advice = present[present >= self._num_classes], self._advice
            outside = f"that are not among the classes 0 to {self._num_classes - 1}"
        else:
            strange = self._map.unmapped_labels(present) if self._map.unmapped is None else present[:0]
            advice = "add them to the map, or set 'unmapped: CLASS' in it"
            outside = f"that the label map {self._map.name} does not list"
        if strange.size:
            counts = dict(zip(present.tolist(), pixels.tolist(), strict=True))
            listed = ", ".join(f"{value} ({counts[value]:,} pixels)" for value in strange[:10].tolist())
            more = f" and {strange.size - 10} more" if strange.size > 10 else ""
            raise HistodsError(f"{path} has labels {outside}: {listed}{more}; {advice}.")
        self.check_sides(str(path), labels.shape[0], labels.shape[1], "crop or pad it")
        classes = labels.astype(np.uint8) if self._map is None else self._map.lookup()[labels]
        return reduce_mask(classes, self._reduce) if self._reduce > 1 else classes


def choose_map(
    given: str | Path, classes: Sequence[str], map_digest: str, space: Workspace | None = None
) -> LabelMap:
    """The label map to apply to masks, which must give the classes of a run.

    Args:
        given: a file, the name of a bundled map, or the name of a class system of the workspace.
        classes: names of the run's classes.
        map_digest: the digest of the label map that the run was trained with; empty if unknown.
        space: the workspace.

    Raises:
        HistodsError: there is no such map, or it gives other classes.
    """
    if space is not None and str(given) in space.class_systems():
        from histods.classes.class_system import read_kept_map  # needs polars

        label_map = read_kept_map(space, str(given))
    else:
        label_map = read_label_map(find_label_map(given))
    # Another label system may give the same classes; for an imported model their names are unknown.
    same = label_map.classes == tuple(classes) if map_digest else len(label_map.classes) == len(classes)
    if label_map.digest != map_digest and not same:
        raise HistodsError(
            f"--map {given} gives the classes {_names(label_map.classes)}, but the run has the classes "
            f"{_names(classes)}; give the map that the run was trained with."
        )
    return label_map


def _names(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:8])
    return shown if len(classes) <= 8 else f"{shown} and {len(classes) - 8} more"


def find_masks(place: Path) -> tuple[dict[str, Path], int]:
    """Find the masks in a folder, at any depth, or a single mask.

    If any names end in `_mask`, those files are the masks, so a dataset's folder can be given directly. Else all
    files in lossless formats are masks. Hidden files are skipped.

    Returns:
        The path of each mask, sorted by name; and the number of other files in the folder.

    Raises:
        HistodsError: there are no masks, or two would give images of the same name.
    """
    if place.is_dir():
        files = sorted(_walk(place))
        ending = [path for path in files if path.stem.endswith(MASK_ENDING) and _suffix(path) in _SUFFIXES]
        masks = ending or [path for path in files if _suffix(path) in _LOSSLESS]
        root = place
    else:
        files = masks = [place] if place.exists() else []
        root = place.parent
    if not masks:
        held = f"holds {len(files):,} files, none of them a mask" if place.is_dir() else "does not exist"
        raise HistodsError(
            f"{place} {held}; give a mask or a folder of masks "
            "(PNG, TIFF or BMP; in a folder with images they end in _mask)."
        )
    named: dict[str, Path] = {}
    for path in masks:
        name = _name(path.relative_to(root))
        if name in named:
            raise HistodsError(f"{named[name]} and {path} would both give images called {name}; rename one.")
        named[name] = path
    return dict(sorted(named.items())), len(files) - len(masks)


def _walk(folder: Path) -> Iterator[Path]:
    for home, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(home, name) for name in files if not name.startswith("."))


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _name(path: Path) -> str:
    name = PurePosixPath(path).with_suffix("").as_posix()
    while name.endswith(MASK_ENDING) and not name.endswith("/" + MASK_ENDING) and name != MASK_ENDING:
        name = name.removesuffix(MASK_ENDING)  # else an image would be named like a mask
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise HistodsError(f"The file name {os.fsencode(path)!r} is not UTF-8; rename the file.") from error
    return name


def check_masks(named: dict[str, Path], reader: MaskReader, progress: Progress | None = None) -> list[MaskFile]:
    """Read every mask once.

    Raises:
        HistodsError: a mask cannot be used; the message names the first and counts the others.
    """
    report = progress or silent
    masks, problems = [], []
    for done, (name, path) in enumerate(named.items()):
        report("checking masks", done, len(named))
        try:
            classes, digest = reader.read(path)
        except MissingExtraError:
            raise
        except HistodsError as error:
            problems.append(str(error))
            continue
        height, width = classes.shape
        masks.append(MaskFile(path=path, name=name, height=height, width=width, digest=digest))
    if problems:
        more = f" ({len(problems):,} masks in all cannot be used)." if len(problems) > 1 else "."
        raise HistodsError(problems[0].removesuffix(".") + more)
    return masks


def sizes_of(masks: Sequence[MaskFile]) -> dict[tuple[int, int], int]:
    """The number of masks of each (height, width)."""
    return dict(Counter((mask.height, mask.width) for mask in masks))
