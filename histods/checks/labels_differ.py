"""`labels_differ`: `dataset.csv` in the dataset's folder lists other labels than the masks hold.

DiffInfinite-style code draws its patches by that list, so a stale list trains on other classes than the masks
hold. If most of the list contradicts the dataset, there is one finding for the list instead of one per row.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import polars as pl

from histods.checks.base import Check, Context, found

if TYPE_CHECKING:
    from histods.labels.listed import Witness

LISTED = 8  # names in one message
UNLISTED_SHARE = 0.5  # of the samples with a mask; a shorter list covers only a part, or another dataset


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Report samples whose mask and row differ, samples without a row, and problems of the whole list."""
    witness = context.witness
    if witness is None:
        return found(samples.clear(), "mask_path", "")
    what = "labels" if witness.system is None else "classes"
    map_option = "" if witness.system is None else f" --map {shlex.quote(witness.system)}"
    advice = f"correct the list, or write it again with 'histods remap{map_option} --dataset-csv FILE'"
    of = "" if witness.system is None else f" of {witness.system}"
    said, seen = (
        pl.col(name).list.eval(pl.element().cast(pl.String)).list.join(", ") for name in ("listed", "held")
    )
    differ = samples.filter(pl.col("listed").is_not_null() & pl.col("held").is_not_null())
    differ = differ.filter(pl.col("listed").cast(pl.List(pl.UInt32)) != pl.col("held"))
    message = pl.format(f"dataset.csv lists {what} {{}}, the mask holds {{}}{of}; {advice}", said, seen)
    parts = [found(differ if witness.is_understood else differ.clear(), "mask_path", message)]
    alone = samples.filter(pl.col("mask_path").is_null() & (pl.col("listed").list.max() > 0))
    text = pl.format(f"dataset.csv lists {what} {{}}, but the image has no mask; add the mask, or {advice}", said)
    parts.append(found(alone, "image_path", text))
    named = pl.col("in_list").fill_null(value=False)
    unread = samples.filter(named & pl.col("listed").is_null() & pl.col("image_path").is_not_null())
    parts.append(found(unread, "image_path", f"dataset.csv does not list numbers from 0 to 65535; {advice}"))
    if not _is_of_another_set(witness):
        pairs = pl.col("image_path").is_not_null() & pl.col("mask_path").is_not_null()
        parts.append(
            found(samples.filter(pairs & ~named), "image_path", f"dataset.csv has no row for it; {advice}")
        )
    if whole := _of_whole_list(witness):
        row = {"key": "dataset.csv", "path": "dataset.csv", "message": f"{' and '.join(whole)}; {advice}"}
        parts.append(pl.DataFrame([row]))
    return pl.concat(parts)


def _is_of_another_set(witness: Witness) -> bool:
    return witness.unlisted > UNLISTED_SHARE * witness.masks


def _of_whole_list(witness: Witness) -> list[str]:
    """Problems of the list as a whole."""
    texts = []
    if not witness.is_understood:
        texts.append(
            f"{witness.compared - witness.agreed:,} of {witness.compared:,} rows differ from the masks, both as "
            "labels and as classes of each label map in the folder or bundled"
        )
    if strangers := witness.strangers:
        names = ", ".join(strangers[:LISTED]) + (", ..." if len(strangers) > LISTED else "")
        row = "1 row names" if len(strangers) == 1 else f"{len(strangers):,} rows name"
        texts.append(f"{row} no image of the dataset: {names}")
    if _is_of_another_set(witness):
        texts.append(f"{witness.unlisted:,} of {witness.masks:,} images with masks have no row")
    return texts


CHECK = Check(
    code="labels_differ",
    severity="warning",
    summary="A `dataset.csv` in the dataset's folder lists other labels than the masks hold.",
    judge=judge,
)
