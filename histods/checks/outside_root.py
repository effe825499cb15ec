"""`outside_root`: a link that leaves the dataset is not followed."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Find images and masks that are links to files outside the dataset."""
    message = "link leads out of the dataset and was not followed; copy the file into the dataset"
    named = [(path, pl.col(path).is_not_null() & pl.col(role)) for path, role in _FILES]
    return pl.concat([found(samples.filter(outside), path, message) for path, outside in named])


_FILES = (("image_path", "image_outside"), ("mask_path", "mask_outside"))

CHECK = Check(
    code="outside_root",
    severity="warning",
    summary="A link that leaves the dataset; it is not followed.",
    judge=judge,
)
