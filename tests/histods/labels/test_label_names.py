"""Files of label names and tables of counts: every form says the same, and all else is refused in one line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.labels.label_map import LabelTable
from histods.labels.label_names import read_counts, read_labels


def write(folder: Path, text: str | bytes, name: str = "labels.yml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    """The message of the refusal, with FILE for the path."""
    with pytest.raises(HistodsError) as error:
        read_labels(path)
    message = str(error.value)
    assert "\n" not in message
    return message.replace(str(path), "FILE")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.yml", "0: background\n1: {name: tumour, colour: '#ff8000'}\n"),
        ("l.yml", "labels: {0: background, 1: {name: tumour, color: [255, 128, 0]}}"),
        ("l.yml", "- {label: 0, name: background}\n- {id: 1, name: tumour, colour: '#FF8000'}\n"),
        ("l.yml", "labels:\n- {value: 1, name: tumour, color: [255, 128, 0]}\n- {label: 0, name: background}\n"),
        ("l.json", '{"0": "background", "1": {"name": "tumour", "colour": "#ff8000"}}'),
        ("l.csv", "label,name,colour\n0,background,\n1,tumour,#ff8000\n"),
        ("l.csv", 'Label ID,Class Name,Color,More\n1,tumour,"255, 128, 0",x\n0,background,,y\n'),
        ("L.CSV", "\ufeffname,label,colour\r\n background ,0,\r\n\r\ntumour,1,255 128 0\r\n"),
    ],
)
def test_every_form_of_labels_file_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    table = read_labels(write(tmp_path, text, name))
    assert dict(table.names) == {0: "background", 1: "tumour"}
    assert dict(table.colours) == {1: (255, 128, 0)}


def test_names_and_colours_are_optional(tmp_path: Path) -> None:
    assert read_labels(write(tmp_path, "Label ID,Class Name\n0,background\n", "l.csv")).colours == {}
    assert read_labels(write(tmp_path, "3: {colour: [1, 2, 3]}")).names == {3: "label 3"}


REFUSED_LABELS = {
    "one colour for two": (
        "l.yml",
        "0: {name: a, colour: '#ff0000'}\n1: {name: b, colour: [255, 0, 0]}\n",
        (
            "FILE needs a colour of its own for each label, but has #ff0000 for labels 0 and 1; "
            "give one of them another."
        ),
    ),
    "colour that YAML reads as a comment": (
        "l.yml",
        "0: {name: a,\n  colour: #ff0000\n  }",
        (
            "FILE needs a colour for label 0, but has nothing; "
            "write '#rrggbb' in quotes, since # starts a comment, or [red, green, blue] from 0 to 255."
        ),
    ),
    "colour by name": (
        "l.yml",
        "0: {name: a, colour: red}",
        (
            "FILE needs a colour for label 0, but has 'red'; "
            "write '#rrggbb' in quotes, since # starts a comment, or [red, green, blue] from 0 to 255."
        ),
    ),
    "colour out of range": (
        "l.csv",
        "label,name,colour\n0,a,0 0 256\n",
        (
            "FILE needs a colour for label 0, but has [0, 0, 256]; "
            "write '#rrggbb' in quotes, since # starts a comment, or [red, green, blue] from 0 to 255."
        ),
    ),
    "label twice": (
        "l.yml",
        "- {id: 1, name: a}\n- {id: 1, name: b}\n",
        "FILE needs each label once, but has label 1 twice; keep one of them.",
    ),
    "key twice": (
        "l.yml",
        "1: a\n1: b\n",
        "FILE needs each key once, but has the number 1 again on line 2; keep one of them.",
    ),
    "label that is a word": (
        "l.yml",
        "tumour: 1\n",
        "FILE needs labels to name such as 7 or '10-15', but has 'tumour'; write a whole number.",
    ),
    "range": ("l.yml", "1-3: tumour\n", "FILE needs one label per line, but has '1-3'; write a line for each."),
    "label too high": (
        "l.csv",
        "label,name\n65536,a\n",
        "FILE needs labels to name from 0 to 65535, but has '65536'; correct it.",
    ),
    "name no": (
        "l.yml",
        "0: no\n",
        (
            "FILE needs a name for label 0, but has the Boolean no; "
            "YAML reads no as true or false: put it in quotes if it is a name."
        ),
    ),
    "name that is a number": (
        "l.yml",
        "0: 5\n",
        "FILE needs a name for label 0, but has the number 5; put it in quotes.",
    ),
    "no name": ("l.yml", "0:\n", "FILE needs a name for label 0, but has nothing; write its name."),
    "empty name": ("l.csv", "label,name\n0, \n", "FILE needs a name for label 0, but has ''; write its name."),
    "unknown field": (
        "l.yml",
        "0: {name: a, colr: '#ff0000'}",
        "FILE needs name and colour of label 0, but has 'colr'; the nearest is 'colour'.",
    ),
    "entry without a label": (
        "l.yml",
        "- {name: a}",
        "FILE needs one of label, id, value in each entry, but has 0; write its label.",
    ),
    "entry that is a word": (
        "l.yml",
        "- a\n",
        "FILE needs entries with label, name and colour, but has 'a'; write 'label: name' lines.",
    ),
    "a number": ("l.yml", "5", "FILE needs 'label: name' lines, but has the number 5; write them."),
    "no labels": (
        "l.yml",
        "labels: {}",
        "FILE needs names of labels, but has none; write 'label: name' lines.",
    ),
    "no column": (
        "l.csv",
        "id,name\n0,a\n",
        "FILE needs the columns label, name, but has no label; name the columns in the first line.",
    ),
    "no lines": (
        "l.csv",
        "label,name\n",
        "FILE needs names of labels, but has none; write 'label: name' lines.",
    ),
    "cell too many": (
        "l.csv",
        "label,name\n0,Dermis, normal\n",
        "FILE needs 2 cells per line, but has 3 on line 2; quote cells that hold commas.",
    ),
    "open quote": (
        "l.csv",
        'label,name\n0,"a\n',
        "FILE needs CSV, but has a mistake on line 2 (unexpected end of data); correct it.",
    ),
    "over 1 MiB": (
        "l.csv",
        "label,name\n0," + "a" * (1 << 20),
        "FILE needs at most 1 MiB, but has 1,048,589 bytes; give the map itself.",
    ),
}


@pytest.mark.parametrize(("name", "text", "message"), REFUSED_LABELS.values(), ids=REFUSED_LABELS.keys())
def test_a_wrong_labels_file_is_refused_in_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    assert refusal(write(tmp_path, text, name)) == message


def test_counts_are_read_whatever_the_order_and_the_other_columns(tmp_path: Path) -> None:
    text = 'Share,Pixel Count,Label ID,Class Name\n1,47870751813,7,"Dermis, normal"\n2, 5 ,0,Unknown\n'
    counts = read_counts(write(tmp_path, text, "counts.csv"))
    assert counts.labels.tolist() == [0, 7]
    assert counts.names == ("Unknown", "Dermis, normal")
    assert counts.pixels.tolist() == [5, 47870751813]
    assert (counts.labels.dtype.name, counts.pixels.dtype.name) == ("uint16", "int64")


HEADER = "Label ID,Class Name,Pixel Count\n"


REFUSED_COUNTS = {
    "no counts": (
        "Label ID,Class Name\n0,a\n",
        (
            "FILE needs the columns Label ID, Class Name, Pixel Count, but has no Pixel Count; "
            "name the columns in the first line."
        ),
    ),
    "negative": (
        HEADER + "0,a,-5\n",
        "FILE needs whole pixel counts from 0, but has '-5' for label 0; write digits without separators.",
    ),
    "fraction": (
        HEADER + "0,a,5.5\n",
        "FILE needs whole pixel counts from 0, but has '5.5' for label 0; write digits without separators.",
    ),
    "thousands": (
        HEADER + '0,a,"1,000"\n',
        "FILE needs whole pixel counts from 0, but has '1,000' for label 0; write digits without separators.",
    ),
    "label twice": (
        HEADER + "0,a,1\n0,b,2\n",
        "FILE needs each label once, but has label 0 twice; add the two counts up.",
    ),
    "label word": (
        HEADER + "a,a,1\n",
        "FILE needs labels to name such as 7 or '10-15', but has 'a'; write a whole number.",
    ),
    "no lines": (HEADER, "FILE needs a line for each label, but has none; give the whole table."),
    "empty": ("", "FILE is empty; give the path of another file."),
    "not text": (b"\x89PNG\xff", "FILE needs UTF-8 text, but has byte 0x89 at position 0; save it as UTF-8."),
}


@pytest.mark.parametrize(("text", "message"), REFUSED_COUNTS.values(), ids=REFUSED_COUNTS.keys())
def test_a_wrong_table_of_counts_is_refused_in_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path, text, "counts.csv")
    with pytest.raises(HistodsError) as error:
        read_counts(path)
    assert str(error.value).replace(str(path), "FILE") == message


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 65535),
        st.tuples(st.text(min_size=1, max_size=9), st.none() | st.tuples(*[st.integers(0, 255)] * 3)),
        min_size=1,
        max_size=8,
    )
)
def test_any_names_and_colours_come_back_from_every_form(
    tmp_path_factory: pytest.TempPathFactory, labels: dict[int, tuple[str, tuple[int, int, int] | None]]
) -> None:
    names = {label: " ".join(name.split()) or "x" for label, (name, _) in labels.items()}
    names = {label: name if name.isprintable() else "x" for label, name in names.items()}
    colours = {label: colour for label, (_, colour) in labels.items() if colour is not None}
    colours = {label: colour for label, colour in colours.items() if list(colours.values()).count(colour) == 1}
    folder = tmp_path_factory.getbasetemp()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["label", "name", "colour"])
    rows = [(label, names[label], " ".join(map(str, colours.get(label, ())))) for label in names]
    writer.writerows(rows)
    entries = {str(label): {"name": names[label]} for label in names}
    for label, colour in colours.items():
        entries[str(label)]["colour"] = "#" + bytes(colour).hex()
    for path in (
        write(folder, text.getvalue(), "l.csv"),
        write(folder, json.dumps(entries), "l.json"),
        write(folder, json.dumps({"labels": [{"id": int(label)} | entries[label] for label in entries]})),
    ):
        assert read_labels(path) == LabelTable(names=names, colours=colours)


@pytest.mark.parametrize("digits", ["256", "9" * 5000, "²", "-1", "1e2"])
def test_a_channel_that_is_no_byte_is_refused_in_every_form(tmp_path: Path, digits: str) -> None:
    for path in (
        write(tmp_path, f"label,name,colour\n1,a,{digits} 0 0\n", "l.csv"),
        write(tmp_path, f"1: {{name: a, colour: [{digits}, 0, 0]}}\n"),
    ):
        message = refusal(path)
        assert message.startswith("FILE needs a colour for label 1, but has ")
        assert len(message) < 400
        assert "NonString" not in message


def test_a_label_that_gives_its_colour_twice_is_refused(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, "1: {name: a, colour: '#000000', color: '#111111'}")) == (
        "FILE needs one colour for label 1, but has colour and color; remove one of them."
    )


def test_counts_up_to_fifteen_digits_are_exact_and_more_are_refused(tmp_path: Path) -> None:
    assert read_counts(write(tmp_path, f"{HEADER}65535,a,{'9' * 15}\n", "c.csv")).pixels.tolist() == [10**15 - 1]
    with pytest.raises(HistodsError, match="whole pixel counts from 0"):
        read_counts(write(tmp_path, f"{HEADER}65535,a,{'9' * 16}\n", "c.csv"))
