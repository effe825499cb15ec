"""A list of labels as independent evidence: match it with samples by name and compare it with their masks.

Such a list holds source labels, or the classes of a label map; some lists omit label 0. The rows themselves show
which it is: under the right interpretation nearly all of them agree with the masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from histods.labels.label_map import LabelMap

NEARLY_ALL, FEW = 0.9, 20
"""Share of rows that agree under the right interpretation; fewer rows than this may differ in a small list."""
_SHIFT = 20  # bits of a label or class; labels that a map refuses are above all of them
_REFUSED = 1 << 17


@dataclass(frozen=True, kw_only=True, slots=True)
class Witness:
    """How a list of labels is interpreted, and how it agrees with the masks.

    Attributes:
        rows: number of rows of the list.
        compared: number of rows whose sample has a readable mask.
        agreed: number of these that agree with the mask.
        system: file name of the label map whose classes the list holds; None for source labels.
        without_zero: whether the list omits label (or class) 0.
        is_understood: whether nearly all rows agree under this interpretation.
        strangers: names that match no sample, in the order of the list.
        unlisted: number of samples with a mask that the list does not name.
        masks: number of samples with a mask.
    """

    rows: int
    compared: int
    agreed: int
    system: str | None
    without_zero: bool
    is_understood: bool
    strangers: tuple[str, ...]
    unlisted: int
    masks: int


def hear_witness(
    samples: pl.DataFrame, listed: pl.DataFrame, systems: Mapping[str, LabelMap]
) -> tuple[pl.DataFrame, Witness]:
    """Compare a list with the masks under each interpretation, and choose the one that agrees most.

    Args:
        samples: one row per sample with its paths and the measurements of its mask.
        listed: the columns `name` and `listed` of the list.
        systems: label maps whose classes it may hold.

    Returns:
        The samples with `in_list` (whether the list names them), `listed` (its labels or classes, null if
        unusable) and `held` (those of the mask under the chosen interpretation, null if it was not read); and the
        interpretation.
    """
    rows = samples.with_row_index("row")
    matched = _match(rows, listed)
    named = matched.drop_nulls("row").unique("row", keep="first", maintain_order=True)
    rows = rows.join(named.select("row", "listed", in_list=True), on="row", how="left", maintain_order="left")
    read = pl.col("labels").is_not_null() & pl.col("mask_error").is_null() & pl.col("mask_not_index").is_null()
    both = rows.filter(read & pl.col("listed").is_not_null()).select("row", "labels", "listed")
    said = both.select("row", "listed").explode("listed", empty_as_null=False)
    seen = rows.filter(read).select("row", "labels").explode("labels", empty_as_null=False)
    seen_rows, seen_labels = seen["row"].to_numpy(), seen["labels"].to_numpy()
    is_compared = np.isin(seen_rows, both["row"].to_numpy())
    said_codes = _codes(said["row"].to_numpy(), said["listed"].to_numpy())
    best: tuple[int, bool, str | None] | None = None
    readings: list[tuple[str | None, NDArray[np.int64]]] = [(None, seen_labels.astype(np.int64))]
    readings += [(name, _lookup(one)[seen_labels]) for name, one in systems.items()]
    for without_zero in (False, True):
        for name, values in readings:
            codes = _codes(seen_rows[is_compared], values[is_compared])
            differ = np.setxor1d(
                _drop_zero(codes, without_zero), _drop_zero(said_codes, without_zero), assume_unique=True
            )
            agreed = len(both) - len(_once(differ >> _SHIFT))
            if best is None or agreed > best[0]:
                best = agreed, without_zero, name
    assert best is not None  # noqa: S101 - there is always the reading of labels as they are
    agreed, without_zero, system = best
    held = _drop_zero(_codes(seen_rows, dict(readings)[system]), without_zero)
    lists = (
        pl.DataFrame({"row": (held >> _SHIFT).astype(np.uint32), "held": held & ((1 << _SHIFT) - 1)})
        .group_by("row", maintain_order=True)
        .agg(pl.col("held").cast(pl.UInt32))
    )
    rows = rows.join(lists, on="row", how="left", maintain_order="left").with_columns(
        held=pl.when(read).then(pl.col("held").fill_null([])),
        in_list=pl.col("in_list").fill_null(value=False),
        listed=pl.col("listed").list.filter(pl.element() > 0) if without_zero else pl.col("listed"),
    )
    masks = rows.filter(pl.col("mask_path").is_not_null() & pl.col("image_path").is_not_null())
    differing = len(both) - agreed
    witness = Witness(
        rows=len(listed),
        compared=len(both),
        agreed=agreed,
        system=system,
        without_zero=without_zero,
        is_understood=agreed >= NEARLY_ALL * len(both) or (differing <= FEW and 2 * agreed > len(both)),
        strangers=tuple(matched.filter(pl.col("row").is_null())["name"]),
        unlisted=int((~masks["in_list"]).sum()),
        masks=len(masks),
    )
    return rows.drop("row"), witness


def _match(rows: pl.DataFrame, listed: pl.DataFrame) -> pl.DataFrame:
    """Add `row`, the index of the sample with that name: its key, image path, or file name if unique."""
    stem = pl.col("image_path").str.replace(r"\.[^./]+$", "")
    forms = [pl.col("key"), pl.col("image_path"), stem]
    files = [form.str.extract(r"([^/]+)$") for form in forms]
    meant = pl.col("name").str.strip_chars().str.replace_all("\\", "/", literal=True).str.strip_prefix("./")
    listed = listed.with_columns(meant=meant.str.normalize("NFC"))

    def join(whole: list[pl.Expr], unique: list[pl.Expr]) -> pl.DataFrame:
        tables = [
            rows.select("row", meant=form.str.normalize("NFC")).drop_nulls("meant") for form in whole + unique
        ]
        tables[len(whole) :] = [table.filter(pl.col("meant").is_unique()) for table in tables[len(whole) :]]
        known = pl.concat(tables).unique("meant", keep="first", maintain_order=True)
        return listed.join(known, on="meant", how="left", maintain_order="left")

    matched = join(forms[:1], [])  # names are keys in most lists; other forms take a second for 250,000 samples
    return join(forms, files) if matched["row"].null_count() else matched


def _lookup(label_map: LabelMap) -> NDArray[np.int64]:
    """Class of each label; labels that the map refuses have none."""
    table = label_map.lookup().astype(np.int64)
    if label_map.unmapped is None:
        listed = np.zeros(len(table), dtype=bool)
        listed[np.fromiter(label_map.table, np.int64)] = True
        table[~listed] = _REFUSED
    return table


def _codes(rows: NDArray[np.integer], values: NDArray[np.integer]) -> NDArray[np.int64]:
    """Row and value of each entry combined in one number, ascending, without duplicates."""
    return _once(np.sort(rows.astype(np.int64) << _SHIFT | values.astype(np.int64)))


def _once(ascending: NDArray[np.int64]) -> NDArray[np.int64]:
    """Remove duplicates from ascending values; np.unique, which hashes, takes 20 s for a million such codes."""
    return ascending[np.diff(ascending, prepend=-1) > 0]


def _drop_zero(codes: NDArray[np.int64], is_dropped: bool) -> NDArray[np.int64]:
    return codes[codes & ((1 << _SHIFT) - 1) > 0] if is_dropped else codes
