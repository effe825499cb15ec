"""Label maps and label names: what is read, and the exact line with which everything else is refused."""

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

SEE = "see the bundled label_map_10.yml"
NAMES = LabelTable(names={0: "background", 3: "tumour", 4: "tumour", 9: "stroma"})

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


def write(folder: Path, text: str | bytes, name: str = "map.yml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    """The message of the refusal, with FILE for the path."""
    with pytest.raises(HistodsError) as error:
        read_label_map(path, NAMES)
    message = str(error.value)
    assert "\n" not in message
    return message.replace(str(path), "FILE")


# The three forms


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


# Refusals

OPEN = {
    "number that is label or class": (
        "0: 0\n1: [3, 4]\n2: 7\n",
        "'2: 7': label 2 in class 7, or class 2 of label 7; write '7: [2]' for the first, '2: [7]' for the second",
    ),
    "numbers under map": (
        "map: {0: 0, 3: 1}",
        "'3: 1': label 3 in class 1, or class 3 of label 1; write '1: [3]' for the first, '3: [1]' for the second",
    ),
    "names numbered in another order": (
        "none: 0\nstroma: 2\ntumour: 1\n",
        "2 for 'stroma': class 2, or label 2 in class 1; write '[2]' for a label, or put all lines under "
        "'class_to_int:' if they number classes",
    ),
    "names with the same number": (
        "a: 0\nb: 1\nc: 1\n",
        "1 for 'c': class 1, or label 1 in class 2; write '[1]' for a label, or put all lines under "
        "'class_to_int:' if they number classes",
    ),
    "names with numbers that leave gaps": (
        "none: 0\ntumour: 3\n",
        "3 for 'tumour': class 3, or label 3 in class 1; write '[3]' for a label, or put all lines under "
        "'class_to_int:' if they number classes",
    ),
    "label 0 further down": (
        "tumour: [3]\nbackground: [0, 1]\n",
        "label 0 in 'background', which is class 1 by the order of the lines and class 0 by its meaning "
        "(unknown); move 'background' to the top, or number all classes under 'classes'",
    ),
    "unknown further down": (
        "tumour: [3]\nstroma: [4]\nUnknown: [27]\n",
        "'Unknown', which is class 2 by the order of the lines and class 0 by its meaning (unknown); "
        "move 'Unknown' to the top, or number all classes under 'classes'",
    ),
    "all others further down": (
        "tumour: [3]\nrest: [4]\nunmapped: rest\n",
        "label 0 in 'rest', which is class 1 by the order of the lines and class 0 by its meaning (unknown); "
        "move 'rest' to the top, or number all classes under 'classes'",
    ),
    "names and numbers": (
        "tumour: [3]\n2: [4]\n",
        "both 'tumour' and the number 2; name all classes or number all of them",
    ),
    "a range before a list": (
        "10-12: [1]\n1: [3]\n",
        "'10-12'; write 'class: [labels]' or 'labels: class' in all lines",
    ),
    "class twice": ("1: [3]\n'1': [4]\n0: [0]\n", "class 1 twice; join its labels"),
    "name twice": ("'a b': [3]\n'a  b': [4]\n", "'a b' twice; join its labels"),
    "gap": ("0: [0]\n2: [3, 4]\n", "no class 1; add it or renumber"),
    "gap above a class 0 that is left out": ("1: [3]\n3: [4]\n", "no class 2; add it or renumber"),
    "label 0 without class 0": ("1: [0, 3]\n2: [4]\n", "no class 0; add it or renumber"),
    "label in two classes": ("a: [0, 3-5]\nb: [4]\n", "label 4 in 'a' and 'b'; keep one of them"),
    "name that YAML takes for a Boolean": (
        "no: [0]\nyes: [1]\n",
        "the Boolean no; YAML reads no as true or false: put it in quotes if it is a name",
    ),
    "no class under map": ("map: {}", "none; write at least one"),
    "class with a mapping": ("a: [0]\nb: {c: 1}\n", "a mapping; write a whole number"),
    "other keys beside names of labels": (
        "labels: {0: a}\nmap: {a: [0]}\n3: b\n",
        "the number 3; put it under 'labels'",
    ),
}


@pytest.mark.parametrize(("text", "found"), OPEN.values(), ids=OPEN.keys())
def test_a_list_of_classes_that_leaves_anything_open_is_refused(tmp_path: Path, text: str, found: str) -> None:
    assert refusal(write(tmp_path, text)).endswith(f", but has {found}.")


TWO = "classes: [Unknown, Tumour]\n"
REFUSED_MAPS = {
    "key twice": (
        TWO + "map:\n  Unknown: [0]\n  Tumour: [1]\n  Unknown: [2]\n",
        "FILE needs each key once, but has 'Unknown' again on line 5; keep one of them.",
    ),
    "pair twice": (
        "0: 0\n1: 0\n0: 1\n",
        "FILE needs each key once, but has the number 0 again on line 3; keep one of them.",
    ),
    "label in two classes": (
        TWO + "map: {Unknown: [0, 20-30], Tumour: [27]}",
        "FILE needs each label in one class, but has label 27 in 'Unknown' and 'Tumour'; keep one of them.",
    ),
    "label in two pairs": (
        "20-30: 0\n27: 1\n",
        "FILE needs each label in one class, but has label 27 in 'class 0' and 'class 1'; keep one of them.",
    ),
    "class by name and number": (
        TWO + "map: {Tumour: [0], 1: [2]}",
        "FILE needs each class once under map, but has 'Tumour' twice; join its labels.",
    ),
    "gap in classes": (
        "classes: {0: Unknown, 2: Tumour}\nmap: {Unknown: [0]}",
        "FILE needs classes 0 to 2 without a gap, but has no class 1; add it or renumber.",
    ),
    "classes from 1": (
        "1: 1\n2: 2\n",
        "FILE needs classes 0 to 2 without a gap, but has no class 0; add it or renumber.",
    ),
    "gap in class_to_int": (
        "class_to_int: {bark: 0, knot: 2}",
        "FILE needs classes 0 to 2 without a gap, but has no class 1; add it or renumber.",
    ),
    "negative class": (
        "0: 0\n1: -1\n",
        "FILE needs classes numbered from 0, but has class -1; number them 0, 1, 2 and so on.",
    ),
    "class number twice": (
        'classes: {0: a, "0": b}\nmap: {}',
        "FILE needs each class number once, but has class 0 twice; keep one of them.",
    ),
    "class number that is a name": (
        "classes: {a: 0}\nmap: {a: [0]}",
        "FILE needs numbers as keys of classes, but has 'a'; write '0: NAME' lines.",
    ),
    "too many classes": (
        "0: 0\n1: 256\n",
        "FILE needs classes 0 to 255, but has class 256; merge classes: masks get 8 bits.",
    ),
    "no classes": ("classes: []\nmap: {}", "FILE needs classes, but has none; write at least one."),
    "classes that are no list": (
        "classes: 5\nmap: {}",
        f"FILE needs 'number: name' lines under classes, but has the number 5; {SEE}.",
    ),
    "map that is a list": (
        TWO + "map: [0, 1]",
        f"FILE needs 'class: [labels]' lines under map, but has a list; {SEE}.",
    ),
    "unknown class": (
        TWO + "map: {Tumor: [1]}",
        "FILE needs the name or number of a class, but has 'Tumor'; the nearest is 'Tumour'.",
    ),
    "unknown class number": (
        TWO + "map: {2: [1]}",
        "FILE needs the name or number of a class, but has the number 2; they go from 0 to 1.",
    ),
    "unknown unmapped class": (
        TWO + "map: {Unknown: [0]}\nunmapped: unknown",
        "FILE needs the name or number of a class, but has 'unknown'; the nearest is 'Unknown'.",
    ),
    "empty unmapped": (
        TWO + "map: {Unknown: [0]}\nunmapped:",
        "FILE needs the name or number of a class, but has nothing; write one.",
    ),
    "class name yes": (
        "classes: {0: No, 1: Yes}\nmap: {0: [0]}",
        (
            "FILE needs a name for class 0, but has the Boolean No; "
            "YAML reads No as true or false: put it in quotes if it is a name."
        ),
    ),
    "class key yes": (
        'classes: ["no", "yes"]\nmap: {yes: [0]}',
        (
            "FILE needs the name or number of a class, but has the Boolean yes; "
            "YAML reads yes as true or false: put it in quotes if it is a name."
        ),
    ),
    "class name that is a number": (
        "classes: [0, 1]\nmap: {0: [0]}",
        "FILE needs a name for class 0, but has the number 0; put it in quotes.",
    ),
    "class name that is empty": (
        "classes: {0: }\nmap: {0: [0]}",
        "FILE needs a name for class 0, but has nothing; write its name.",
    ),
    "one name for two classes": (
        "classes: [a, a]\nmap: {}",
        "Label map map calls 2 classes 'a'; rename all but one.",
    ),
    "boolean label": (
        TWO + "map: {Unknown: [0, off]}",
        (
            "FILE needs labels for 'Unknown' such as 7 or '10-15', but has the Boolean off; "
            "YAML reads off as true or false: put it in quotes if it is a name."
        ),
    ),
    "fraction as label": (
        TWO + "map: {Unknown: [0, 1.0]}",
        ("FILE needs labels for 'Unknown' such as 7 or '10-15', but has the fraction 1.0; write a whole number."),
    ),
    "octal label": (
        TWO + "map: {Unknown: [010]}",
        "FILE needs labels for 'Unknown' such as 7 or '10-15', but has the number 010; write a whole number.",
    ),
    "sexagesimal label": (
        TWO + "map: {Unknown: [1:30]}",
        "FILE needs labels for 'Unknown' such as 7 or '10-15', but has the number 1:30; write a whole number.",
    ),
    "date as label": (
        TWO + "map: {Unknown: [2020-01-02]}",
        (
            "FILE needs labels for 'Unknown' such as 7 or '10-15', but has the date 2020-01-02; "
            "write a whole number."
        ),
    ),
    "word as label": (
        TWO + "map: {Unknown: [stroma]}",
        "FILE needs labels for 'Unknown' such as 7 or '10-15', but has 'stroma'; write a whole number.",
    ),
    "open range": (
        TWO + "map: {Unknown: [10-]}",
        "FILE needs labels for 'Unknown' such as 7 or '10-15', but has '10-'; write a whole number.",
    ),
    "list in a list": (
        TWO + "map: {Unknown: [[0]]}",
        "FILE needs labels for 'Unknown' such as 7 or '10-15', but has a list; write a whole number.",
    ),
    "range that goes down": (
        TWO + "map: {Unknown: [15-10]}",
        "FILE needs ranges for 'Unknown' from low to high, but has '15-10'; write '10-15'.",
    ),
    "label too high": (
        TWO + "map: {Unknown: [65536]}",
        "FILE needs labels for 'Unknown' from 0 to 65535, but has the number 65536; correct it.",
    ),
    "range too high": (
        TWO + "map: {Unknown: [60000-70000]}",
        "FILE needs labels for 'Unknown' from 0 to 65535, but has '60000-70000'; correct it.",
    ),
    "negative label": (
        "-1: 0\n",
        "FILE needs labels for 'class 0' from 0 to 65535, but has the number -1; correct it.",
    ),
    "names as pairs": (
        "0: background\n1: tumour\n",
        (
            "FILE needs a class number for label 0, but has 'background'; "
            "write numbers, or 'classes' and 'map' to name classes; names of labels belong in --labels."
        ),
    ),
    "fraction in class_to_int": (
        "class_to_int: {bark: 0, knot: 0.5}",
        "FILE needs a class number for 'knot', but has the fraction 0.5; write a whole number.",
    ),
    "number as a name in class_to_int": (
        "class_to_int: {bark: 0, 7: 1}",
        "FILE needs a name for each number in class_to_int, but has the number 7; put it in quotes.",
    ),
    "empty class_to_int": ("class_to_int: {}", "FILE needs classes, but has none; write at least one."),
    "two class_to_int": (
        "features: {a: {class_to_int: {x: 0}}, b: {class_to_int: {y: 0}}}",
        "FILE needs one class_to_int, but has 2 that differ; keep the one that the masks are made with.",
    ),
    "name that no label has": (
        "class_to_int: {background: 0, tumor: 1, stroma: 1}",
        "FILE needs names of source labels, but has 'tumor'; the nearest is 'tumour'.",
    ),
    "unknown key": (
        TWO + "map: {}\nunmaped: error",
        (
            "FILE needs keys out of name, classes, map, unmapped, labels, but has 'unmaped'; "
            "the nearest is 'unmapped'."
        ),
    ),
    "no map": (TWO, f"FILE needs the key map, but has none; {SEE}."),
    "no such form": (
        "labels: {0: a}\nyes: 1",
        (
            "FILE needs a label map, but has names of labels; add 'map:' with 'class: [labels]' lines, "
            "or draft a map with 'histods remap --draft FILE'."
        ),
    ),
    "empty mapping": (
        "{}",
        "FILE needs classes with their labels, but has an empty mapping; write 'class: [labels]' lines.",
    ),
    "list": (
        "- 0\n- 1\n",
        "FILE needs a label map, but has a list; write 'class: [labels]' lines, or 'classes' and 'map'.",
    ),
    "word": (
        "map",
        "FILE needs a label map, but has 'map'; write 'class: [labels]' lines, or 'classes' and 'map'.",
    ),
    "name of the labels": (
        "name: labels\n" + TWO + "map: {}",
        "FILE needs a name other than 'labels', but has that; it means unchanged labels: write another.",
    ),
    "hostile name": (
        "name: ../../etc/passwd\n" + TWO + "map: {}",
        (
            "FILE needs a name that a file can have, but has '../../etc/passwd'; "
            "use up to 80 letters, digits, '-', '_' and '.', in quotes if it is a number."
        ),
    ),
    "hidden name": (
        "name: .hidden\n" + TWO + "map: {}",
        (
            "FILE needs a name that a file can have, but has '.hidden'; "
            "use up to 80 letters, digits, '-', '_' and '.', in quotes if it is a number."
        ),
    ),
    "empty name": (
        "name: ''\n" + TWO + "map: {}",
        (
            "FILE needs a name that a file can have, but has ''; "
            "use up to 80 letters, digits, '-', '_' and '.', in quotes if it is a number."
        ),
    ),
    "number as a name": (
        "name: 10\n" + TWO + "map: {}",
        (
            "FILE needs a name that a file can have, but has the number 10; "
            "use up to 80 letters, digits, '-', '_' and '.', in quotes if it is a number."
        ),
    ),
    "tag": (
        "map: !!python/object/apply:os.system ['true']",
        (
            "FILE needs plain YAML, "
            "but has the tag tag:yaml.org,2002:python/object/apply:os.system on line 1; remove it."
        ),
    ),
    "tag on a number": (
        "0: !!str 5",
        "FILE needs plain YAML, but has the tag tag:yaml.org,2002:str on line 1; remove it.",
    ),
    "anchor": (
        "a: &x [0]\nb: 1",
        "FILE needs plain YAML, but has an anchor or alias on line 1; write the values out.",
    ),
    "alias": (
        "a: 1\nb: *x",
        "FILE needs plain YAML, but has an anchor or alias on line 2; write the values out.",
    ),
    "two documents": (
        "0: 0\n---\n1: 0\n",
        "FILE needs one YAML document, but has another on line 2; keep one.",
    ),
    "list as a key": (
        "? [0, 1]\n: 0\n",
        "FILE needs single words or numbers as keys, but has a list on line 1; write one.",
    ),
    "thousand brackets": ("[" * 1000, "FILE needs at most 32 levels, but has more on line 1; flatten it."),
    "no YAML": (
        "a: [0\nb: 1\n",
        "FILE needs plain YAML, but has a mistake on line 2 (expected ',' or ']', but got ':'); correct it.",
    ),
    "control characters": (
        "a: \x07",
        (
            "FILE needs plain YAML, but has a mistake "
            "(unacceptable character #x0007: special characters are not allowed); correct it."
        ),
    ),
    "not UTF-8": (b"a: \xff", "FILE needs UTF-8 text, but has byte 0xff at position 3; save it as UTF-8."),
    "empty": ("", "FILE is empty; give the path of another file."),
    "blank": (" \n\n", "FILE is empty; give the path of another file."),
    "comments": ("# nothing\n", "FILE needs values, but has comments alone; give the path of another file."),
    "over 1 MiB": (
        "0: 0 #" + "x" * (1 << 20),
        "FILE needs at most 1 MiB, but has 1,048,582 bytes; give the map itself.",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED_MAPS.values(), ids=REFUSED_MAPS.keys())
def test_a_wrong_label_map_is_refused_in_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert refusal(write(tmp_path, text)) == message


def test_places_that_hold_no_file_are_refused_in_one_line(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "none.yml")
        == "FILE cannot be read (No such file or directory); give the path of a file that can be read."
    )
    assert refusal(tmp_path) == "FILE is a folder; give the path of a file."
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "FILE is not a regular file; give the path of a file."


def test_a_file_without_any_usable_name_has_to_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "0: 0", "+++.yml")
    assert refusal(path).startswith("FILE needs a name that a file can have, but has ''; use up to 80 letters")
    named = write(tmp_path, "name: fine\nclasses: [a]\nmap: {a: [0]}", "+++.yml")
    assert read_label_map(named).name == "fine"


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60) | st.text("{}[]&*!|>'\"%@`:,-#?0123 \n\tabyesno~<=.", max_size=60))
def test_whatever_the_bytes_there_is_a_map_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | str
) -> None:
    path = write(tmp_path_factory.mktemp("any"), content)
    for read in (read_label_map, read_labels):
        message = ""
        try:
            read(path)
        except HistodsError as error:
            message = str(error)
        assert "\n" not in message


# Where label maps are found


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


# The bundled files


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
