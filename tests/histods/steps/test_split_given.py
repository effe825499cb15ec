"""split: what the pairs file or an earlier split says stays."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.io.atomic import write_json
from tests.histods.steps.split_sites import Sample, Site, numbered, refusal, straddling


def given_site(folder: Path, sides: Mapping[str, str | None], **what: Mapping[str, Any]) -> Site:
    """Samples with the sides that the pairs file gives; `what` are other columns by key."""
    return Site(
        folder,
        [
            Sample(key=key, side=side, **{column: cast("Any", values.get(key)) for column, values in what.items()})
            for key, side in sides.items()
        ],
    )


def test_sides_of_the_pairs_file_stay_and_the_fractions_hold(tmp_path: Path) -> None:
    site = given_site(
        tmp_path, {f"k{i:03d}": "test" if i < 15 else "train" if i < 40 else None for i in range(100)}
    )
    result = site.split(test=0.2)
    sides = site.sides
    assert {key: sides[key] for key in list(sides)[:40]} == {
        f"k{i:03d}": "test" if i < 15 else "train" for i in range(40)
    }
    assert Counter(sides.values()) == {"train": 80, "test": 20}
    assert (result.given, result.kept, result.followed, result.assigned) == (40, 0, 0, 60)
    assert result.pairs == site.pairs


def test_where_a_side_has_too_many_nothing_is_added_to_it(tmp_path: Path) -> None:
    site = given_site(tmp_path, {f"k{i:03d}": "test" if i < 50 else None for i in range(100)})
    site.split(test=0.2)
    assert Counter(site.sides.values()) == {"train": 50, "test": 50}


def test_other_names_are_kept_and_get_nothing_more(tmp_path: Path) -> None:
    site = given_site(tmp_path, {f"k{i:03d}": "hold-out_2" if i < 30 else None for i in range(100)})
    result = site.split(test=0.1, val=0.1)
    assert Counter(site.sides.values()) == {"train": 50, "val": 10, "test": 10, "hold-out_2": 30}
    assert [(side.name, side.target) for side in result.splits] == [
        ("train", pytest.approx(50)),
        ("val", 10),
        ("test", 10),
        ("hold-out_2", None),
    ]


def test_groups_and_duplicates_follow_those_that_are_given(tmp_path: Path) -> None:
    names = {"a": "test", "b": None, "c": None, **{f"k{i}": None for i in range(20)}}
    groups = {"a": "slide 1", "b": "slide 1"}
    digests = {key: key for key in names} | {"b": "same", "c": "same"}
    site = given_site(tmp_path, names, group=groups, digest=digests)
    result = site.split(test=0.1)
    assert {site.sides[key] for key in "abc"} == {"test"}
    assert (result.given, result.followed, result.assigned) == (1, 2, 20)


def test_where_all_are_given_the_fractions_do_not_matter(tmp_path: Path) -> None:
    given_sides = {f"k{i}": "a" if i % 2 else "b" for i in range(10)}
    site = given_site(tmp_path, given_sides)
    result = site.split()
    assert site.sides == given_sides
    assert result.assigned == 0
    assert [(side.name, side.target) for side in result.splits] == [("a", None), ("b", None)]
    assert {row.deviation for row in result.labels} == {0.0}


@pytest.mark.parametrize(
    ("given", "columns", "message"),
    [
        (
            {"a": "train", "b": None, "c": "test"},
            {"group": {"a": "slide 7", "b": "slide 7", "c": "slide 7"}},
            "The given splits separate group 'slide 7': a.jpg in train (line 2) and c.jpg in test "
            "(line 4); correct the column and audit again, or leave the fields of one split empty "
            "so that they follow.",
        ),
        (
            {"a": "train", "b": "test"},
            {"digest": {"a": "same", "b": "same"}},
            "The given splits separate images with the same bytes: a.jpg in train (line 2) and "
            "b.jpg in test (line 3); correct the column and audit again, or leave the fields of "
            "one split empty so that they follow.",
        ),
        (
            {"a": "train", "b": None, "c": "test"},
            {"group": {"a": "s", "b": "s"}, "digest": {"a": "1", "b": "2", "c": "2"}},
            "The given splits separate images that groups and duplicates join: a.jpg in train "
            "(line 2) and c.jpg in test (line 4); correct the column and audit again, or leave the "
            "fields of one split empty so that they follow.",
        ),
        (
            {"a": "train", "b": "te st"},
            {},
            "FOLDER/pairs.csv, line 3: a split cannot be named 'te st'; rename it with letters, "
            "digits, _ and - alone, and audit again.",
        ),
        (
            {"a": "../train"},
            {},
            "FOLDER/pairs.csv, line 2: a split cannot be named '../train'; rename it with letters, "
            "digits, _ and - alone, and audit again.",
        ),
        (
            {"a": "tést"},
            {},
            "FOLDER/pairs.csv, line 2: a split cannot be named 'tést'; rename it with letters, "
            "digits, _ and - alone, and audit again.",
        ),
        (
            {"a": "Train"},
            {},
            "FOLDER/pairs.csv, line 2 spells the split train as 'Train'; spell it the same "
            "everywhere and audit again.",
        ),
        (
            {"a": "center", "b": "CENTER"},
            {},
            "FOLDER/pairs.csv, line 3 spells the split center as 'CENTER'; spell it the same "
            "everywhere and audit again.",
        ),
    ],
)
def test_columns_that_cannot_be_kept_are_refused(
    tmp_path: Path, given: dict[str, str | None], columns: dict[str, Any], message: str
) -> None:
    site = given_site(tmp_path, given, **columns)
    assert refusal(site) == message
    assert not site.space.split.exists()


def test_sides_of_excluded_samples_do_not_count(tmp_path: Path) -> None:
    samples = [*numbered(10, group="g"), *(Sample(key=f"z{i}", group=f"h{i}") for i in range(10))]
    samples.append(Sample(key="bad", role="excluded", group="g", side="test"))
    site = Site(tmp_path, [*samples, Sample(key="first", group="g", side="train")])
    assert site.split(test=0.2).given == 1
    assert "bad" not in site.sides
    assert site.sides["k000"] == "train"


def test_folds_and_a_column_of_sides_are_refused_together(tmp_path: Path) -> None:
    site = given_site(tmp_path, {"a": "train", "b": None, "c": "test"})
    assert refusal(site, folds=2) == (
        "FOLDER/pairs.csv has a split column (2 values), which does not go together with "
        "--folds; leave --folds out, or empty the column and audit again."
    )


def test_a_pairs_file_that_changed_or_is_gone_is_stale(tmp_path: Path) -> None:
    site = given_site(tmp_path, {"a": "train", "b": "test"})
    message = (
        "FOLDER/pairs.csv has changed since the last audit, or is gone; run 'histods audit "
        "FOLDER/data --pairs pairs.csv -w FOLDER/out' again."
    )
    site.pairs.write_text("image,split\na.jpg,test\nb.jpg,train\n")
    assert refusal(site) == message
    site.pairs.unlink()
    assert refusal(site) == message


def test_an_audit_that_did_not_note_its_pairs_file_is_stale(tmp_path: Path) -> None:
    site = Site(tmp_path, numbered(4))
    document = json.loads(site.space.audit.read_text())
    document["layout"] = {"kind": "csv"}
    document["options"] = {"labels": None, "nearest_colour": False}
    write_json(site.space.audit, document)
    assert refusal(site) == (
        "The audit in FOLDER/out is too old to say which pairs file it read; run 'histods "
        "audit FOLDER/data --pairs FILE -w FOLDER/out' again."
    )


def test_kept_samples_stay_and_new_ones_make_the_fractions_hold(tmp_path: Path) -> None:
    site = Site(tmp_path, numbered(100))
    site.split(test=0.3)
    before = site.sides
    site.audit([*numbered(90), *(Sample(key=f"new{i}") for i in range(60))])
    result = site.split(test=0.2, keep=True)
    assert {key: side for key, side in site.sides.items() if key in before} == {
        key: side for key, side in before.items() if key < "k090"
    }
    assert Counter(site.sides.values()) == {"train": 120, "test": 30}
    assert (result.kept, result.assigned) == (90, 60)
    written = site.space.split.read_bytes()
    again = site.split(test=0.2, keep=True)
    assert (again.kept, again.assigned) == (150, 0)
    assert site.space.split.read_bytes() == written


@settings(deadline=None, max_examples=40)
@given(st.integers(8, 60), st.integers(1, 60), st.integers(4, 12), st.sampled_from([{"folds": 3}, {"test": 0.3}]))
def test_new_patches_of_a_kept_group_follow_it(old: int, new: int, groups: int, plan: dict[str, Any]) -> None:
    samples = [Sample(key=f"k{i:03d}", group=f"g{i % groups}") for i in range(old + new)]
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), samples[:old])
        site.split(**plan)
        before = site.sides
        site.audit(samples)
        site.split(**plan, keep=True, seed=1)
        assert before.items() <= site.sides.items()
        assert straddling(samples, site.sides) == []
        assert len(site.sides) == old + new


def test_folds_are_filled_up_level(tmp_path: Path) -> None:
    site = Site(tmp_path, numbered(50))
    site.split(folds=4)
    before = site.sides
    site.audit(numbered(99))
    site.split(folds=4, keep=True)
    assert before.items() <= site.sides.items()
    assert sorted(Counter(site.sides.values()).values()) == [24, 25, 25, 25]


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (
            {"folds": 3},
            {"folds": 4},
            "FOLDER/out/split.parquet has 3 folds, but you ask for the splits fold_0, fold_1, "
            "fold_2, fold_3 with --keep; ask for the same splits, or leave --keep out.",
        ),
        (
            {"folds": 3},
            {},
            "FOLDER/out/split.parquet has 3 folds, but you ask for the splits train, test with "
            "--keep; ask for the same splits, or leave --keep out.",
        ),
        (
            {},
            {"folds": 2},
            "FOLDER/out/split.parquet has the split test, but you ask for the splits fold_0, "
            "fold_1 with --keep; ask for the same splits, or leave --keep out.",
        ),
        (
            {"val": 0.2},
            {},
            "FOLDER/out/split.parquet has the split val, but you ask for the splits train, test "
            "with --keep; ask for the same splits, or leave --keep out.",
        ),
    ],
)
def test_an_earlier_split_of_other_sides_is_not_kept(
    tmp_path: Path, first: dict[str, Any], then: dict[str, Any], message: str
) -> None:
    site = Site(tmp_path, numbered(20))
    site.split(**first)
    before = site.space.split.read_bytes()
    assert refusal(site, **then, keep=True) == message
    assert site.space.split.read_bytes() == before


def test_a_side_can_be_added_to_a_kept_split(tmp_path: Path) -> None:
    site = Site(tmp_path, numbered(50))
    site.split(test=0.2)
    site.audit(numbered(100))
    site.split(test=0.2, val=0.1, keep=True)
    assert Counter(site.sides.values()) == {"train": 70, "val": 10, "test": 20}


def test_without_an_earlier_split_there_is_nothing_to_keep(tmp_path: Path) -> None:
    assert refusal(Site(tmp_path, numbered(5)), keep=True) == (
        "There is no FOLDER/out/split.parquet yet for --keep; leave --keep out the first time."
    )


def test_groups_that_an_earlier_split_tore_apart_are_not_kept(tmp_path: Path) -> None:
    site = Site(tmp_path, numbered(10))
    site.split(test=0.5)
    site.audit(numbered(10, group="slide"))
    last = max(key for key, side in site.sides.items() if side == "train")
    first = min(key for key, side in site.sides.items() if side == "test")
    assert refusal(site, test=0.5, keep=True) == (
        f"The given splits separate group 'slide': {last}.jpg in train (earlier split) and "
        f"{first}.jpg in test (earlier split); leave --keep out to make a new split."
    )


def test_the_pairs_file_and_the_earlier_split_must_agree(tmp_path: Path) -> None:
    site = Site(tmp_path, numbered(10))
    site.split(test=0.5)
    moved = next(key for key, side in site.sides.items() if side == "train")
    site.audit([Sample(key=key, side="test" if key == moved else None) for key in site.sides])
    line = list(site.sides).index(moved) + 2
    assert refusal(site, test=0.5, keep=True) == (
        f"{moved}.jpg cannot keep its split: it is in train in FOLDER/out/split.parquet, but in test "
        f"in line {line} of FOLDER/pairs.csv; correct the column and audit again, or leave --keep "
        "out."
    )


def test_kept_and_given_sides_count_together(tmp_path: Path) -> None:
    site = Site(tmp_path, numbered(10))
    site.split(test=0.5)
    new = [Sample(key=f"new{i}", side="extra") for i in range(4)]
    site.audit([*numbered(10), *new, Sample(key="other")])
    result = site.split(test=0.5, keep=True)
    assert (result.given, result.kept, result.assigned) == (4, 10, 1)
    site.split(test=0.5, keep=True)  # whose earlier split has the name that only the pairs file gives
    assert Counter(site.sides.values())["extra"] == 4
