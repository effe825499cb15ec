"""The split: its sizes, how each class and group is divided, and the proof that no group is in two splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from histods.errors import HistodsError, StaleFileError
from histods.palette import split_fill
from histods.printing import escaped
from histods.splits.split_table import check_split, read_any_split, with_split_groups
from reports.balance_table import count_balance, order_splits, read_split_names
from reports.page.fills import paint
from reports.page.section import Content, Missing, Section

if TYPE_CHECKING:
    from histods.splits.split_table import SplitCheck
    from reports.page.pictures import Pictures
    from reports.page.source import Source

MAX_GROUPS = 100
MAX_DUPLICATES = 12
_RANK = 2


def build(source: Source, pictures: Pictures) -> Content:
    """Read the split, and prove it with the manifest."""
    space = source.space
    if not space.split.is_file():
        missing = Missing(reason="There is no split yet.", command=f"histods split{space.option}")
        return Content(missing=missing)
    if source.manifest is None:
        command = source.audit_command
        reason = "The split cannot be shown without the manifest that it was made from."
        return Content(missing=Missing(reason=reason, command=command))
    try:
        sides = read_split_names(space, source.digest)
        options = read_any_split(space)[1]
    except StaleFileError as error:
        command = f"{read_any_split(space)[1].command}{space.option}"
        return Content(missing=Missing(reason=str(error), command=command))
    assert sides is not None  # noqa: S101 - the file is there
    check = check_split(space)
    names = order_splits(sides["split"].unique().to_list())
    problems: list[str] = []
    samples = with_split_groups(source.manifest, options).join(sides, on="key")
    straddling = [
        *_straddling(samples, pictures, "image_digest", "the same bytes are in another split"),
        *_straddling(samples, pictures, "looks_like", "an image that looks the same is in another split"),
    ]
    return Content(
        values={
            "command": f"{options.command}{space.option}",
            "sizes": _sizes(samples, names),
            "proof": _prove(check),
            "groups": _groups(samples),
            "group_total": check.groups,
            "straddling": straddling,
        },
        data={
            "names": [{"name": escaped(name), **paint(split_fill(name, at))} for at, name in enumerate(names)],
            "balance": _balances(source, sides, problems),
            "straddling": straddling,
        },
        problems=tuple(problems),
    )


def _sizes(samples: pl.DataFrame, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Samples, roles and groups of each split."""
    counts = samples.group_by("split").agg(
        samples=pl.len(),
        conditional=(pl.col("role") == "conditional").sum(),
        unconditional=(pl.col("role") == "unconditional").sum(),
        groups=pl.col("group").drop_nulls().n_unique(),
    )
    rows = {row["split"]: row for row in counts.iter_rows(named=True)}
    total = max(len(samples), 1)
    return [
        rows[name]
        | {
            "split": escaped(name),
            "percent": 100 * rows[name]["samples"] / total,
            **paint(split_fill(name, at)),
        }
        for at, name in enumerate(names)
        if name in rows
    ]


def _prove(check: SplitCheck) -> list[dict[str, Any]]:
    """What reading the split back showed, one sentence each; `sound` is None where nothing is proved."""
    placed = not (check.missing or check.doubled or check.unknown)
    groups = f"{check.straddling_groups:,} of {check.groups:,} groups are in more than one split"
    copies = f"{check.straddling_duplicates:,} of {check.duplicates or 0:,} sets of equal images are in several"
    alike = f"{check.straddling_likenesses:,} of {check.likenesses or 0:,} sets of near-duplicates are in several"
    lines: list[tuple[bool | None, str]] = [
        (not check.straddling_groups, groups)
        if check.groups
        else (
            None,
            "Unknown whether a slide is in several splits: there are no groups (audit with --group-regex)",
        ),
        (None, "Unknown whether identical images are in several splits: audit with --hash")
        if check.duplicates is None
        else (not check.straddling_duplicates, f"{copies} splits"),
        (None, "Unknown whether near-duplicates are in several splits: audit with --quality")
        if check.likenesses is None
        else (not check.straddling_likenesses, f"{alike} splits"),
        (placed, f"{check.missing:,} of {check.samples:,} samples have no split, {check.doubled:,} have several"),
    ]
    if check.unknown:
        lines.append((False, f"{check.unknown:,} rows of the split belong to no sample in use"))
    return [{"sound": sound, "text": text} for sound, text in lines]


def _groups(samples: pl.DataFrame) -> list[dict[str, Any]]:
    """The split and the samples of each group, those in several splits first, then the largest."""
    rows = (
        samples.drop_nulls("group")
        .group_by("group")
        .agg(samples=pl.len(), splits=pl.col("split").unique().sort())
        .with_columns(number=pl.col("splits").list.len())
        .sort("number", "samples", "group", descending=[True, True, False])
    )
    return [
        {
            "group": escaped(row["group"]),
            "samples": row["samples"],
            "splits": [escaped(name) for name in row["splits"]],
        }
        for row in rows.head(MAX_GROUPS).iter_rows(named=True)
    ]


def _straddling(samples: pl.DataFrame, pictures: Pictures, by: str, what: str) -> list[dict[str, Any]]:
    """Sets of images that are in several splits, with a picture of each image.

    Args:
        samples: rows of the manifest, with their splits.
        pictures: the pictures of the page.
        by: the column that is equal in a set.
        what: what is wrong, as the end of a sentence.
    """
    sets = samples.drop_nulls(by).group_by(by).agg(splits=pl.col("split").n_unique()).filter(pl.col("splits") > 1)
    rows = samples.join(sets, on=by).sort(by, "key").head(MAX_DUPLICATES)
    return [
        {
            "path": escaped(row["image_path"]),
            "key": escaped(row["key"]),
            "group": None if row["group"] is None else escaped(row["group"]),
            "message": f"in {escaped(row['split'])}; {what}",
            "picture": pictures.ask(
                row["image_path"], row["mask_path"], (row["width"] or 0) * (row["height"] or 0), _RANK
            ),
        }
        for row in rows.iter_rows(named=True)
    ]


def _balances(source: Source, sides: pl.DataFrame, problems: list[str]) -> list[dict[str, Any]]:
    """Pixels of each class in each split, for the labels and each class system."""
    found: list[dict[str, Any]] = []
    for name in (None, *source.space.class_systems()):
        try:
            system = source.class_system(name)
            if system is None:
                continue
            balance = count_balance(system, source.space, sides)
        except (HistodsError, KeyError, TypeError, ValueError) as error:
            problems.append(str(error))
            continue
        kept = {row.index for row in system.drawn}
        found.append(
            {
                "system": escaped(system.name),
                "noun": system.noun,
                "whole": balance.pixels.sum(axis=0).tolist(),
                "rows": [
                    {"index": row.index, "name": escaped(row.name), "pixels": pixels, "images": images}
                    for row, pixels, images in zip(
                        system.classes, balance.pixels.tolist(), balance.images.tolist(), strict=True
                    )
                    if row.index in kept
                ],
            }
        )
    return found


SECTION = Section(name="split", title="Split", build=build)
