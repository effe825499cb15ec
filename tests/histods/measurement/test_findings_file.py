"""Findings are read back as they were written, or not at all, and a spreadsheet computes none of them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import StaleFileError
from histods.io.atomic import file_digest
from histods.io.audit_summary import AuditSummary
from histods.io.workspace import Workspace
from histods.measurement.findings_file import read_findings, to_csv, write_findings

if TYPE_CHECKING:
    from pathlib import Path

FINDINGS = pl.DataFrame(
    {
        "key": ["ä/日本", "=cmd()"],
        "path": ["ä/日本.png", "=cmd()_mask.png"],
        "code": ["turned", "orphan_mask"],
        "severity": ["warning", "error"],
        "message": ['a "quoted", long\nreason', "-1 of them"],
    }
)


def summary(space: Workspace) -> AuditSummary:
    return AuditSummary(
        root="/data", manifest_digest="0", findings_digest=file_digest(space.findings), command="histods audit x"
    )


@pytest.mark.parametrize("findings", [FINDINGS, FINDINGS.clear()], ids=["two", "none"])
def test_both_files_hold_what_was_written(tmp_path: Path, findings: pl.DataFrame) -> None:
    space = Workspace(tmp_path)
    write_findings(findings, space)
    assert read_findings(space, summary(space)).equals(findings)
    rows = list(csv.DictReader(io.StringIO(space.findings_csv.read_text(encoding="utf-8"))))
    assert [row["code"] for row in rows] == findings["code"].to_list()


def test_findings_that_changed_or_are_gone_are_refused_with_the_command_that_makes_them(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    write_findings(FINDINGS, space)
    audit = summary(space)
    write_findings(FINDINGS.head(1), space)
    said = f"{space.findings} has changed since the audit wrote it; run 'histods audit x' again."
    for _ in range(2):
        with pytest.raises(StaleFileError) as caught:
            read_findings(space, audit)
        assert str(caught.value) == said
        space.findings.unlink(missing_ok=True)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "plain", "a=b", 'q"u,o', "ä\nb"])
def test_what_a_spreadsheet_would_compute_is_a_text(text: str) -> None:
    ((shown, number),) = csv.reader(io.StringIO(to_csv(pl.DataFrame({"a": [text], "b": [-1]})).split("\n", 1)[1]))
    assert shown == (f"'{text}" if text[0] in "=+-@\t\r" else text)
    assert number == "-1"


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_text_comes_back_and_no_cell_begins_like_a_formula(texts: list[str]) -> None:
    rows = list(csv.reader(io.StringIO(to_csv(pl.DataFrame({"a": texts, "b": "x"})), newline="")))[1:]
    assert [shown.removeprefix("'") for shown, _ in rows] == [text.removeprefix("'") for text in texts]
    assert not any(shown.startswith(tuple("=+-@\t\r")) for shown, _ in rows)
