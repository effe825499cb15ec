"""split: nothing leaks, sizes and balance are what they are said to be, and what is given stays."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods import HistodsError, audit, shard, split
from histods.cli.commands.split import to_document
from histods.dataset.manifest import SCHEMA, Manifest, read_table
from histods.errors import StaleFileError
from histods.io.atomic import file_digest, write_json
from histods.io.workspace import Workspace
from histods.splits.split_table import SplitOptions, read_any_split, read_split
from histods.steps.split import SplitResult
from tests.commands import histods, in_own_process


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of a manifest made by hand."""

    key: str
    role: str = "conditional"
    group: str | None = None
    digest: str | None = None
    pixels: Mapping[int, int] = field(default_factory=lambda: {1: 100})
    side: str | None = None


class Site:
    """A workspace in which an audit of the samples would have ended; no image is on disk."""

    def __init__(self, folder: Path, samples: Sequence[Sample]) -> None:
        self.folder, self.space = folder, Workspace(folder / "out")
        self.pairs = folder / "pairs.csv"
        self.audit(samples)

    def audit(self, samples: Sequence[Sample]) -> None:
        self.samples = {sample.key: sample for sample in samples}
        rows = [
            {
                "key": sample.key,
                "image_path": f"{sample.key}.jpg",
                "role": sample.role,
                "group": sample.group,
                "image_digest": sample.digest,
                "labels": sorted(sample.pixels) if sample.role == "conditional" else None,
                "pixels": [sample.pixels[i] for i in sorted(sample.pixels)]
                if sample.role == "conditional"
                else None,
            }
            for sample in samples
        ]
        Manifest(pa.Table.from_pylist(rows, SCHEMA), {}).write(self.space.manifest)
        named = any(sample.side is not None for sample in samples)
        if named:
            lines = [f'"{sample.key}.jpg",{sample.side or ""}' for sample in samples]
            self.pairs.write_text("\n".join(["image,split", *lines, ""]), encoding="utf-8")
        write_summary(
            self.space,
            root=self.folder / "data",
            pairs=str(self.pairs) if named else None,
            pairs_digest=file_digest(self.pairs) if named else None,
        )

    def split(self, **options: Any) -> SplitResult:
        return split(workspace=self.space.folder, **options)

    @property
    def sides(self) -> dict[str, str]:
        table = read_table(self.space.split)
        assert table["key"].to_pylist() == sorted(table["key"].to_pylist())
        return dict(zip(table["key"].to_pylist(), table["split"].to_pylist(), strict=True))


def write_summary(
    space: Workspace, *, root: Path, pairs: str | None = None, pairs_digest: str | None = None
) -> None:
    document = {
        "root": str(root),
        "labels": [{"label": 1, "name": "tumour", "pixels": 1, "percent": 100.0, "images": 1}],
        "options": {"labels": None, "nearest_colour": False, "pairs": pairs, "pairs_digest": pairs_digest},
        "command": f"histods audit {root} --pairs pairs.csv",
        "manifest_digest": file_digest(space.manifest),
    }
    write_json(space.audit, document)


def refusal(site: Site, **options: Any) -> str:
    with pytest.raises(HistodsError) as refused:
        site.split(**options)
    return str(refused.value).replace(str(site.folder), "FOLDER")


def numbered(number: int, **what: Any) -> list[Sample]:
    return [Sample(key=f"k{i:03d}", **what) for i in range(number)]


# Sizes


