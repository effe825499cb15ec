"""The single image size that training needs, and the tile size to use if images differ in size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

from histods.errors import HistodsError
from histods.tiles.grid import tile_advice
from training.config.model import LATENT_FACTOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from training.config.model import ModelConfig


def one_shape(index: pa.Table, doing: str) -> tuple[int, int]:
    """The height and width in pixels that all images have.

    Args:
        index: rows with key, height and width.
        doing: what to do after cutting tiles, for the message.

    Raises:
        HistodsError: images differ in size and so cannot share a batch.
    """
    first = index.slice(0, 1).to_pylist()[0]
    other = pc.or_(pc.not_equal(index["height"], first["height"]), pc.not_equal(index["width"], first["width"]))
    for row in index.filter(other).slice(0, 1).to_pylist():
        raise HistodsError(
            f"{first['key']} is {first['width']}x{first['height']} and {row['key']} is "
            f"{row['width']}x{row['height']}, but all images must have one size; "
            f"{tile_advice(_common_shape(index))}: audit these, then {doing}."
        )
    return int(first["height"]), int(first["width"])


def check_multiple(height: int, width: int, multiple: int, dim_mults: Sequence[int], place: Path) -> None:
    """Check that the latents of images can be halved at each level of the network.

    Args:
        height: the height of the images, pixels.
        width: the width of the images, pixels.
        multiple: required divisor of both, pixels.
        dim_mults: `model.dim_mults`.
        place: where the images are, for the message.

    Raises:
        HistodsError: the height or width is not a multiple.
    """
    if height % multiple or width % multiple:
        raise HistodsError(
            f"The images in {place} are {width}x{height}, but model.dim_mults = {list(dim_mults)} needs sides "
            f"that are multiples of {multiple} px; {tile_advice((height, width), multiple=multiple)}, or give "
            "fewer model.dim_mults."
        )


def reduction(shape: tuple[int, int], model: ModelConfig, side: int) -> int:
    """The smallest factor that reduces images to `side` pixels or less, to a size that the network accepts.

    Args:
        shape: height and width of the images, pixels.
        model: the network.
        side: maximum side, pixels.

    Returns:
        The factor, or 1 if there is none.
    """
    multiple = LATENT_FACTOR * model.size_multiple
    fitting = (
        factor
        for factor in range(1, max(shape) // multiple + 1)
        if all(length % (factor * multiple) == 0 for length in shape) and max(shape) <= side * factor
    )
    return next(fitting, 1)


def _common_shape(index: pa.Table) -> tuple[int, int]:
    """The most frequent height and width; the smallest if several are equally frequent."""
    counted = index.group_by(["height", "width"]).aggregate([([], "count_all")])
    order = [("count_all", "descending"), ("height", "ascending"), ("width", "ascending")]
    row = counted.sort_by(order).slice(0, 1).to_pylist()[0]
    return row["height"], row["width"]
