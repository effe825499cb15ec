"""`palette`: a palette mask is written as grey values, which are its indices.

Proof: the audit reads the indices as labels, no palette contradicts another one, no labels file contradicts them,
and the new file is read back with the same label at every pixel. If palettes contradict each other, all masks
stay, since grey values would hide that from the next audit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.remedies.base import RefusedError, Remedy, Repaired
from histods.remedies.index_mask import read_mask, write_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from histods.remedies.base import Dataset, Source


CONTESTED = (
    "palettes contradict each other, so that indices are no labels; "
    "use 'histods fix palettes_differ --repair --labels FILE'"
)


def study(dataset: Dataset) -> Mapping[int, tuple[int, int, int]]:
    """The colours of labels, which must not contradict the indices.

    Raises:
        RefusedError: palettes contradict each other.
    """
    if dataset.contested:
        raise RefusedError(CONTESTED)
    return dataset.labels.colours


def repair(source: Source) -> Repaired:
    """Write the indices of a palette mask as grey values."""
    mask = read_mask(source, source.study)
    return write_mask(mask, mask.labels)


REMEDY = Remedy(
    name="palette",
    repairs=("palette",),
    summary="Writes palette masks as grey values: the indices, without the colours.",
    repair=repair,
    study=study,
)