def write_dataset(folder: Path, conditional: int, unconditional: int, excluded: int, groups: int = 0) -> Workspace:
    """A manifest of many rows with a few labels each, written at once."""
    random = np.random.default_rng(5)
    total = conditional + unconditional + excluded
    roles = np.repeat(["conditional", "unconditional", "excluded"], [conditional, unconditional, excluded])
    random.shuffle(roles)
    held = np.where(roles == "conditional", random.integers(1, 5, total), 1)
    offsets = np.concatenate([[0], np.cumsum(held)])
    order = offsets[:-1].repeat(held)
    first = np.where(roles == "conditional", random.integers(1, 50, total), 0)
    labels = (first.repeat(held) + np.arange(offsets[-1]) - order).astype(np.uint16)
    keys = [f"patch_{i:06d}" for i in range(total)]
    columns: dict[str, Any] = {
        "key": keys,
        "image_path": [f"{key}.jpg" for key in keys],
        "role": roles.tolist(),
        "labels": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(labels)),
        "pixels": pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), pa.array(random.integers(1, 2**16, offsets[-1]).astype(np.uint32))
        ),
    }
    if groups:
        columns["group"] = [f"slide {i % groups}" for i in range(total)]
    empty = {name: pa.nulls(total, SCHEMA.field(name).type) for name in SCHEMA.names if name not in columns}
    space = Workspace(folder)
    Manifest(pa.table(columns | empty).select(SCHEMA.names).cast(SCHEMA), {}).write(space.manifest)
    write_summary(space, root=folder / "data")
    return space


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The skin dataset's size: 246,755 samples, 5 of them excluded."""
    return write_dataset(tmp_path_factory.mktemp("large"), 90_726, 156_024, 5)


def test_a_quarter_of_a_million_patches_are_split_to_the_image(large: Workspace) -> None:
    result = split(workspace=large.folder, test=0.1, seed=0)
    assert {side.name: (side.conditional, side.unconditional) for side in result.splits} == {
        "train": (81_653, 140_422),
        "test": (9_073, 15_602),
    }
    assert [side.samples for side in result.splits] == [222_075, 24_675]
    assert (result.excluded, result.check.samples, result.check.sound) == (5, 246_750, True)
    table = read_table(large.split)
    assert len(table) == 246_750
    assert max(row.deviation for row in result.labels) < 0.5


def test_folds_of_a_quarter_of_a_million_patches_are_level(large: Workspace) -> None:
    result = split(workspace=large.folder, folds=7)
    conditional, unconditional, samples = zip(
        *((side.conditional, side.unconditional, side.samples) for side in result.splits), strict=True
    )
    assert (sum(conditional), sum(unconditional)) == (90_726, 156_024)
    assert max(map(np.ptp, (conditional, unconditional, samples))) <= 1
    assert [side.name for side in result.splits] == [f"fold_{i}" for i in range(7)]


# Any dataset

ROLES = st.sampled_from(["conditional", "conditional", "unconditional", "excluded"])
DATASETS = st.lists(
    st.tuples(
        ROLES,
        st.none() | st.sampled_from(["slide 1", "slide 2", "sl;de, 3", "Gewebe ü"]),
        st.integers(0, 12),
        st.dictionaries(st.integers(0, 6), st.integers(1, 5000), min_size=1),
    ),
    min_size=1,
    max_size=40,
)
PLANS = st.one_of(
    st.fixed_dictionaries({"test": st.floats(0.05, 0.6), "val": st.sampled_from([0.0, 0.1, 0.3])}),
    st.fixed_dictionaries({"folds": st.integers(2, 5)}),
)


