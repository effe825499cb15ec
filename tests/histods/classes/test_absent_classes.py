"""A class without a pixel in a split is named, with the reason: too few groups, too few images, or bad luck."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from histods import HistodsError, remap, split
from histods.classes.coverage import find_gaps
from histods.cli.commands.split import show_split, to_document
from histods.dataset.manifest import SCHEMA, Manifest
from histods.io.atomic import file_digest, write_json
from histods.io.workspace import Workspace

if TYPE_CHECKING:
    from histods.steps.split import SplitResult

Sample = tuple[str | None, Mapping[int, int]]  # group; pixels of each label
MAP = "name: three\nclasses: [Unknown, Tumour, Rare]\nmap: {Unknown: [0], Tumour: ['1-4'], Rare: [5, 6]}\n"


def audited(folder: Path, samples: Sequence[Sample], role: str = "conditional") -> Workspace:
    """A workspace in which an audit of the samples would have ended."""
    space = Workspace(folder / "out")
    rows = [
        {"key": f"k{number:03d}", "image_path": f"k{number:03d}.png", "role": role, "group": group}
        | {"labels": sorted(pixels), "pixels": [pixels[label] for label in sorted(pixels)]}
        for number, (group, pixels) in enumerate(samples)
    ]
    Manifest(pa.Table.from_pylist(rows, SCHEMA), {}).write(space.manifest)
    document = {
        "root": str(folder / "data"),
        "labels": [{"label": 5, "name": "Structural", "pixels": 1, "percent": 100.0, "images": 1}],
        "options": {"labels": "gone.yml", "nearest_colour": False, "pairs": None, "pairs_digest": None},
        "command": "histods audit data",
        "manifest_digest": file_digest(space.manifest),
    }
    write_json(space.audit, document)
    return space


def slides(number: int, *, each: int = 4, rare: Mapping[int, int] | None = None) -> list[Sample]:
    """Slides of `each` patches with labels 0 and 1; `rare` says how many patches of which slide hold label 5."""
    rare = rare or {}
    return [
        (f"slide_{slide}", {0: 100, 1: 50} | ({5: 7} if patch < rare.get(slide, 0) else {}))
        for slide in range(number)
        for patch in range(each)
    ]


def alone(number: int, *, rare: int = 0) -> list[Sample]:
    """Patches without groups, of which the first `rare` hold label 5."""
    return [(None, {0: 100, 1: 50} | ({5: 7} if index < rare else {})) for index in range(number)]


def printed(result: SplitResult) -> str:
    text = io.StringIO()
    show_split(Console(file=text, width=80), result)
    assert max(map(len, text.getvalue().splitlines())) <= 80
    return " ".join(text.getvalue().split())


ABSENT = {
    "one group": (
        slides(8, rare={3: 4}),
        {},
        "has pixels in one group only (slide_3), so that a split by group cannot give it to both: test has none",
    ),
    "one patch of one group": (
        slides(8, rare={0: 1}),
        {},
        "has pixels in one group only (slide_0), so that a split by group cannot give it to both: test has none",
    ),
    "one image": (
        alone(30, rare=1),
        {},
        "has pixels in one image only, so that a split by image cannot give it to both: test has none",
    ),
    "two groups, three splits": (
        slides(12, rare={2: 2, 5: 2}),
        {"val": 0.2},
        "has pixels in 2 groups only, so that a split by group cannot give it to all 3 splits",
    ),
    "two images, five folds": (
        alone(30, rare=2),
        {"folds": 5},
        "has pixels in 2 images only, so that a split by image cannot give it to all 5 splits",
    ),
    "three groups, four folds": (
        slides(12, rare={2: 2, 5: 2, 7: 1}),
        {"folds": 4},
        "has pixels in 3 groups only, so that a split by group cannot give it to all 4 splits",
    ),
}


@pytest.mark.parametrize(("samples", "options", "reason"), ABSENT.values(), ids=ABSENT)
def test_what_a_split_lacks_is_named_with_the_reason(
    samples: list[Sample], options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    space = audited(tmp_path, samples)
    (tmp_path / "three.yml").write_text(MAP)
    remap(workspace=space.folder, map=tmp_path / "three.yml")
    fractions: dict[str, Any] = {} if "folds" in options else {"test": 0.25}
    result = split(workspace=space.folder, **fractions, **options)
    words = printed(result)
    assert f"warning: label 5 Structural {reason}" in words
    assert f"warning: class 2 Rare of three {reason}" in words
    rows = {(row["system"], row["index"]): row for row in to_document(result)["absent"]}
    assert rows.keys() == {("labels", 5), ("three", 2)}
    row = rows["three", 2]
    holders = [group for group, pixels in samples if 5 in pixels]
    assert row["samples"] == len(holders)
    assert row["units"] == (len(set(holders)) if holders[0] else len(holders))
    assert row["splits"] == rows["labels", 5]["splits"]


SOUND = {
    "every slide": (slides(8, rare=dict.fromkeys(range(8), 2)), {}),
    "four slides": (slides(8, rare={1: 2, 2: 2, 5: 2, 6: 2}), {}),
    "no groups": (alone(40, rare=12), {}),
    "folds": (slides(10, rare=dict.fromkeys(range(10), 1)), {"folds": 5}),
    "no rare label": (slides(6), {}),
}


@pytest.mark.parametrize(("samples", "options"), SOUND.values(), ids=SOUND)
def test_where_every_split_has_every_label_nothing_is_said(
    samples: list[Sample], options: dict[str, Any], tmp_path: Path
) -> None:
    space = audited(tmp_path, samples)
    fractions: dict[str, Any] = {} if "folds" in options else {"test": 0.25}
    result = split(workspace=space.folder, **fractions, **options)
    assert result.absent == ()
    assert to_document(result)["absent"] == []
    assert "has pixels in" not in printed(result)
    assert "has no pixel" not in printed(result)


def test_a_class_that_no_mask_holds_is_named(tmp_path: Path) -> None:
    space = audited(tmp_path, slides(6))
    (tmp_path / "three.yml").write_text(MAP)
    remap(workspace=space.folder, map=tmp_path / "three.yml")
    words = printed(split(workspace=space.folder, test=0.25))
    assert "class 2 Rare of three has no pixel in any split; training never draws it" in words
    assert "label 5" not in words


def test_class_systems_of_an_earlier_audit_are_passed_over(tmp_path: Path) -> None:
    space = audited(tmp_path, slides(8, rare={3: 4}))
    (tmp_path / "three.yml").write_text(MAP)
    remap(workspace=space.folder, map=tmp_path / "three.yml")
    audited(tmp_path, slides(7, rare={3: 4}))
    assert {row.system for row in split(workspace=space.folder, test=0.25).absent} == {"labels"}


def test_of_many_labels_the_first_ones_are_named_and_the_others_counted(tmp_path: Path) -> None:
    samples = slides(8)
    samples[0] = ("slide_0", {0: 1} | dict.fromkeys(range(10, 40), 3))
    words = printed(split(workspace=audited(tmp_path, samples).folder, test=0.25))
    assert words.count("has pixels in one group only") == 5
    assert "and 25 more labels without a pixel in a split, with --json" in words


@pytest.mark.parametrize("number", [0, 1, 5])
def test_where_nothing_is_in_use_one_line_says_so(number: int, tmp_path: Path) -> None:
    space = audited(tmp_path, slides(1, each=number), role="excluded")
    with pytest.raises(HistodsError) as refused:
        split(workspace=space.folder)
    found = f"all {number} excluded" if number else "no image at all"
    assert str(refused.value) == (
        f"There are no samples in use to split in {space.folder} ({found}); 'histods show -w {space.folder}' "
        f"lists why; fix that, and run 'histods audit data -w {space.folder}' again."
    )


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_gaps_are_what_counting_one_by_one_finds(data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 12))
    splits = data.draw(st.integers(1, 4))
    units = np.array(data.draw(st.lists(st.integers(0, 5), min_size=number, max_size=number)))
    of_unit = data.draw(st.lists(st.integers(0, splits - 1), min_size=6, max_size=6))
    numbers = np.array([of_unit[unit] for unit in units])
    held = [data.draw(st.dictionaries(st.integers(0, 6), st.integers(0, 3), max_size=4)) for _ in range(number)]
    known = data.draw(st.sampled_from([None, 7]))
    gaps = find_gaps(
        np.array([label for one in held for label in sorted(one)], np.uint16),
        np.array([one[label] for one in held for label in sorted(one)], np.uint32),
        np.cumsum([0, *map(len, held)]),
        split_numbers=numbers,
        units=units,
        splits=splits,
        number=known,
    )
    expected = {}
    for label in range(1, 7):
        holders = [index for index, one in enumerate(held) if one.get(label)]
        lacking = tuple(split for split in range(splits) if split not in {numbers[index] for index in holders})
        if lacking and (holders or known):
            held_by = len({units[index] for index in holders})
            expected[label] = lacking, len(holders), held_by, min(holders, default=-1)
    assert {gap.index: (gap.splits, gap.samples, gap.units, gap.example) for gap in gaps} == expected
