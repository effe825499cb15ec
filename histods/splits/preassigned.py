"""Splits that samples have before the split is made: from the pairs file's column, and from an earlier split."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from histods.dataset.manifest import to_polars
from histods.dataset.pairs_csv import read_pairs
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import file_digest
from histods.splits.assign import find_conflict
from histods.splits.split_table import read_any_split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from histods.io.audit_summary import AuditSummary
    from histods.io.workspace import Workspace
    from histods.splits.assign import Plan

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def with_given_splits(
    frame: pl.DataFrame, space: Workspace, audit: AuditSummary, plan: Plan, *, keep: bool
) -> pl.DataFrame:
    """Add `given`, the split that a sample already has, and `line`, where the pairs file gives it; else null.

    Args:
        frame: one row per sample with `key` and `image_path`.
        space: the workspace, whose earlier split counts with `keep`.
        audit: `audit.json`, with the command that makes it again.
        plan: the splits to make.
        keep: take the splits of an earlier split table, too.

    Raises:
        HistodsError: there is no such split, it has other splits, or both sources contradict each other.
        StaleFileError: the pairs file is not the one that was audited.
    """
    column = read_split_column(space, audit)
    if plan.folds is not None and len(column):
        raise HistodsError(
            f"{audit.options.pairs} has a split column ({len(column):,} values), which does not go together "
            "with --folds; leave --folds out, or empty the column and audit again."
        )
    rows = frame.join(column, on="image_path", how="left", maintain_order="left").rename({"split": "given"})
    if not keep:
        return rows
    earlier = _read_earlier(space, plan, set(column["split"]))
    rows = rows.join(earlier.rename({"split": "earlier"}), on="key", how="left", maintain_order="left")
    apart = rows.filter(pl.col("given") != pl.col("earlier"))
    if len(apart):
        image, given, line, before = apart.select("image_path", "given", "line", "earlier").row(0)
        raise HistodsError(
            f"{image} cannot keep its split: it is in {before} in {space.split}, but in {given} in line {line} of "
            f"{audit.options.pairs}; correct the column and audit again, or leave --keep out."
        )
    return rows.with_columns(given=pl.coalesce("given", "earlier")).drop("earlier")


def _read_earlier(space: Workspace, plan: Plan, others: set[str]) -> pl.DataFrame:
    """Rows of the split that is in the workspace, whatever its manifest, if it has the splits of this one."""
    if not space.split.is_file():
        raise HistodsError(f"There is no {space.split} yet for --keep; leave --keep out the first time.")
    table, options = read_any_split(space)
    rows = to_polars(table)
    unknown = sorted(set(rows["split"]) - {*plan.names, *others})
    if options.folds != plan.folds or unknown:
        found = f"{options.folds} folds" if options.folds else f"the split {unknown[0]}" if unknown else "no folds"
        raise HistodsError(
            f"{space.split} has {found}, but you ask for the splits {', '.join(plan.names)} with --keep; "
            "ask for the same splits, or leave --keep out."
        )
    return rows


def read_split_column(space: Workspace, audit: AuditSummary) -> pl.DataFrame:
    """The names in the `split` column of the CSV file from which the audit had its pairs.

    Returns:
        `image_path`, `split` and `line`, one row per field that is not empty; no rows without such a file.

    Raises:
        HistodsError: a name has other signs than letters, digits, `_` and `-`, or is spelt in two ways.
        StaleFileError: the file is not the one that the audit read.
    """
    path, digest = audit.options.pairs, audit.options.pairs_digest
    if path is None and audit.layout.get("kind") != "csv":
        return pl.DataFrame(schema={"image_path": pl.String, "split": pl.String, "line": pl.Int64})
    if path is None:
        raise StaleFileError(
            f"The audit in {space.folder} is too old to say which pairs file it read; "
            f"run 'histods audit {audit.root} --pairs FILE -w {space.folder}' again."
        )
    if not Path(path).is_file() or file_digest(Path(path)) != digest:
        raise StaleFileError(f"{path} has changed since the last audit, or is gone; run '{audit.command}' again.")
    rows = read_pairs(Path(path), Path(audit.root)).drop_nulls("split")
    _check_names(path, rows.unique("split", keep="first", maintain_order=True))
    return rows.select(pl.col("image").alias("image_path"), "split", "line")


def _check_names(path: str, rows: pl.DataFrame) -> None:
    """Refuse names that no file could carry, and names that differ from another in case alone."""
    known = {name: name for name in ("train", "val", "test")}
    for name, line in rows.select("split", "line").iter_rows():
        if not _NAME.fullmatch(name):
            raise HistodsError(
                f"{path}, line {line}: a split cannot be named {name!r}; "
                "rename it with letters, digits, _ and - alone, and audit again."
            )
        same = known.setdefault(name.casefold(), name)
        if same != name:
            raise HistodsError(
                f"{path}, line {line} spells the split {same} as {name!r}; "
                "spell it the same everywhere and audit again."
            )


def refuse_conflicts(
    rows: pl.DataFrame,
    fixed: NDArray[np.int64],
    *,
    groups: NDArray[np.int64],
    digests: NDArray[np.int64],
    units: NDArray[np.int64],
) -> None:
    """Refuse splits that tear a group, or images with the same bytes, apart.

    Args:
        rows: one row per sample with `image_path`, `group`, `given` and `line`.
        fixed: [samples] number of the split that was given, -1 for none.
        groups: [samples] number of the group, -1 for none.
        digests: [samples] number of the image's digest, -1 for none.
        units: [samples] what both join.
    """
    for what, codes in (("group", groups), ("same", digests), ("joined", units)):
        found = find_conflict(fixed, codes)
        if found is None:
            continue
        named = {
            "group": f"group {rows['group'][found[0]]!r}",
            "same": "images with the same bytes",
            "joined": "images that groups and duplicates join",
        }
        places = [
            f"{image} in {split} ({'earlier split' if line is None else f'line {line}'})"
            for image, split, line in rows[list(found)].select("image_path", "given", "line").iter_rows()
        ]
        advice = (
            "leave --keep out to make a new split"
            if all(rows["line"][row] is None for row in found)
            else "correct the column and audit again, or leave the fields of one split empty so that they follow"
        )
        raise HistodsError(f"The given splits separate {named[what]}: {' and '.join(places)}; {advice}.")