@settings(deadline=None, max_examples=150)
@given(DATASETS, st.booleans(), st.booleans(), PLANS, st.integers(0, 2**63 - 1))
def test_of_any_dataset_nothing_leaks_and_the_report_is_true(
    rows: list[tuple[str, str | None, int, dict[int, int]]],
    hashed: bool,
    grouped: bool,
    plan: dict[str, Any],
    seed: int,
) -> None:
    samples = [
        Sample(
            key=f"Schnitt ß/{i:02d}",
            role=role,
            group=group if grouped else None,
            # digests 0..9 are one image's alone
            digest=(f"same {digest}" if digest > 9 else f"only {i}") if hashed else None,
            pixels=pixels,
        )
        for i, (role, group, digest, pixels) in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), samples)
        usable = [sample for sample in samples if sample.role != "excluded"]
        names = [f"fold_{i}" for i in range(plan["folds"])] if "folds" in plan else ["train", "test"]
        names += ["val"] if plan.get("val") else []
        units = {sample.group or sample.digest or sample.key for sample in usable}
        try:
            result = site.split(**plan, seed=seed)
        except HistodsError as error:
            assert "\n" not in str(error)
            assert len(units) < 4 * len(names) or sizes_by_hand(usable, plan).count(0) > 0, error
            return
        sides = site.sides
        assert sides.keys() == {sample.key for sample in usable}
        assert set(sides.values()) == set(names)
        assert straddling(usable, sides) == []
        if not grouped and len({sample.digest or sample.key for sample in usable}) == len(usable):
            assert [by_role(usable, sides, name) for name in names] == exact_sizes(usable, names, plan)
        assert_report_is_true(result, usable, sides)
        before = site.space.split.read_bytes()
        site.split(**plan, seed=seed)
        assert site.space.split.read_bytes() == before
        site.audit(samples[::-1])
        site.split(**plan, seed=seed)
        assert site.sides == sides


def sizes_by_hand(usable: Sequence[Sample], plan: dict[str, Any]) -> list[int]:
    """Samples that each split but the first should get, or nothing with folds."""
    counts = Counter(sample.role for sample in usable)
    fractions = [plan[name] for name in ("test", "val") if plan.get(name)]
    return [sum(floor(fraction * count + 0.5) for count in counts.values()) for fraction in fractions]


def exact_sizes(usable: Sequence[Sample], names: Sequence[str], plan: dict[str, Any]) -> list[tuple[int, int]]:
    """Conditional and unconditional samples of each split, counted out as the README says."""
    roles = Counter(sample.role for sample in usable)
    counts = roles["conditional"], roles["unconditional"]
    if "folds" in plan:
        folds = plan["folds"]
        deck = [i % folds for i in range(sum(counts))]
        parts = deck[: counts[0]], deck[counts[0] :]
        return [(parts[0].count(i), parts[1].count(i)) for i in range(folds)]
    sizes = {name: [floor(plan[name] * count + 0.5) for count in counts] for name in names if name != "train"}
    sizes["train"] = [count - sum(others) for count, *others in zip(counts, *sizes.values(), strict=True)]
    return [(sizes[name][0], sizes[name][1]) for name in names]


def by_role(usable: Sequence[Sample], sides: Mapping[str, str], name: str) -> tuple[int, int]:
    roles = Counter(sample.role for sample in usable if sides[sample.key] == name)
    return roles["conditional"], roles["unconditional"]


def straddling(usable: Sequence[Sample], sides: Mapping[str, str]) -> list[str]:
    """Groups and digests in more than one split."""
    seen: dict[str, set[str]] = {}
    for sample in usable:
        for name in (sample.group, sample.digest):
            if name is not None:
                seen.setdefault(name, set()).add(sides[sample.key])
    return [name for name, where in seen.items() if len(where) > 1]


def assert_report_is_true(result: SplitResult, usable: Sequence[Sample], sides: Mapping[str, str]) -> None:
    """Sizes, balance and check equal what a plain count of the file gives; the document says the same."""
    document = to_document(result)
    assert result.check.sound
    assert document["check"]["samples"] == len(usable)
    assert document["check"]["groups"] == len({sample.group for sample in usable if sample.group is not None})
    shared = Counter(sample.digest for sample in usable if sample.digest is not None)
    known = sum(shared.values()) == len(usable)
    assert document["check"]["duplicates"] == (sum(n > 1 for n in shared.values()) if known else None)
    for name, counts in document["splits"].items():
        assert (counts["conditional"], counts["unconditional"]) == by_role(usable, sides, name)
        assert counts["samples"] == counts["conditional"] + counts["unconditional"]
    pixels: Counter[tuple[int, str]] = Counter()
    for sample in usable:
        if sample.role == "conditional":
            pixels.update({(label, sides[sample.key]): n for label, n in sample.pixels.items()})
    assert [row["label"] for row in document["labels"]] == sorted({label for label, _ in pixels})
    for row in document["labels"]:
        total = sum(n for (label, _), n in pixels.items() if label == row["label"])
        assert row["pixels"] == total
        off = 0.0
        for name, percent in row["percent"].items():
            assert percent == pytest.approx(100 * pixels[row["label"], name] / total)
            target = document["splits"][name]["target_percent"]
            off = max(off, abs(percent - target)) if target is not None else off
        assert row["deviation"] == pytest.approx(off)


