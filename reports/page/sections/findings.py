"""All findings in columns for a table that is drawn as it is scrolled, and their numbers by code and folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from histods.checks import CHECKS
from histods.printing import escaped
from reports.page.section import Content, Missing, Section

if TYPE_CHECKING:
    from reports.page.pictures import Pictures
    from reports.page.source import Source

TOP = "."
"""What the folder of files at the top of the dataset is called."""
_MAX_FOLDERS = 12


def build(source: Source, _: Pictures) -> Content:
    """Put the findings into columns, texts that repeat once."""
    if source.findings is None:
        command = source.audit_command
        return Content(missing=Missing(reason="There are no findings that can be read.", command=command))
    if not len(source.findings):
        return Content(missing=Missing(reason="The audit found no problems."))
    table = with_folders(source.findings)
    codes = _count_codes(table)
    folders = table.group_by("folder").len().sort("len", "folder", descending=[True, False])
    return Content(
        values={
            "total": len(table),
            "codes": codes,
            "folders": [(escaped(name), number) for name, number in folders.head(_MAX_FOLDERS).iter_rows()],
            "more_folders": max(0, len(folders) - _MAX_FOLDERS),
        },
        data={"codes": codes},
        packed=pack_columns(table, [row["code"] for row in codes]),
    )


def with_folders(findings: pl.DataFrame) -> pl.DataFrame:
    """Findings with the `folder` and the `name` of each path."""
    path = pl.col("path")
    return findings.with_columns(
        folder=path.str.extract(r"(?s)^(.*)/[^/]*$").fill_null(TOP), name=path.str.extract(r"(?s)([^/]*)$")
    )


def _count_codes(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Codes that occur, in the order of the checks, with their numbers; those of no check of today come last."""
    counts = table.group_by("code", "severity").len().sort("code")
    known = {check.code: place for place, check in enumerate(CHECKS)}
    rows = [
        {"code": code, "severity": severity, "count": number, "summary": _summary(code)}
        for code, severity, number in counts.iter_rows()
    ]
    return sorted(rows, key=lambda row: known.get(row["code"], len(known)))


def _summary(code: str) -> str:
    return next((check.summary.replace("`", "") for check in CHECKS if check.code == code), "")


def pack_columns(table: pl.DataFrame, codes: list[str]) -> dict[str, Any]:
    """Columns of findings: places in lists of codes, folders and messages, and the name of each file."""
    code, folder, message = (table[name] for name in ("code", "folder", "message"))
    folders, messages = folder.unique().sort(), message.unique().sort()
    return {
        "code": _places(code, pl.Series(codes, dtype=pl.String)),
        "folder": _places(folder, folders),
        "folders": [escaped(text) for text in folders.to_list()],
        "message": _places(message, messages),
        "messages": [escaped(text) for text in messages.to_list()],
        "name": [escaped(text) for text in table["name"].to_list()],
    }


def _places(values: pl.Series, of: pl.Series) -> list[int]:
    """The place of each value in a series of different values."""
    places = pl.DataFrame({"value": of, "place": pl.int_range(len(of), eager=True)})
    joined = pl.DataFrame({"value": values}).join(places, on="value", how="left", maintain_order="left")
    return joined["place"].to_list()


SECTION = Section(name="findings", title="Findings", build=build)
