"""Label maps: the forms that are read, where they are found, and those that are bundled."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.labels.label_map import LabelMap, LabelTable
from histods.labels.label_map_file import find_label_map, read_label_map
from histods.labels.label_names import read_counts, read_labels
from tests.histods.labels.map_files import NAMES, write

# DRSK's classes as sets of labels, and the percentages of its published pixel counts.
FIVE = {
    "Unknown": ({0}, 74.01),
    "Background/Artifact": ({1, 2}, 4.29),
    "Inflammatory/Reactive": ({*range(10, 16), 19, 20, 26, 34, 38, 52}, 5.62),
    "Carcinoma": (
        {*range(3, 10), *range(16, 19), *range(21, 26), 27, *range(30, 34), *range(35, 38), 39, 40},
        2.27,
    ),
    "Normal Tissue": ({28, 29, *range(41, 52), 53, 54}, 13.81),
}
TEN = {
    "Unknown": ({0, 27}, 74.03),
    "Background": ({1}, 3.37),
    "Artifacts": ({2}, 0.92),
    "Carcinoma": ({3, 4, 16, 24, 25, *range(30, 33), *range(35, 38), 40}, 1.45),
    "Normal Dermis": ({28, 29}, 7.65),
    "Normal Epidermis": ({41, 42}, 0.60),
    "Normal Appendages": ({*range(43, 52), 53, 54}, 5.56),
    "Inflammatory": ({*range(10, 16), 26, 34}, 0.88),
    "Reactive": ({19, 20, 38, 52}, 4.73),
    "Structural": ({*range(5, 10), 17, 18, *range(21, 24), 33, 39}, 0.80),
}


def test_the_canonical_form_takes_names_numbers_ranges_and_single_labels(tmp_path: Path) -> None:
    text = """
        name: my-classes
        classes: {0: Unknown, 1: Tumour, 2: Stroma}
        map:
          Unknown: [0, 27]
          1: [10-12, 20, "30 - 31"]
          Stroma: 7
        unmapped: error
    """
    assert read_label_map(write(tmp_path, text)) == LabelMap(
        name="my-classes",
        classes=("Unknown", "Tumour", "Stroma"),
        table={0: 0, 27: 0, 10: 1, 11: 1, 12: 1, 20: 1, 30: 1, 31: 1, 7: 2},
        unmapped=None,
    )


def test_classes_may_be_a_list_and_other_labels_may_get_a_class(tmp_path: Path) -> None:
    for unmapped in ("b", "1", '"1"'):
        text = f"classes: [a, b]\nmap: {{a: [0]}}\nunmapped: {unmapped}\n"
        label_map = read_label_map(write(tmp_path, text, "two classes (v2).yml"))
        assert label_map == LabelMap(name="two-classes-v2", classes=("a", "b"), table={0: 0}, unmapped=1)
        assert label_map.warnings == ()


def test_a_class_without_labels_is_a_warning(tmp_path: Path) -> None:
    label_map = read_label_map(write(tmp_path, "classes: [a, b, c]\nmap: {a: [0], b: }\n"))
    assert label_map.warnings == (
        "class 1 (b) has no labels in label map map, so no pixel becomes it",
        "class 2 (c) has no labels in label map map, so no pixel becomes it",
    )


def test_pairs_of_label_and_class_are_read(tmp_path: Path) -> None:
    expected = LabelMap(name="map", classes=("class 0", "class 1"), table={0: 0, 5: 1, 10: 1, 11: 1})
    assert read_label_map(write(tmp_path, "0: 0\n5: 1\n10-11: 1\n")) == expected
    assert read_label_map(write(tmp_path, json.dumps({"0": 0, "5": 1, "10-11": 1}), "map.json")) == expected


def test_class_to_int_with_a_number_each_names_the_classes_of_the_masks(tmp_path: Path) -> None:
    text = (
        "features:\n  image: {dtype: uint8, encode: yes}\n"
        "  target__tfrec: {class_to_int: {bark: 0, knot: 1, defect: 2}}\n"
    )
    expected = LabelMap(name="map", classes=("bark", "knot", "defect"), table={0: 0, 1: 1, 2: 2})
    assert read_label_map(write(tmp_path, text)) == expected
    assert read_label_map(write(tmp_path, "classes: {class_to_int: {defect: 2, knot: 1, bark: 0}}")) == expected
    both = "classes: {class_to_int: {bark: 0}}\nfeatures: {x: {class_to_int: {bark: 0}}}"
    assert read_label_map(write(tmp_path, both)).classes == ("bark",)


def test_class_to_int_with_shared_numbers_merges_the_labels_of_these_names(tmp_path: Path) -> None:
    path = write(tmp_path, "classes: {class_to_int: {background: 0, stroma: 0, tumour: 1}}")
    assert read_label_map(path, NAMES) == LabelMap(
        name="map", classes=("class 0", "tumour"), table={0: 0, 9: 0, 3: 1, 4: 1}
    )


def test_class_to_int_falls_back_on_the_names_of_drsk(tmp_path: Path) -> None:
    text = 'features: {m: {class_to_int: {tissue_unknown: 0, Dermis_MARGIN: 0, "Dermis_Normal skin": 1}}}'
    for names in (None, LabelTable(names={})):
        label_map = read_label_map(write(tmp_path, text), names)
        assert (label_map.classes, label_map.table) == (("class 0", "Dermis_Normal skin"), {0: 0, 27: 0, 28: 1})


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_map_written_as_canonical_form_or_pairs_reads_back(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    count = data.draw(st.integers(1, 12))
    table = data.draw(st.dictionaries(st.integers(0, 65535), st.integers(0, count - 1), max_size=30))
    table |= {65535 - index: index for index in range(count)}  # pairs know only the classes that occur
    classes = tuple(f"class {index}" for index in range(count))
    expected = LabelMap(name="map", classes=classes, table=table)
    folder = tmp_path_factory.mktemp("maps")
    groups = {name: [label for label in table if table[label] == i] for i, name in enumerate(classes)}
    canonical = {"name": "map", "classes": list(classes), "map": groups}
    pairs = "".join(f"{label}: {index}\n" for label, index in table.items())
    for path in (write(folder, json.dumps(canonical), "map.json"), write(folder, pairs)):
        assert read_label_map(path) == expected
        assert read_label_map(path).digest == expected.digest


SPELLINGS = {
    "names": "Unknown: [0]\ntumour: [3, 4, 16]\nstroma: [10-12, 7]\n",
    "names, labels without brackets": "Unknown: 0\ntumour: 3, 4, 16\nstroma: 10-12, 7\n",
    "names, one label per line": "Unknown:\n- 0\ntumour:\n- 3\n- 4\n- 16\nstroma:\n- 7\n- 10 - 12\n",
    "class 0 left out": "tumour: [3-4, 16]\nstroma: [7, 10-12]\n",
    "under map": "map: {tumour: [3, 4, 16], stroma: [7, '10-12']}\n",
    "under classes": "classes: {tumour: [3, 4, 16], stroma: [7, 10-12]}\nunmapped: error\n",
    "classes and map": "classes: [Unknown, tumour, stroma]\nmap: {0: 0, 1: [3, 4, 16], stroma: [7, 10-12]}\n",
    "with a name": "name: map\ntumour: [3, 4, 16]\nstroma: [7, 10-12]\n",
    "beside names of labels": "0: none\n3: {name: a, colour: '#010203'}\n"
    "map: {tumour: [3, 4, 16], stroma: [7, 10-12]}",
    "below names of labels": "labels: {3: a, 4: b}\nclasses: {tumour: [3, 4, 16], stroma: [7, 10-12]}\n",
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_map_is_the_same_however_it_is_written(tmp_path: Path, text: str) -> None:
    table = {0: 0, 3: 1, 4: 1, 16: 1, 7: 2, 10: 2, 11: 2, 12: 2}
    expected = LabelMap(name="map", classes=("Unknown", "tumour", "stroma"), table=table)
    assert read_label_map(write(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("text", "table", "unmapped"),
    [
        ("0: [0, 27]\n1: [3, 4, 16]\n", {0: 0, 27: 0, 3: 1, 4: 1, 16: 1}, None),
        ("0: 0\n1: [3-5]\n", {0: 0, 3: 1, 4: 1, 5: 1}, None),
        ("1: 3-5\n0: [0]\n", {0: 0, 3: 1, 4: 1, 5: 1}, None),
        ('{"0": [0], "1": ["3", "4-5"]}', {0: 0, 3: 1, 4: 1, 5: 1}, None),
        ("map: {1: [3], 0: [7]}\nunmapped: 0\n", {7: 0, 3: 1}, 0),
        ("0: 0\n3: 1\nunmapped: 1\n", {0: 0, 3: 1}, 1),
    ],
)
def test_classes_may_have_numbers_alone(
    tmp_path: Path, text: str, table: dict[int, int], unmapped: int | None
) -> None:
    expected = LabelMap(name="map", classes=("class 0", "class 1"), table=table, unmapped=unmapped)
    assert read_label_map(write(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("text", "classes", "unmapped"),
    [
        ("1: [3, 4, 16]\n", ("Unknown", "class 1"), None),
        ("1: [3]\n2: [4, 16]\n", ("Unknown", "class 1", "class 2"), None),
        ("tumour: [3]\nunmapped: 0\n", ("Unknown", "tumour"), 0),
        ("tumour: [3]\nunmapped: unknown\n", ("unknown", "tumour"), 0),
        ("Tumour: 3, 4\nunmapped: error\n", ("Unknown", "Tumour"), None),
    ],
)
def test_a_class_0_that_is_left_out_is_unknown_and_gets_label_0(
    tmp_path: Path, text: str, classes: tuple[str, ...], unmapped: int | None
) -> None:
    label_map = read_label_map(write(tmp_path, text))
    assert (label_map.classes, label_map.table[0], label_map.unmapped) == (classes, 0, unmapped)


@pytest.mark.parametrize(
    "text", ["0: none\n3: {name: a, colour: '#010203'}\n", "labels: {0: none, 3: {name: a, colour: '#010203'}}\n"]
)
@pytest.mark.parametrize(
    "more",
    ["map: {tumour: [3]}", "classes: {tumour: [3]}", "name: both\nclasses: [no class, tumour]\nmap: {tumour: 3}"],
)
def test_one_file_holds_names_colours_and_map(tmp_path: Path, text: str, more: str) -> None:
    path = write(tmp_path, text + more)
    assert read_labels(path) == LabelTable(names={0: "none", 3: "a"}, colours={3: (1, 2, 3)})
    label_map = read_label_map(path)
    assert (label_map.classes[1], label_map.table[3]) == ("tumour", 1)
    wrong = write(tmp_path, (text + more).replace("#010203", "grey"))
    with pytest.raises(HistodsError, match="a colour for label 3"):
        read_label_map(wrong)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_digest_is_that_of_the_map_not_of_its_form(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    count = data.draw(st.integers(1, 6))
    table = data.draw(st.dictionaries(st.integers(1, 300), st.integers(0, count - 1), max_size=20)) | {0: 0}
    table |= {400 + 2 * index: index for index in range(count)}  # at least two labels in each list
    groups: dict[int, list[int | str]] = {index: [] for index in range(count)}
    for label, index in table.items():
        groups[index].append(label if data.draw(st.booleans()) else f"{label}-{label}")
    names = {f"class {index}": labels for index, labels in groups.items()}
    text = {f"class {index}": ", ".join(map(str, labels)) for index, labels in groups.items()}
    numbers = {str(index): labels for index, labels in groups.items()}
    forms: list[Mapping[str, object]] = [
        names,
        numbers,
        text,
        {"map": names},
        {"map": numbers},
        {"classes": names},
    ]
    forms += [{"classes": list(names), "map": names}, {"classes": list(names), "map": numbers}]
    forms += [{str(label): index for label, index in table.items()}]
    forms += [{"labels": {str(label): f"label {label}" for label in table}, "map": names}]
    folder = tmp_path_factory.mktemp("forms")
    maps = [read_label_map(write(folder, json.dumps(form), "map.json")) for form in forms]
    expected = LabelMap(name="map", classes=tuple(names), table=table)
    assert {label_map.digest for label_map in maps} == {expected.digest}


def test_a_map_is_looked_up_as_given_then_in_the_dataset_then_among_the_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, root = tmp_path / "here", tmp_path / "dataset"
    here.mkdir()
    root.mkdir()
    monkeypatch.chdir(here)
    bundled = find_label_map("label_map_5.yml", root)
    assert bundled.parent.name == "bundled"
    in_dataset = write(root, "0: 0", "label_map_5.yml")
    assert find_label_map("label_map_5.yml", root) == in_dataset
    assert find_label_map("label_map_5.yml") == bundled
    write(here, "0: 0", "label_map_5.yml")
    assert find_label_map(Path("label_map_5.yml"), root) == Path("label_map_5.yml")
    assert find_label_map(str(in_dataset), None) == in_dataset


def test_a_map_that_is_nowhere_is_refused_with_the_bundled_names(tmp_path: Path) -> None:
    bundled = "drsk_labels.yml, label_map_10.yml, label_map_5.yml"
    with pytest.raises(HistodsError) as error:
        find_label_map("label_map_7.yml", tmp_path)
    assert str(error.value) == (
        f"There is no file label_map_7.yml here or in {tmp_path}; give its path or one of {bundled}."
    )
    with pytest.raises(HistodsError) as error:
        find_label_map("../labels.py")
    assert str(error.value) == f"There is no file ../labels.py here; give its path or one of {bundled}."


@pytest.mark.parametrize(("name", "classes"), [("label_map_5.yml", FIVE), ("label_map_10.yml", TEN)])
def test_the_bundled_maps_hold_the_classes_of_drsk(name: str, classes: dict[str, tuple[set[int], float]]) -> None:
    label_map = read_label_map(find_label_map(name))
    assert label_map.name == f"drsk-{len(classes)}"
    assert label_map.classes == tuple(classes)
    assert [set(label_map.labels_of(index)) for index in range(len(classes))] == [s for s, _ in classes.values()]
    assert sorted(label_map.table) == list(range(55))
    assert (label_map.unmapped, label_map.warnings) == (0, ())


def test_the_bundled_names_are_those_of_the_55_labels() -> None:
    names = read_labels(find_label_map("drsk_labels.yml"))
    assert sorted(names.names) == list(range(55))
    assert (names.name(0), names.name(27)) == ("tissue_unknown", "Dermis_MARGIN")
    assert names.labels_named("Dermis_Abnormal, Inflammation, fibrosis") == (14,)
    assert names.colours == {}


@pytest.mark.skipif("HISTODS_REAL_DATA" not in os.environ, reason="HISTODS_REAL_DATA names no folder of real data")
@pytest.mark.parametrize(("name", "classes"), [("label_map_5.yml", FIVE), ("label_map_10.yml", TEN)])
def test_the_bundled_maps_give_the_percentages_of_drsk(
    name: str, classes: dict[str, tuple[set[int], float]]
) -> None:
    counts = read_counts(Path(os.environ["HISTODS_REAL_DATA"], "drsk_pixel_counts.csv"))
    label_map = read_label_map(find_label_map(name))
    totals = np.zeros(len(classes), dtype=np.int64)
    np.add.at(totals, label_map.lookup()[counts.labels], counts.pixels)
    assert totals.sum() == 64_685_342_720
    assert [round(100 * total / totals.sum(), 2) for total in totals.tolist()] == [p for _, p in classes.values()]
    assert counts.names[:55] == tuple(read_labels(find_label_map("drsk_labels.yml")).names.values())
