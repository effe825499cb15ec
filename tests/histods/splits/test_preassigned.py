"""Splits that samples already have: of the pairs file, of an earlier split, and conflicts between them."""

from __future__ import annotations

import csv
import io
import string
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import file_digest
from histods.io.audit_summary import AuditSummary, RecordedOptions
from histods.io.workspace import Workspace
from histods.splits.assign import parse_plan
from histods.splits.preassigned import read_split_column, refuse_conflicts, with_given_splits
from histods.splits.split_table import SplitOptions, write_split

if TYPE_CHECKING:
    from pathlib import Path

PLAN = parse_plan(0.5, 0.0, None)
LEGAL = set(string.ascii_letters + string.digits + "_-")


def audit_of(folder: Path, rows: list[tuple[str, str]]) -> AuditSummary:
    """An audit whose pairs came from a CSV file of images and splits."""
    text = io.StringIO()
    csv.writer(text).writerows([("image", "split"), *rows])
    path = folder / "pairs.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    options = RecordedOptions(pairs=str(path), pairs_digest=file_digest(path))
    return AuditSummary(root=str(folder), manifest_digest="0" * 64, options=options, layout={"kind": "csv"})


def test_names_come_with_their_image_and_line_and_empty_fields_are_left_out(tmp_path: Path) -> None:
    rows = [("a.png", "train"), ("b,\n日本.png", ""), ("sub/c.png", "hold-out_2")]
    found = read_split_column(Workspace(tmp_path), audit_of(tmp_path, rows))
    assert found.rows() == [("a.png", "train", 2), ("sub/c.png", "hold-out_2", 5)]


def test_without_a_pairs_file_no_sample_has_a_split(tmp_path: Path) -> None:
    audit = AuditSummary(root=str(tmp_path), manifest_digest="0" * 64, layout={"kind": "suffix"})
    found = read_split_column(Workspace(tmp_path), audit)
    frame = pl.DataFrame({"key": ["a"], "image_path": ["a.png"]})
    assert found.is_empty()
    assert with_given_splits(frame, Workspace(tmp_path), audit, PLAN, keep=False).to_dicts() == [
        {"key": "a", "image_path": "a.png", "given": None, "line": None}
    ]


def test_a_pairs_file_that_differs_from_the_audited_one_is_stale(tmp_path: Path) -> None:
    audit = audit_of(tmp_path, [("a.png", "train")])
    with (tmp_path / "pairs.csv").open("a") as file:
        file.write("b.png,test\n")
    with pytest.raises(StaleFileError, match="has changed since the last audit, or is gone"):
        read_split_column(Workspace(tmp_path), audit)


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=6) | st.sampled_from(["..", "a/b", "test\n", "té", "x.y", "²", "-", "a b"]))
def test_a_name_is_taken_exactly_if_every_file_system_takes_it(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    audit = audit_of(folder, [("a.png", name)])
    kept = name.rstrip(" \t")
    if not kept:
        assert read_split_column(Workspace(folder), audit).is_empty()
    elif set(kept) <= LEGAL and kept.casefold() not in {"train", "val", "test"} - {kept}:
        assert read_split_column(Workspace(folder), audit)["split"].to_list() == [kept]
    else:
        with pytest.raises(HistodsError) as refused:
            read_split_column(Workspace(folder), audit)
        assert "\n" not in str(refused.value)
        assert "line 2" in str(refused.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train", "Test"], "line 3 spells the split test as 'Test'"),
        (["HoldOut", "holdout"], "line 3 spells the split HoldOut as 'holdout'"),
    ],
)
def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    audit = audit_of(tmp_path, [(f"{place}.png", name) for place, name in enumerate(names)])
    with pytest.raises(HistodsError, match=message):
        read_split_column(Workspace(tmp_path), audit)


def test_an_earlier_split_fills_what_the_pairs_file_leaves_open(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    space.folder.mkdir()
    audit = audit_of(tmp_path, [("a.png", "test"), ("b.png", "")])
    earlier = pl.DataFrame({"key": ["a", "b", "gone"], "split": ["test", "train", "train"]})
    write_split(space, earlier, audit, SplitOptions(test=0.5, val=0.0, folds=None, seed=0, keep=False))
    frame = pl.DataFrame({"key": ["new", "b", "a"], "image_path": ["new.png", "b.png", "a.png"]})
    rows = with_given_splits(frame, space, audit, PLAN, keep=True)
    assert rows.select("key", "given", "line").rows() == [
        ("new", None, None),
        ("b", "train", None),
        ("a", "test", 2),
    ]
    assert with_given_splits(frame, space, audit, PLAN, keep=False)["given"].to_list() == [None, None, "test"]


CODES = st.integers(-1, 3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 1), CODES, CODES), max_size=12))
def test_splits_that_separate_a_group_or_equal_bytes_are_refused(samples: list[tuple[int, int, int]]) -> None:
    """Held against all pairs of samples; the message names two that are in different splits."""
    fixed, groups, digests = np.array(samples, dtype=np.int64).reshape(-1, 3).T
    rows = pl.DataFrame(
        {
            "image_path": [f"{place}.png" for place in range(len(samples))],
            "group": [f"g{code}" if code >= 0 else None for code in groups],
            "given": [("train", "test")[split] if split >= 0 else None for split in fixed],
            "line": [place + 2 if split >= 0 else None for place, split in enumerate(fixed)],
        },
        schema={"image_path": pl.String, "group": pl.String, "given": pl.String, "line": pl.Int64},
    )
    apart = {
        (one, other)
        for one, (split, group, digest) in enumerate(samples)
        for other, (there, same, equal) in enumerate(samples)
        if split >= 0 <= there and split != there and (group == same >= 0 or digest == equal >= 0)
    }
    alone = np.full(len(samples), -1)
    if not apart:
        refuse_conflicts(rows, fixed, groups=groups, digests=digests, units=alone)
        return
    with pytest.raises(HistodsError) as refused:
        refuse_conflicts(rows, fixed, groups=groups, digests=digests, units=alone)
    assert any(
        f"{one}.png in " in str(refused.value) and f"{other}.png in " in str(refused.value) for one, other in apart
    )
