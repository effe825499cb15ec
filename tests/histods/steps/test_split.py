"""split: nothing leaks, and sizes and balance are what they are said to be."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods import HistodsError, split
from histods.cli.commands.split import to_document
from histods.dataset.manifest import read_table
from histods.io.workspace import Workspace
from histods.steps.split import SplitResult
from tests.histods.steps.split_sites import Sample, Site, straddling, write_dataset


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
