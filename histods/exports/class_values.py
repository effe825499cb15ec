"""Which value each class has in the masks of a format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from histods.labels.label_map import MAX_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from histods.exports.base import Unknown

BACKGROUND = "background"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassValues:
    """The values of masks, and their names.

    Attributes:
        values: value of each class, by class.
        names: name of each value from 0, without that of `ignore`.
        ignore: value of pixels that are ignored; None where class 0 is not ignored.
        unknown: a sentence that says what became of class 0.
    """

    values: tuple[int, ...]
    names: tuple[str, ...]
    ignore: int | None
    unknown: str

    def lookup(self) -> NDArray[np.uint8]:
        """Value of each class, uint8 of shape [256]."""
        table = np.zeros(MAX_CLASSES, dtype=np.uint8)
        table[: len(self.values)] = self.values
        return table


def from_zero(classes: Sequence[str], unknown: Unknown, ignore: int) -> ClassValues:
    """Values without a gap: with class 0 ignored, class 1 is 0; else each class is its own value."""
    if unknown == "ignore":
        values, names = (ignore, *range(len(classes) - 1)), tuple(classes[1:])
    else:
        values, names = tuple(range(len(classes))), tuple(classes)
    return ClassValues(
        values=values,
        names=names,
        ignore=ignore if unknown == "ignore" else None,
        unknown=say_unknown(classes[0], ignore if unknown == "ignore" else None, 0),
    )


def with_background(classes: Sequence[str], unknown: Unknown, ignore: int | None) -> ClassValues:
    """Values for tools in which 0 is the background: class 0, or where that is ignored the class of this name.

    Where class 0 is ignored and no class is called background, no pixel has the value 0.

    Args:
        classes: names of the classes.
        unknown: what class 0 becomes.
        ignore: value of ignored pixels; the one after the last class if None.
    """
    rest = list(range(1, len(classes)))
    names, values = [BACKGROUND], [0] * len(classes)
    if unknown == "ignore":
        background = next((index for index in rest if _plain(classes[index]) == BACKGROUND), None)
        rest = [index for index in rest if index != background]
    for index in rest:
        values[index] = len(names)
        names.append(classes[index])
    if unknown == "background":
        sentence = say_unknown(classes[0], None, 0)
        return ClassValues(values=tuple(values), names=tuple(names), ignore=None, unknown=sentence)
    values[0] = len(names) if ignore is None else ignore
    sentence = say_unknown(classes[0], values[0], 0)
    if background is None:
        sentence += " No class is called background, so no pixel has the value 0, which is the background here."
    return ClassValues(values=tuple(values), names=tuple(names), ignore=values[0], unknown=sentence)


def say_unknown(name: str, ignore: int | None, value: int) -> str:
    """Say what became of class 0: the value of ignored pixels, or else the one that it has as background."""
    if ignore is not None:
        return f"Class 0 ({name}) is ignored: its pixels have the value {ignore}."
    return f"Class 0 ({name}) is background: its pixels have the value {value}."


def distinct(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Names that all differ, also from those taken: a number is added to a name that occurs before."""
    seen, result = set(taken), []
    for name in names:
        number, candidate = 1, name
        while candidate in seen:
            number += 1
            candidate = f"{name} ({number})"
        seen.add(candidate)
        result.append(candidate)
    return result


def _plain(name: str) -> str:
    return name.strip().casefold()
