"""The class system of a workspace: label maps come back as recorded, and histograms are those of rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.classes.class_system import (
    choose_map,
    choose_workspace_map,
    find_by_digest,
    flatten_labels,
    list_column,
    list_label_maps,
    read_class_systems,
    read_kept_map,
)
from histods.colours.colour_labels import OFF_PALETTE_LABEL
from histods.dataset.manifest import write_table
from histods.errors import HistodsError
from histods.io.atomic import write_json
from histods.io.workspace import Workspace
from histods.labels.label_map import LabelMap, LabelTable

if TYPE_CHECKING:
    from pathlib import Path

NAMES = LabelTable(names={0: "none", 3: "tumour"})
LABELS = np.array([0, 3], dtype=np.uint16)
ROWS = st.lists(
    st.none() | st.dictionaries(st.integers(0, 65535), st.integers(1, 2**32 - 1), max_size=4), max_size=8
)
MAPS = st.builds(
    lambda classes, table, unmapped: LabelMap(
        name="m",
        classes=tuple(f"class {index}" for index in range(classes)),
        table={label: index % classes for label, index in table.items()},
        unmapped=None if unmapped is None else unmapped % classes,
    ),
    st.integers(1, 256),
    st.dictionaries(st.integers(0, 65535), st.integers(0, 255), max_size=6),
    st.none() | st.integers(0, 255),
)


def keep(space: Workspace, label_map: LabelMap, name: str = "m", **more: object) -> None:
    """Record a map as `remap` does."""
    classes = [
        {"name": found, "labels": list(label_map.labels_of(index))}
        for index, found in enumerate(label_map.classes)
    ]
    document = {"classes": classes, "unmapped": {"class": label_map.unmapped}, "map_digest": label_map.digest}
    write_json(space.remap_summary(name), document | more)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_lists_of_rows_are_flattened_and_come_back(rows: list[dict[int, int] | None]) -> None:
    kinds = {"labels": pa.list_(pa.uint16()), "pixels": pa.list_(pa.uint32())}
    columns = {
        name: pa.array([None if row is None else list(part(row)) for row in rows], kinds[name])
        for name, part in (("labels", dict.keys), ("pixels", dict.values))
    }
    found = flatten_labels(pa.table(columns))
    for place, row in enumerate(rows):
        inside = slice(*found.offsets[place : place + 2])
        assert dict(zip(found.labels[inside].tolist(), found.pixels[inside].tolist(), strict=True)) == (row or {})
    nulls = pa.array([row is None for row in rows], pa.bool_())
    assert list_column(found.labels, found.offsets, nulls).to_pylist() == columns["labels"].to_pylist()


@settings(max_examples=30, deadline=None)
@given(MAPS)
def test_a_recorded_map_comes_back_without_its_file(
    tmp_path_factory: pytest.TempPathFactory, label_map: LabelMap
) -> None:
    space = Workspace(tmp_path_factory.getbasetemp() / "out")
    keep(space, label_map)
    assert read_kept_map(space, "m") == label_map
    assert find_by_digest(space, label_map.digest) == "m"
    assert find_by_digest(space, "0" * 64) is None


SOUND = LabelMap(name="m", classes=("none", "tumour"), table={0: 0, 3: 1})


@pytest.mark.parametrize(
    "damage",
    [
        {"classes": None},
        {"classes": [{"name": "a"}]},
        {"classes": [{"name": 1, "labels": [0]}]},
        {"classes": [{"name": "a", "labels": [65536]}]},
        {"classes": [{"name": "a", "labels": [-1]}]},
        {"classes": [{"name": "a", "labels": ["0"]}]},
        {"classes": []},
        {"classes": [{"name": "a", "labels": [0]}, {"name": "a", "labels": [3]}]},
        {"unmapped": 7},
        {"unmapped": {"class": 2}},
        {"unmapped": {"class": -1}},
        {"unmapped": {"class": True}},
        {"map_digest": "0" * 64},
        {"map_digest": None},
    ],
)
def test_a_damaged_record_is_refused_with_the_command_that_makes_it_again(
    tmp_path: Path, damage: dict[str, Any]
) -> None:
    space = Workspace(tmp_path)
    keep(space, SOUND, **damage)
    with pytest.raises(HistodsError) as refused:
        read_kept_map(space, "m")
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path}/remap/m.json is ")
    assert str(refused.value).endswith(f": run 'histods remap --map FILE -w {tmp_path}' again.")


def test_the_only_class_system_is_used_and_of_several_one_must_be_chosen(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")

    def chosen(name: str | None = None) -> LabelMap:
        return choose_workspace_map(name, space, tmp_path, LABELS, NAMES)

    assert chosen().name == "labels"
    keep(space, SOUND, "labels")
    assert list_label_maps(space) == []
    keep(space, SOUND, "two")
    assert (chosen().name, chosen("labels").name) == ("two", "labels")
    keep(space, SOUND, "one")
    with pytest.raises(HistodsError, match=r"has 2 label maps: one, two\. Choose one with --map one, or keep"):
        chosen()
    assert chosen("one").classes == SOUND.classes
    assert chosen("label_map_10.yml").name == "drsk-10"


def test_colours_of_no_label_cannot_stay_as_they_are(tmp_path: Path) -> None:
    coloured = LabelTable(names={0: "none"}, colours={0: (0, 0, 0)})
    found = np.array([0, OFF_PALETTE_LABEL], dtype=np.uint16)
    with pytest.raises(HistodsError, match="have colours that are not in the labels file"):
        choose_map(None, None, found, coloured)
    (tmp_path / "mine.yml").write_text("none: [0, 65535]\n")
    assert choose_map("mine.yml", tmp_path, found, coloured).table == {0: 0, OFF_PALETTE_LABEL: 0}


def test_class_systems_of_this_manifest_are_read_and_damaged_ones_are_left_to_others(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    rows = pa.table({"classes": pa.array([[0, 1], None], pa.list_(pa.uint16())), "pixels": [[5, 7], None]})

    def write(name: str, summary: str, table: str) -> None:
        keep(space, SOUND, name, manifest_digest=summary)
        write_table(rows, space.remap_table(name), {"manifest_digest": table})

    write("sound", "now", "now")
    write("earlier", "before", "before")
    write("half", "now", "before")
    write("damaged", "now", "now")
    space.remap_summary("damaged").write_text(json.dumps({"manifest_digest": "now"}))
    write("gone", "now", "now")
    space.remap_table("gone").unlink()
    ((name, classes, histograms),) = read_class_systems(space, "now")
    assert (name, classes) == ("sound", ("none", "tumour"))
    assert (histograms.labels.tolist(), histograms.offsets.tolist()) == ([0, 1], [0, 2, 2])
