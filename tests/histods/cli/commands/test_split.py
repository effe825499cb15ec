"""`histods split`: balance, leaks and gaps in words; what is shown is what is in the document."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from histods.classes.absent_classes import AbsentClass
from histods.cli.commands.split import show_split, to_document
from histods.splits.groups import Proposal
from histods.splits.split_table import SplitCheck, SplitOptions
from histods.steps.split import SplitResult, SplitSize

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.histods.cli.commands.conftest import Place

CHECK = SplitCheck(
    samples=1000, missing=0, doubled=0, unknown=0, groups=8, straddling_groups=0, duplicates=3,
    straddling_duplicates=0, sizes={},
)  # fmt: skip
RESULT = SplitResult(
    path=Path("/out/split.parquet"),
    splits=(
        SplitSize(name="train", conditional=600, unconditional=200, target=80.0),
        SplitSize(name="test", conditional=150, unconditional=50, target=None),
    ),
    labels=(),
    absent=(),
    groups=(),
    ungrouped=0,
    proposed=None,
    given=0,
    kept=0,
    followed=0,
    assigned=1000,
    excluded=0,
    pairs=None,
    check=CHECK,
    options=SplitOptions(test=0.2, val=0.0, folds=None, seed=0, keep=False),
    audit="histods audit /d",
    manifest_digest="0",
)


def test_the_command_prints_the_sizes_of_its_document(copied: Place) -> None:
    result = copied.run("split", "--test", "0.4", "--json")
    document = json.loads(result.stdout)
    words = " ".join(result.stderr.split())
    assert sum(row["samples"] for row in document["splits"].values()) == document["check"]["samples"] == 7
    for name, row in document["splits"].items():
        assert f"{name} {row['conditional']} {row['unconditional']} {row['samples']}" in words
    assert f"0 of {document['check']['groups']} groups" in words


def test_sizes_shares_and_the_proof_are_shown(printed: Callable[..., str]) -> None:
    shown = printed(show_split, RESULT)
    assert "train 600 200 800 80.00 80.00" in shown
    assert "test 150 50 200 20.00 -" in shown
    assert (
        "Checked: 0 of 8 groups and 0 of 3 sets of duplicates are in more than one split; each of 1,000 samples "
        "is in exactly one split."
    ) in shown
    assert "warning" not in shown


def test_leaks_that_could_not_be_looked_for_are_warned_of_with_the_command(printed: Callable[..., str]) -> None:
    blind = replace(
        RESULT,
        check=replace(CHECK, groups=0, duplicates=None),
        proposed=Proposal("^([^_]+)_", 12, "s1_x", "s1"),
    )
    shown = printed(show_split, blind)
    assert "warning: no groups are known, so patches of one slide may be in several splits" in shown
    assert "histods split --group-regex '^([^_]+)_'" in shown
    assert "Duplicates were not looked for: run 'histods audit /d --hash' first." in shown
    assert "groups are in more than one split" not in shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": 0}, "class 3 Ärzte of m has no pixel in any split; training never draws it"),
        (
            {"units": 1, "group": "slide 7"},
            "class 3 Ärzte of m has pixels in one group only (slide 7), so that a split by group cannot give it "
            "to both: test has none",
        ),
        ({"units": 1}, "in one image only, so that a split by image cannot give it to both: test has none"),
        (
            {"units": 1200},
            "has no pixel in test, although 1,200 groups hold it; try another --seed or other fractions",
        ),
        ({"system": "labels", "name": "label 3", "samples": 0}, "warning: label 3 has no pixel in any split"),
    ],
    ids=["nowhere", "one slide", "one image", "bad luck", "label"],
)
def test_a_class_that_a_split_lacks_is_explained(
    changes: dict[str, object], said: str, printed: Callable[..., str]
) -> None:
    row = AbsentClass(system="m", index=3, name="Ärzte", splits=("test",), samples=5, units=2, group=None)
    result = replace(RESULT, absent=(replace(row, **changes),))  # type: ignore[arg-type]
    assert said in printed(show_split, result)
    assert to_document(result)["absent"][0]["splits"] == ["test"]


def test_of_many_classes_the_first_are_listed_and_the_others_counted(printed: Callable[..., str]) -> None:
    rows = [
        AbsentClass(system="m", index=number, name="x", splits=("test",), samples=0, units=0, group=None)
        for number in range(9)
    ]
    shown = printed(show_split, replace(RESULT, absent=tuple(rows)))
    assert shown.count("warning: class") == 5
    assert "and 4 more classes of m without a pixel in a split, with --json" in shown
