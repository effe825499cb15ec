"""A number that a check needs of each mask beside those that are measured for all checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from histods.colours.colour_labels import Mask
    from histods.run_lengths import Runs


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """Taken in the worker, where the pixels of a mask are seen once.

    Attributes:
        column: its name in the table of samples; null for a mask that is not read as labels.
        type: the type of the column.
        version: raise it when the numbers change, so that earlier ones are not used again.
        of_mask: a function at the top level of a module, of the mask and its runs.
    """

    column: str
    type: pa.DataType
    version: int = 1
    of_mask: Callable[[Mask, Runs], object] = field(repr=False)
