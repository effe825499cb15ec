"""Label maps: the exact line with which everything that is no map is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.labels.label_map_file import read_label_map
from histods.labels.label_names import read_labels
from tests.histods.labels.map_files import SEE, refusal, write

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
