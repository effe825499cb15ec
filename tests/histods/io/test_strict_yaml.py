"""YAML read as plain data: what YAML would turn into something else is kept, what is more than data is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.io.strict_yaml import (
    MAX_BYTES,
    NonStringScalar,
    Origin,
    Value,
    advise,
    load_yaml,
    nearest,
    read_text,
    show,
)

ORIGIN = Origin("map.yml")
KEYS = st.text("abcß_", min_size=1, max_size=5).filter(lambda text: text not in {"y", "n"})
DATA = st.recursive(
    st.integers(-(10**17), 10**17) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def load(folder: Path, text: str) -> Value:
    path = folder / "map.yml"
    path.write_text(text, encoding="utf-8")
    return load_yaml(ORIGIN, path)


@settings(deadline=None, max_examples=30)
@given(data=DATA)
def test_plain_data_come_back(tmp_path_factory: pytest.TempPathFactory, data: Value) -> None:
    text = yaml.safe_dump(data, allow_unicode=True)
    assert load(tmp_path_factory.getbasetemp(), text) == data


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("no", "bool"), ("On", "bool"), ("010", "int"), ("0x1F", "int"), ("1_000", "int"), ("1:30", "int"),
        ("1.5", "float"), (".nan", "float"), ("~", "null"), ("2024-01-31", "timestamp"), ("9" * 19, "int"),
    ],
)  # fmt: skip
def test_what_yaml_would_turn_into_something_else_is_kept_as_written(tmp_path: Path, text: str, kind: str) -> None:
    assert load(tmp_path, f"a: {text}") == {"a": NonStringScalar(text, kind)}
    assert load(tmp_path, f"a: '{text}'") == {"a": text}


def test_a_number_and_its_text_are_different_keys(tmp_path: Path) -> None:
    assert load(tmp_path, "1: a\n'1': b\n") == {1: "a", "1": "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\nb: 2", "needs plain YAML, but has an anchor or alias on line 1; write the values out."),
        ("a: 1\nb: *a", "needs plain YAML, but has"),
        ("a: !!str 1", "needs plain YAML, but has the tag tag:yaml.org,2002:str on line 1; remove it."),
        ("a: 1\n---\nb: 2", "needs one YAML document, but has another on line 2; keep one."),
        ("a: 1\nb: 2\na: 3", "needs each key once, but has 'a' again on line 3; keep one of them."),
        ("[1]: 2", "needs single words or numbers as keys, but has a list on line 1; write one."),
        ("? {a: 1}\n: 2", "needs single words or numbers as keys, but has a mapping on line 1; write one."),
        ("[" * 40, "needs at most 32 levels, but has more on line 1; flatten it."),
        ("[" * 32 + "]" * 32, "needs at most 32 levels, but has more on line 1; flatten it."),
        ("a: [1", "needs plain YAML, but has a mistake on line 1 ("),
        ("a: '\0'", "needs plain YAML, but has a mistake ("),
        (r'a: "\U00110000"', "needs plain YAML, but has an escape beyond Unicode, such as "),
        (r'a: "\UFFFFFFFF"', "needs plain YAML, but has an escape beyond Unicode, such as "),
        (
            'a: 1\n"\\ud83d": 2',
            "needs text, but has half a character on line 2; write both of its ",
        ),
        (r'a: "\ude00\ud83d"', "needs text, but has half a character on line 1; write both of its "),
        ("# nothing", "needs values, but has comments alone; give the path of another file."),
        ("\ufeff \n", "is empty; give the path of another file."),
        (" " * (MAX_BYTES + 1), "needs at most 1 MiB, but has 1,048,577 bytes; give the map itself."),
    ],
)
def test_what_is_more_than_data_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(HistodsError) as error:
        load(tmp_path, text)
    assert str(error.value).startswith(f"map.yml {message}")


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=9))
def test_any_text_comes_back_from_json_with_and_without_escapes(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert load(folder, json.dumps({"a": text})) == {"a": text}
    if text.isprintable():
        assert load(folder, json.dumps({"a": text}, ensure_ascii=False)) == {"a": text}


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"gr\xf6n")
    for name, message in (
        (".", "map.yml is a folder; give the path of a file."),
        ("pipe", "map.yml is not a regular file; give the path of a file."),
        ("gone", "map.yml cannot be read (No such file or directory); give the path of a file that can be read."),
        ("latin", "map.yml needs UTF-8 text, but has byte 0xf6 at position 2; save it as UTF-8."),
    ):
        with pytest.raises(HistodsError) as error:
            read_text(ORIGIN, tmp_path / name, 100)
        assert str(error.value) == message


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeffa: 1") == {"a": 1}


def test_values_are_shown_in_words() -> None:
    values: list[Value] = [7, "a'b", "x" * 200, [1], {}, NonStringScalar("~", "null")]
    shown = [show(value) for value in values]
    assert shown == ["the number 7", '"a\'b"', repr("x" * 77 + "..."), "a list", "a mapping", "nothing"]
    assert show(NonStringScalar("1.5", "float")) == "the fraction 1.5"
    assert show(NonStringScalar("<<", "merge")) == f"the word {NonStringScalar('<<', 'merge')}" == "the word <<"
    assert len(show(NonStringScalar("9" * 5000, "int"))) < 100


def test_the_nearest_name_is_proposed() -> None:
    assert nearest("tumor", ["Stroma", "Tumour"]) == "the nearest is 'Tumour'"
    assert nearest("", ["Stroma"]) == nearest("x", []) == "write one"
    assert nearest(NonStringScalar("no", "bool"), ["no"]).startswith("YAML reads no as true or false")
    assert advise(3, "correct it") == "correct it"