# Sides that are given


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


# Keeping an earlier split


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


# Refusals, staleness, kills


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (
            [],
            {},
            "There are no samples in use to split in FOLDER/out (no image at all); 'histods show "
            "-w FOLDER/out' lists why; fix that, and run 'histods audit FOLDER/data --pairs "
            "pairs.csv -w FOLDER/out' again.",
        ),
        (
            numbered(3, role="excluded"),
            {},
            "There are no samples in use to split in FOLDER/out (all 3 excluded); 'histods show -w "
            "FOLDER/out' lists why; fix that, and run 'histods audit FOLDER/data --pairs pairs.csv "
            "-w FOLDER/out' again.",
        ),
        (
            numbered(4),
            {"folds": 5},
            "Each of 5 splits needs a group or a single image, but there are only 4 to share out; "
            "ask for fewer splits.",
        ),
        (
            numbered(20, group="the only slide"),
            {},
            "Each of 2 splits needs a group or a single image, but there is only 1 to share out; "
            "ask for fewer splits.",
        ),
        (
            numbered(9, digest="the same bytes"),
            {"folds": 2},
            "Each of 2 splits needs a group or a single image, but there is only 1 to share out; "
            "ask for fewer splits.",
        ),
        (
            numbered(4),
            {},
            "test would get no samples: the 4 to share out are in 4 groups or single images, too "
            "few to give it one; give it a larger fraction.",
        ),
        (numbered(4), {"seed": -1}, "--seed -1 is not between 0 and 2**64-1; give such a number."),
    ],
)
def test_what_cannot_be_split_is_refused(
    tmp_path: Path, samples: list[Sample], options: dict[str, Any], message: str
) -> None:
    site = Site(tmp_path, samples)
    assert refusal(site, **options) == message
    assert not site.space.split.exists()


def test_as_many_groups_as_folds_are_enough(tmp_path: Path) -> None:
    sizes = (1, 2, 3, 50, 400)
    samples = [Sample(key=f"{size}_{i}", group=str(size)) for size in sizes for i in range(size)]
    site = Site(tmp_path, samples)
    result = site.split(folds=5)
    assert sorted(side.samples for side in result.splits) == list(sizes)


def test_without_an_audit_or_with_a_changed_manifest_nothing_is_split(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="^There is no audit in "):
        split(workspace=tmp_path / "nothing")
    site = Site(tmp_path, numbered(10))
    Manifest(Manifest.read(site.space.manifest).table.slice(1), {}).write(site.space.manifest)
    with pytest.raises(StaleFileError, match="has changed since the audit wrote it; run "):
        site.split()


def test_a_new_audit_makes_the_split_stale_and_a_new_split_mends_it(tmp_path: Path) -> None:
    site = Site(tmp_path, numbered(20))
    site.split(test=0.25, seed=3)
    site.audit(numbered(21))
    with pytest.raises(StaleFileError) as refused:
        read_split(site.space, site.space.read_audit().manifest_digest)
    command = str(refused.value).split("'")[1]
    assert command == f"histods split --test 0.25 --seed 3 -w {site.space.folder}"
    assert histods(*command.split()[1:]).returncode == 0
    found = read_split(site.space, site.space.read_audit().manifest_digest)
    assert found is not None
    assert found[1] == file_digest(site.space.split)


