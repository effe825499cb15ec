"""The findings of an audit: as Parquet for programs, and as CSV for spreadsheets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from histods.dataset.manifest import SCHEMA_VERSION, read_table, to_polars, write_table
from histods.errors import StaleFileError
from histods.io.atomic import file_digest, write_bytes

if TYPE_CHECKING:
    from histods.io.audit_summary import AuditSummary
    from histods.io.workspace import Workspace

_FORMULA = r"^[=+\-@\t\r]"


def write_findings(findings: pl.DataFrame, space: Workspace) -> None:
    """Write `findings.parquet` and `findings.csv`."""
    write_table(findings.to_arrow(), space.findings, {"schema_version": str(SCHEMA_VERSION)})
    write_bytes(space.findings_csv, to_csv(findings).encode())


def to_csv(table: pl.DataFrame) -> str:
    """A table as CSV that a spreadsheet shows as it is.

    A text that begins like a formula gets an apostrophe before it
    (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    texts = pl.col(pl.String)
    return table.with_columns(
        pl.when(texts.str.contains(_FORMULA)).then(pl.lit("'") + texts).otherwise(texts).name.keep()
    ).write_csv()


def read_findings(space: Workspace, audit: AuditSummary) -> pl.DataFrame:
    """The findings as the last audit wrote them, sorted by key, path and code.

    Args:
        space: the workspace.
        audit: its summary, as `Workspace.read_audit` returns it.

    Raises:
        StaleFileError: they are missing or changed since; the message names the command that makes them again.
    """
    if not space.findings.is_file() or file_digest(space.findings) != audit.findings_digest:
        raise StaleFileError(
            f"{space.findings} has changed since the audit wrote it; run '{audit.command}' again."
        )
    return to_polars(read_table(space.findings))
