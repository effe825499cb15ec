"""Compression of JPEG images, which no check judges but the manifest lists: it shifts models and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from histods.measurement.extra_measure import Measure

if TYPE_CHECKING:
    from histods.images.reduced import Picture


def measure_quality(picture: Picture) -> int | None:
    """The quality of a JPEG from 1 to 100; null for other formats."""
    return picture.compression.quality


def measure_subsampling(picture: Picture) -> str | None:
    """The chroma subsampling of a JPEG, such as 4:2:0; null for other formats and for grey."""
    return picture.compression.subsampling


COMPRESSION = (
    Measure(column="jpeg_quality", type=pa.uint8(), quality=True, of_image=measure_quality),
    Measure(column="chroma_subsampling", type=pa.string(), quality=True, of_image=measure_subsampling),
)
