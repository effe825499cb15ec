"""Small CSV files: columns by any of their names, and refusals that name the line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.io.csv_table import read_csv, to_csv
from histods.io.strict_yaml import Origin

COLUMNS = [("label", "id"), ("name",), ("colour", "color")]


def rows(path: Path, text: str, *, needed: int = 2) -> list[list[str]]:
    path.write_text(text, newline="")
    return list(read_csv(Origin("names.csv"), path, COLUMNS, needed, max_bytes=1000))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "names.csv"


def test_columns_come_in_the_order_that_is_asked_for(path: Path) -> None:
    assert rows(path, "Name,extra, ID \n Tumour ,x,1\nStroma,y, 2") == [["1", "Tumour"], ["2", "Stroma"]]


def test_a_column_that_may_be_missing_is_read_where_it_is_there(path: Path) -> None:
    assert rows(path, "id,name,COLOR\n1,A,#ff0000\n") == [["1", "A", "#ff0000"]]


def test_of_two_names_of_a_column_the_first_one_counts(path: Path) -> None:
    assert rows(path, "id,label,name\n1,2,A\n") == [["2", "A"]]


def test_quotes_hold_commas_and_line_ends_and_empty_lines_do_not_count(path: Path) -> None:
    assert rows(path, '\r\nlabel,name\r\n1,"A, ""b""\nc"\r\n\r\n2,\r\n') == [["1", 'A, "b"\nc'], ["2", ""]]


def test_a_file_of_its_first_line_has_no_rows(path: Path) -> None:
    assert rows(path, "label,name") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "label,title\n1,A",
            "needs the columns label, name, but has no name; name the columns in the first",
        ),
        ("label,name\n1,A,B", "needs 2 cells per line, but has 3 on line 2; quote cells that hold commas."),
        ('label,name\n"1\n\n",A\n2', "needs 2 cells per line, but has 1 on line 5;"),
        ('label,name\n1,"A', "needs CSV, but has a mistake on line 2 ("),
        ('label,name\n1,"A"b', "needs CSV, but has a mistake on line 2 ("),
        (" \n\t", "is empty; give the path of another file."),
        ("label,name\n" + "1,A\n" * 999, "needs at most 0 MiB, but has 4,007 bytes"),
    ],
)
def test_other_files_are_refused_with_the_line(path: Path, text: str, message: str) -> None:
    with pytest.raises(HistodsError) as error:
        rows(path, text)
    assert str(error.value).startswith(f"names.csv {message}")


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6) | st.sampled_from(
    ["\r", "a\rb", "\r\n", '"', ",", "\n"]
)


@given(table=st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_rows_are_read_as_they_were_written_whatever_line_breaks_they_hold(table: list[tuple[str, str]]) -> None:
    text = to_csv(table)
    assert [*csv.reader(io.StringIO(text, newline=""), strict=True)] == [[*row] for row in table]


def test_lines_end_in_a_newline_and_nothing_is_an_empty_cell() -> None:
    assert to_csv([]) == ""
    assert to_csv([["a", None, 3, 0.5], ["b,c", "", "ä", ""]]) == 'a,,3,0.5\n"b,c",,ä,\n'
