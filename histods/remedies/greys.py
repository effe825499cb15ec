"""`greys`: colour masks with equal channels, and grey masks with a constant transparency, are written as grey.

Proof: the audit reads one channel as the labels, since red, green and blue are equal at every pixel and the
transparency is the same everywhere; the new file is read back with the same label at every pixel. In a dataset of
colour masks, equal channels are colours, too: a patch of black and white regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from histods.remedies.base import RefusedError, Remedy, Repaired
from histods.remedies.index_mask import read_mask, write_mask

if TYPE_CHECKING:
    from histods.remedies.base import Dataset, Source


def study(dataset: Dataset) -> str | None:
    """Why equal channels are colours; None if they are labels."""
    if dataset.labels.colours:
        return "the labels file gives colours, and equal channels are colours, too"
    rows = dataset.manifest.filter(pl.col("mask_kind").is_in(["rgb", "rgba"]) & pl.col("labels").is_null())
    if rows.height:
        return "other masks have colours, and equal channels may be colours, too; name them with --labels FILE"
    return None


def repair(source: Source) -> Repaired:
    """Write one of several equal channels."""
    mask = read_mask(source)
    if source.study is not None and mask.kind in ("rgb", "rgba"):
        raise RefusedError(source.study)
    return write_mask(mask, mask.labels, palette=True)


REMEDY = Remedy(
    name="greys",
    repairs=("rgb", "rgba", "gray_alpha"),
    summary="Writes masks with equal channels, or with a constant transparency, as grey.",
    repair=repair,
    study=study,
)
