"""Two label maps side by side: whether one is a coarsening of the other, and on which labels they disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from histods.labels.label_map import LabelMap


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How a coarser label map relates to a finer one.

    Attributes:
        fine: name of the map with more classes.
        coarse: name of the other one.
        apart: labels that the coarse map puts elsewhere than the rest of their class in the fine map.
    """

    fine: str
    coarse: str
    apart: tuple[int, ...]

    @property
    def text(self) -> str:
        """The comparison in a sentence."""
        if not self.apart:
            return f"{self.coarse} is a coarsening of {self.fine}: it splits no class of {self.fine}."
        listed = ", ".join(map(str, self.apart[:20])) + (" and others" if len(self.apart) > 20 else "")
        noun = "label" if len(self.apart) == 1 else "labels"
        return (
            f"{self.coarse} is not a coarsening of {self.fine}: it separates {noun} {listed} from other labels "
            f"of the same class in {self.fine}."
        )


def class_of(label_map: LabelMap, label: int) -> int | None:
    """The class of a label; None where the map has none for it."""
    return label_map.table.get(label, label_map.unmapped)


def compare(one: LabelMap, other: LabelMap, pixels: Mapping[int, int]) -> Comparison:
    """Compare two label maps in the direction in which they disagree less.

    Args:
        one: a label map.
        other: another one.
        pixels: pixels of the labels that occur; where a class is split, its larger part counts as agreed.
    """
    labels = sorted({*one.table, *other.table, *pixels})
    fine, coarse = (one, other) if len(one.classes) >= len(other.classes) else (other, one)
    apart = _find_apart(fine, coarse, labels, pixels)
    if len(one.classes) == len(other.classes) and apart:
        swapped = _find_apart(coarse, fine, labels, pixels)
        if len(swapped) < len(apart):
            fine, coarse, apart = coarse, fine, swapped
    return Comparison(fine=fine.name, coarse=coarse.name, apart=apart)


def _find_apart(
    fine: LabelMap, coarse: LabelMap, labels: Iterable[int], pixels: Mapping[int, int]
) -> tuple[int, ...]:
    parts: dict[int | None, dict[int | None, list[int]]] = {}
    for label in labels:
        parts.setdefault(class_of(fine, label), {}).setdefault(class_of(coarse, label), []).append(label)
    apart: list[int] = []
    for part in parts.values():
        main = max(part, key=lambda index: (sum(pixels.get(one, 0) for one in part[index]), -part[index][0]))
        apart += [label for index, listed in part.items() if index != main for label in listed]
    return tuple(sorted(apart))
