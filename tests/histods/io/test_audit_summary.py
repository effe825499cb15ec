"""`audit.json` is read back as it was written; what is missing has its default, and what is wrong is named."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.io.audit_summary import AuditSummary, RecordedOptions
from histods.records import Counts, LabelCount

LEAST: dict[str, Any] = {"root": "/data/my patches", "manifest_digest": "0" * 32}
NUMBERS = st.integers(0, 1 << 40)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
PATHS = TEXTS.filter(bool)
LABELS = st.builds(
    LabelCount, label=NUMBERS, name=TEXTS, pixels=NUMBERS, percent=st.floats(0, 100), images=NUMBERS
)
OPTIONS = st.builds(
    RecordedOptions,
    labels=st.none() | PATHS,
    labels_digest=st.none() | TEXTS,
    labels_have_colours=st.booleans(),
    nearest_colour=st.booleans(),
    pairs=st.none() | PATHS,
    pairs_digest=st.none() | TEXTS,
)


@given(
    counts=st.none() | st.builds(Counts, **{field.name: NUMBERS for field in fields(Counts)}),
    findings=st.dictionaries(TEXTS, NUMBERS, max_size=3),
    labels=st.lists(LABELS, max_size=3).map(tuple),
    options=OPTIONS,
    command=TEXTS.filter(bool),
)
def test_a_summary_is_read_back_equal(**parts: Any) -> None:
    summary = AuditSummary(root="/data", manifest_digest="0" * 32, **parts)
    assert AuditSummary.parse(json.loads(json.dumps(summary.to_json()))) == summary


def test_what_an_older_version_did_not_write_has_its_default() -> None:
    summary = AuditSummary.parse(LEAST)
    assert summary.options == RecordedOptions()
    assert (summary.labels, summary.findings, summary.counts) == ((), {}, None)
    assert summary.command == "histods audit '/data/my patches'"


def test_what_a_newer_version_adds_is_ignored() -> None:
    newer = {**LEAST, "weather": "fine", "options": {"nearest_colour": True, "moon": "full"}}
    assert AuditSummary.parse(newer).options.nearest_colour


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"root": 7}, "root 7"),
        ({"root": "x" * 5000}, "root is no possible path"),
        ({"options": {"labels": "x" * 256}}, "labels is no possible path"),
        ({"manifest_digest": None}, "manifest_digest None"),
        ({"labels": [{"label": 1}]}, "no field name"),
        ({"labels": "all"}, "labels 'all'"),
        ({"findings": {"x": "many"}}, "x|findings 'many'"),
        ({"options": {"nearest_colour": "no"}}, "nearest_colour 'no'"),
        ({"options": []}, "instead of an object"),
        ({"command": 3}, "command 3"),
        ({"root": "a\0b"}, "root"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AuditSummary.parse(LEAST | wrong)


@pytest.mark.parametrize("name", LEAST)
def test_a_document_without_root_or_digest_is_no_summary(name: str) -> None:
    with pytest.raises(ValueError, match=f"no field {name}"):
        AuditSummary.parse({other: value for other, value in LEAST.items() if other != name})
