"""Samples whose classes can be told apart by colour, with noise, as `fit_segmenter` takes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.evaluation.segmenter import fit
from training.evaluation.segmenter.fit import fit_segmenter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.evaluation.segmenter.segmenter import Segmenter

CLASSES = ("Unknown", "Red", "Green", "Blue")
COLOURS = np.array([[120, 120, 120], [200, 60, 60], [60, 200, 60], [60, 60, 200]])


class Toy:
    """Patches of horizontal bands; `digest` names their content."""

    def __init__(self, *, size: int = 20, side: int = 32, seed: int = 0) -> None:
        self.digest = f"toy {size} {side} {seed}"
        self._size, self._side, self._seed = size, side, seed

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        random = np.random.default_rng([self._seed, index])
        bands = random.integers(0, len(CLASSES), 4).astype(np.uint8)
        mask = np.repeat(np.repeat(bands, self._side // 4)[:, None], self._side, axis=1)
        image = COLOURS[mask] + random.normal(0, 12, (self._side, self._side, 3))
        return image.clip(0, 255).astype(np.uint8), mask


def fit_toy(folder: Path, *, steps: int = 6, **options: Any) -> Segmenter:
    """Train on the CPU with few samples and small crops."""
    few: dict[str, Any] = {"classes": CLASSES, "batch_size": 2, "crop": 32, "device": "cpu", **options}
    return fit_segmenter(few.pop("samples", Toy()), folder=folder, steps=steps, **few)


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder but its locks, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def fit_with_checkpoints(folder: Path, every: int) -> None:
    """Train with a checkpoint every few steps, in a process that may be killed."""
    fit._EVERY = every
    fit_toy(Path(folder))
