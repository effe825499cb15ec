"""`narrow`: labels up to 255 in 16 bits are written in 8.

Proof: the largest label fits, and the new file is read back with the same label at every pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.remedies.base import RefusedError, Remedy, Repaired
from histods.remedies.index_mask import LARGEST_BYTE, read_mask, write_mask

if TYPE_CHECKING:
    from histods.remedies.base import Source


def repair(source: Source) -> Repaired:
    """Write a 16-bit mask with 8 bits."""
    mask = read_mask(source)
    if int(mask.labels.max()) > LARGEST_BYTE:
        raise RefusedError(f"a label is above {LARGEST_BYTE} and needs 16 bits")
    return write_mask(mask, mask.labels, palette=True)


REMEDY = Remedy(
    name="narrow",
    repairs=("wide_mask", "gray16"),
    summary="Writes labels up to 255 with 8 bits instead of 16.",
    repair=repair,
)
