"""Masks made by a network: what was asked for, and the folder that keeps them.

```
generated_masks/RUN-STEP-DIGEST/
  generated_00000.png ...         classes, as 8-bit grey PNG; a mask depends on the recipe and its number only
  masks.json                      the recipe
```
"""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from histods.errors import HistodsError
from histods.io.atomic import write_bytes, write_json
from histods.io.workspace import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SCHEMA_VERSION = 1
_MOST_PIXELS = 89_478_485  # as for all masks: larger files are not decoded
_ROUNDING = 1e-9
_NEAREST = 16


def parse_proportions(given: str | Mapping[str, float], classes: Sequence[str]) -> dict[str, float]:
    """Proportions of classes by name, in the order of the classes; those that are not named are free.

    Where the named ones sum to 1, nothing is left for the others, and they get 0.

    Args:
        given: `NAME=SHARE,NAME=SHARE`, or shares by name; a name may contain commas.
        classes: names of all classes; letter case does not matter where it is clear which one is meant.

    Raises:
        HistodsError: a class is unknown or named twice, a share is no number from 0 to 1, or they do not fit
            together.
    """
    pairs = _split(given) if isinstance(given, str) else [(name, share) for name, share in given.items()]
    found: dict[str, float] = {}
    for name, share in pairs:
        known = _find_class(name, classes)
        if known in found:
            raise HistodsError(f"--proportions names the class {known!r} twice; give it once.")
        try:
            found[known] = float(share)
        except ValueError:
            found[known] = math.nan
        if not 0 <= found[known] <= 1:
            raise HistodsError(
                f"--proportions gives {known!r} the share {share}; it must be a number from 0 to 1, such as "
                f"'{known}=0.3'."
            )
    total = math.fsum(found.values())
    if total > 1 + _ROUNDING:
        raise HistodsError(f"--proportions sum to {total:g}; lower them to a sum of at most 1.")
    full = total >= 1 - _ROUNDING
    if len(found) == len(classes) and not full:
        raise HistodsError(
            f"--proportions name every class but sum to {total:g}; omit one, which then gets the rest."
        )
    return {name: found.get(name, 0.0) for name in classes if full or name in found}


def _split(text: str) -> list[tuple[str, str]]:
    """Names and shares; a name goes up to the last equals sign before a share."""
    pairs = []
    rest = text
    while rest.strip():
        match = re.match(r"\s*(.+?)\s*=\s*([^,=]*?)\s*(?:,|$)", rest)
        if match is None:
            raise HistodsError(
                f"--proportions {text!r} is not NAME=SHARE,NAME=SHARE; give, for example, "
                "'Carcinoma=0.3,Dermis=0.5'."
            )
        pairs.append((match[1], match[2]))
        rest = rest[match.end() :]
    return pairs


def _find_class(name: str, classes: Sequence[str]) -> str:
    if name in classes:
        return name
    folded = [known for known in classes if known.casefold() == name.casefold()]
    if len(folded) == 1:
        return folded[0]
    near = difflib.get_close_matches(name.casefold(), [known.casefold() for known in classes], n=1, cutoff=0.0)
    meant = next(known for known in classes if known.casefold() == near[0])
    raise HistodsError(f"--proportions names the class {name!r}, which does not exist: did you mean {meant!r}?")


def complete(wanted_K: NDArray[np.float64], shares_NK: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Proportions of all classes: the ones that are asked for, and the others as in a training mask.

    The training mask is drawn evenly from all if every class is free, else from the 16 that are nearest in the
    classes that are asked for. Its free classes are scaled to what is left.

    Args:
        wanted_K: proportions; NaN for free classes.
        shares_NK: proportions of training masks.
        seed: the seed of the draw.

    Returns:
        The proportions, which sum to 1; `wanted_K` itself if no training mask has any of the free classes.
    """
    free_K = np.isnan(wanted_K)
    left = 1 - np.nansum(wanted_K)
    able_NK = shares_NK[shares_NK[:, free_K].sum(axis=1) > 0].astype(np.float64)
    if not len(able_NK):
        return wanted_K
    missed_N = np.abs(able_NK[:, ~free_K] - wanted_K[~free_K]).sum(axis=1)
    near = np.argsort(missed_N, kind="stable")[: _NEAREST if (~free_K).any() else None]
    drawn_K = able_NK[near[np.random.default_rng(seed).integers(len(near))]]
    return np.where(free_K, drawn_K * left / drawn_K[free_K].sum(), wanted_K)


def parse_size(text: str) -> tuple[int, int]:
    """Height and width in pixels of `SIDE` or `WIDTHxHEIGHT`.

    Raises:
        HistodsError: it is something else, or too large.
    """
    match = re.fullmatch(r"(\d{1,6})(?:[xX](\d{1,6}))?", text.strip())
    width, height = (0, 0) if match is None else (int(match[1]), int(match[2] or match[1]))
    if not 0 < width * height <= _MOST_PIXELS:
        raise HistodsError(
            f"--size is {text}; it must be a side or WIDTHxHEIGHT in pixels, such as 512 or 4096x2048, of at most "
            f"{_MOST_PIXELS:,} pixels."
        )
    return height, width


class MaskFolder:
    """Reads and writes a folder of generated masks.

    Args:
        folder: its path; it need not exist.
        recipe: how masks are made and from what, as JSON.
    """

    def __init__(self, folder: Path, recipe: dict[str, Any]) -> None:
        self.folder = folder
        self.recipe = recipe
        self._mark = folder / "masks.json"

    def claim(self) -> None:
        """Mark the folder as holding masks of this recipe, unless it is marked already.

        Raises:
            HistodsError: it holds something else.
        """
        document = {"schema_version": SCHEMA_VERSION, "recipe": self.recipe}
        if self._mark.is_file():
            if read_json(self._mark) != document:
                raise HistodsError(f"{self.folder} holds masks of another recipe; move it elsewhere or remove it.")
            for torn in self.folder.glob(".*.part"):  # left by a killed run
                torn.unlink(missing_ok=True)
            return
        write_json(self._mark, document)

    def path(self, number: int) -> Path:
        """The file of a mask."""
        return self.folder / f"{self.name(number)}.png"

    @staticmethod
    def name(number: int) -> str:
        """The name of a mask, which its image takes."""
        return f"generated_{number:05d}"

    def write(self, number: int, classes: NDArray[Any]) -> None:
        """Write a mask, atomically.

        Raises:
            HistodsError: it cannot be written.
        """
        from histods.masks.writer import encode_mask

        path = self.path(number)
        try:
            write_bytes(path, encode_mask(classes))
        except OSError as error:
            raise HistodsError(
                f"{path} could not be written: {error.strerror or error}; make room and run the same command "
                "again to continue."
            ) from error