ENDED_BEFORE_IT_RENAMES = """
import os, signal
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from histods.__main__ import main
main()
"""


def test_a_kill_leaves_the_old_split_or_the_new_one(tmp_path: Path) -> None:
    space = write_dataset(tmp_path / "out", 20_000, 20_000, 5, groups=300)
    split(workspace=space.folder, test=0.4)
    old = space.split.read_bytes()
    split(workspace=space.folder, test=0.2)
    new = space.split.read_bytes()
    assert old != new
    options = ["split", "--test", "0.2", "-w", str(space.folder), "-q"]
    split(workspace=space.folder, test=0.4)
    done = subprocess.run([sys.executable, "-c", ENDED_BEFORE_IT_RENAMES, *options], check=False)
    assert done.returncode == -signal.SIGKILL
    assert any(space.folder.rglob("*.part"))
    assert space.split.read_bytes() == old
    moments = random.Random(0)
    for _ in range(4):
        split(workspace=space.folder, test=0.4)
        for part in space.folder.rglob("*.part"):
            part.unlink()
        process = subprocess.Popen([sys.executable, "-m", "histods", *options])
        while process.poll() is None and not any(space.folder.rglob("*.part")):  # until something is written
            pass
        time.sleep(moments.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert space.split.read_bytes() in (old, new)
    split(workspace=space.folder, test=0.2)
    assert space.split.read_bytes() == new


@pytest.mark.parametrize(
    "kernels", [{"OPENBLAS_CORETYPE": "Prescott"}, {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"}]
)
@pytest.mark.parametrize("groups", [0, 300])
def test_every_machine_makes_the_same_split(tmp_path: Path, groups: int, kernels: dict[str, str]) -> None:
    """Other kernels of the matrix product add in another order, which is no matter where every sum is exact."""
    space = write_dataset(tmp_path / "out", 3_000, 2_000, 5, groups=groups)
    split(workspace=space.folder, test=0.2, val=0.1)
    here = space.split.read_bytes()
    space.split.unlink()
    made = in_own_process(
        "split", "--test", "0.2", "--val", "0.1", "-w", space.folder, env={**os.environ, **kernels}
    )
    assert made.returncode == 0
    assert space.split.read_bytes() == here


# The command


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real images of five slides, with a pairs file that gives some sides, and two images of the same bytes."""
    root = tmp_path_factory.mktemp("real") / "data"
    root.mkdir()
    lines = ["image,mask,split"]
    for number in range(40):
        name = f"s{number % 5}_{number:02d}"
        shade = 3 if number == 8 else number  # s3_03 and s3_08 are the same
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(root / f"{name}.png")
        Image.fromarray(np.full((8, 8), number % 3, np.uint8)).save(root / f"{name}_mask.png")
        lines.append(f"{name}.png,{name}_mask.png,{'test' if number == 4 else ''}")
    (root.parent / "pairs.csv").write_text("\n".join(lines))
    return root


def test_the_command_prints_what_it_did_in_80_columns(dataset: Path, tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    audit(dataset, workspace=space.folder, group_regex=r"^(s\d)", hash=True, workers=1)
    result = histods("split", "--test", "0.2", "-w", space.folder)
    assert result.returncode == 0
    assert result.stderr == ""
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert max(len(line) for line in result.stdout.splitlines() if not line.startswith("      /")) <= 80
    assert lines[:5] == [
        "Pixels of each label, %",
        "label name pixels train test",
        "0 label 0 896 78.57 21.43",
        "1 label 1 832 76.92 23.08",
        "2 label 2 832 84.62 15.38",
    ]
    first = lines.index("Split")
    assert lines[first : first + 5] == [
        "Split",
        "split conditional unconditional samples % target %",
        "train 21 11 32 80.00 80.00",
        "test 5 3 8 20.00 20.00",
        "",
    ]
    assert any(line.startswith("Next:") for line in lines[-4:])
    text = " ".join(lines)
    assert "Checked: 0 of 5 groups and 0 of 1 sets of duplicates are in more than one split; " in text
    assert "each of 40 samples is in exactly one split." in text
    assert "warning" not in text
    assert f"Written: {space.split}".replace(" ", "") in result.stdout.replace("\n", "").replace(" ", "")


def test_the_command_says_what_it_could_not_look_for(dataset: Path, tmp_path: Path) -> None:
    audit(dataset, workspace=tmp_path, workers=1)
    result = histods("split", "--folds", "6", "--seed", "2", "-w", tmp_path)
    text = " ".join(result.stdout.split())
    assert (
        "warning: no groups are known, so patches of one slide may be in several splits; give groups with" in text
    )
    assert "'histods split --group-regex', or in the pairs file of the audit." in text
    again = f"Duplicates were not looked for: run 'histods audit {dataset} -w {tmp_path} --hash' first."
    assert again.replace(" ", "") in text.replace(" ", "")
    assert "Checked: each of 40 samples is in exactly one split." in text
    assert "lowest highest" in text


def test_sides_of_a_real_pairs_file_are_honoured_and_noted(dataset: Path, tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    pairs = dataset.parent / "pairs.csv"
    result = audit(dataset, workspace=space.folder, pairs=pairs, group_regex=r"^(s\d)", workers=1)
    assert result.options.pairs == str(pairs.resolve())
    assert result.options.pairs_digest == file_digest(pairs)
    assert audit(dataset, workspace=space.folder, pairs=pairs, group_regex=r"^(s\d)").options == result.options
    command = histods("split", "--json", "-q", "-w", space.folder)
    document = json.loads(command.stdout)
    assert command.stderr == ""
    assert document["samples"] == {
        "assigned": 32,
        "given": 1,
        "kept": 0,
        "followed": 7,
        "excluded": 0,
        "without_group": 0,
    }
    assert document["splits"]["test"]["samples"] == 8
    assert document["splits"]["test"]["target_percent"] == 10.0
    assert document["check"]["groups_in_several_splits"] == 0
    sides = read_table(space.split).to_pydict()
    assert {k for k, side in zip(sides["key"], sides["split"], strict=True) if side == "test"} == {
        f"s4_{number:02d}" for number in range(4, 40, 5)
    }
    kept = histods("split", "-w", space.folder, "--keep").stdout
    assert "39 samples stay where they were." in kept
    assert "Every sample already had its split, so that --test and --val were not used." in " ".join(kept.split())


def test_the_command_and_the_function_write_the_same(dataset: Path, tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    audit(dataset, workspace=space.folder, workers=1)
    arguments = ("--test", "0.3", "--val", "0.2", "--seed", "11")
    document = json.loads(histods("split", *arguments, "--json", "-w", space.folder).stdout)
    written = space.split.read_bytes()
    result = split(workspace=space.folder, test=0.3, val=0.2, seed=11)
    assert space.split.read_bytes() == written
    assert json.loads(json.dumps(to_document(result))) == document
    assert result.options == SplitOptions(test=0.3, val=0.2, folds=None, seed=11, keep=False)


def test_a_wrong_call_is_one_line_and_status_2(dataset: Path, tmp_path: Path) -> None:
    audit(dataset, workspace=tmp_path, workers=1)
    for arguments, line in (
        (
            ("--folds", "5", "--test", "0.1"),
            "--folds does not go together with --test or --val, because every fold is",
        ),
        (("--test", "1.5"), "--test 1.5 is not between 0 and 1; 0.1 is a tenth."),
        (
            ("--keep",),
            f"There is no {tmp_path}/split.parquet yet for --keep; leave --keep out the first time.",
        ),
    ):
        result = histods("split", *arguments, "-w", tmp_path)
        assert result.returncode == 2
        assert result.stderr.startswith(f"histods: {line}")
        assert result.stderr.count("\n") == 1


def test_a_hundred_labels_with_long_names_fit_and_the_rest_is_counted(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    samples = [
        Sample(key=f"k{i:03d}", pixels={int(label): 10**8 for label in random.integers(0, 100, 4)})
        for i in range(300)
    ]
    site = Site(tmp_path, samples)
    names = tmp_path / "labels.yml"
    names.write_text("labels:\n" + "".join(f"  {i}: {{name: {'tissue ' * 12}{i}}}\n" for i in range(100)))
    document = json.loads(site.space.audit.read_text())
    document["options"]["labels"] = str(names)
    write_json(site.space.audit, document)
    for options in (("--val", "0.1"), ("--folds", "4"), ("--folds", "12")):
        result = histods("split", *options, "-w", site.space.folder)
        assert max(len(line) for line in result.stdout.splitlines() if not line.startswith("      /")) <= 80
        table = result.stdout.partition("warning:")[0]
        assert len([line for line in table.splitlines() if "tissue" in line]) == 20
        assert "and 80 more labels, which are nearer to the target, with --json" in result.stdout


def test_groups_come_from_the_keys_without_a_new_audit(dataset: Path, tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    audit(dataset, workspace=space.folder, workers=1)
    result = histods("split", "--test", "0.2", "--group-regex", r"^(s[1-4])", "-w", space.folder)
    assert result.returncode == 0
    text = " ".join(result.stdout.split())
    assert "Groups of the first keys group key (none) s0_00 (none) s0_05" in text
    assert "warning: 8 of 40 keys do not match --group-regex; each is taken for a slide of its own." in text
    assert "Checked: 0 of 4 groups are in more than one split;" in text
    again = split(workspace=space.folder, test=0.2, group_regex=r"^(s\d)")
    assert (again.ungrouped, again.check.groups) == (0, 5)
    assert again.groups[0] == ("s0_00", "s0")
    table, options = read_any_split(space)
    assert options.group_regex == r"^(s\d)"
    assert options.command == r"histods split --test 0.2 --seed 0 --group-regex '^(s\d)'"
    sides = dict(zip(*table.to_pydict().values(), strict=True))
    assert all(len({side for key, side in sides.items() if key[:2] == slide}) == 1 for slide in ("s0", "s1", "s2"))
    whole = shard(workspace=space.folder, workers=1)
    groups = read_table(whole.folder / "index.parquet").select(["key", "group"]).to_pylist()
    assert {(row["key"][:2], row["group"]) for row in groups} == {(f"s{number}",) * 2 for number in range(5)}


@pytest.mark.parametrize("expression", ["(a", "(a)(b)"])
def test_a_wrong_expression_is_refused_before_anything_is_read(tmp_path: Path, expression: str) -> None:
    with pytest.raises(HistodsError, match=re.escape(f"--group-regex {expression!r}")):
        split(workspace=tmp_path / "nothing", group_regex=expression)
    with pytest.raises(HistodsError, match=re.escape(f"--group-regex {expression!r}")):
        audit(tmp_path, workspace=tmp_path.parent / "out", group_regex=expression)


def test_groups_of_the_keys_take_the_place_of_the_audits(tmp_path: Path) -> None:
    samples = [Sample(key=f"s{n % 4}_{n}", group="all") for n in range(16)]
    site = Site(tmp_path, samples)
    with pytest.raises(HistodsError, match="only 1 to share out"):
        site.split(test=0.25)
    result = site.split(test=0.25, group_regex="^(s.)_")
    assert (result.check.groups, result.check.straddling_groups) == (4, 0)


def test_a_seed_that_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match=r"--seed 9223372036854775808 has more than 64 bits"):
        split(workspace=tmp_path, seed=1 << 63)
