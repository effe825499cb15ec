"""A number that a check needs of each mask or image beside those that are measured for all checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from histods.colours.colour_labels import Mask
    from histods.images.reduced import Picture
    from histods.run_lengths import Runs


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """Taken in the worker, where the pixels of a mask or image are seen once.

    Several checks may bring the same measure; it is taken once.

    Attributes:
        column: its name in the table of samples, which no other measure has; null for an image that cannot be
            decoded, and for a mask that is not read as labels.
        type: the type of the column.
        version: raise it when the numbers change, so that earlier ones are not used again.
        quality: whether it is taken only with `--quality`, as all measures of images are.
        of_mask: a function at the top level of a module, of the mask and its runs.
        of_image: a function at the top level of a module, of the image at reduced scale; either this or `of_mask`.
    """

    column: str
    type: pa.DataType
    version: int = 1
    quality: bool = False
    of_mask: Callable[[Mask, Runs], object] | None = field(default=None, repr=False)
    of_image: Callable[[Picture], object] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.of_mask is None) == (self.of_image is None):
            raise ValueError(f"the measure {self.column} needs either of_mask or of_image")
        if self.of_image is not None and not self.quality:
            raise ValueError(f"the measure {self.column} is of images, which are decoded only with quality=True")
