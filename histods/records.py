"""The records that histods hands out: frozen, typed, and free of any disk access."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many files and samples an audit found.

    `zero_masks` and `meaningful_masks` count the readable masks of pairs, so that on a sound dataset
    their sum is `pairs`. `conditional`, `unconditional` and `excluded` count samples and sum to all rows.
    Pictures that look like masks or lie outside the layout are excluded samples, but neither images nor masks.
    """

    images: int
    masks: int
    pairs: int
    orphan_masks: int
    images_without_mask: int
    zero_masks: int
    meaningful_masks: int
    conditional: int
    unconditional: int
    excluded: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCount:
    """One source label: its pixels over a set of masks, their share in percent, the masks that hold it."""

    label: int
    name: str
    pixels: int
    percent: float
    images: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelTotals:
    """What a set of masks holds: their number, their pixels, and the totals of each label, ascending by label."""

    masks: int
    pixels: int
    labels: tuple[LabelCount, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ColourCount:
    """One colour of colour and palette masks: its pixels, their share in percent, the masks that hold it.

    `colour` is `#rrggbb`; `label` is the label that it has or that a draft gives it, None for a blend of others.
    """

    colour: str
    pixels: int
    percent: float
    masks: int
    label: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCount:
    """One class after a label map: its pixels, their share in percent, the images that contain it.

    `images` is None where only a table of counts was remapped, which does not know images.
    """

    index: int
    name: str
    pixels: int
    percent: float
    images: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong with, or worth knowing of, one file of the dataset."""

    key: str
    path: str
    code: str
    severity: str
    message: str


class Progress(Protocol):
    """What a caller may pass to watch: called with a stage in plain words, files done, and files in all."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of the progress."""


def silent(stage: str, done: int, total: int) -> None:
    """Take no note of the progress."""
