"""Classes get labels by a rule that does not depend on the order of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from histods import HistodsError
from histods.annotations.classes import format_labels, list_labels, merge_categories, number_classes
from histods.annotations.shapes import Category
from histods.labels.label_map import LabelTable
from histods.labels.label_names import read_labels

if TYPE_CHECKING:
    from pathlib import Path


def numbers(*found: Category, table: LabelTable | None = None) -> dict[str, int]:
    return number_classes(merge_categories(found), table)


def test_numbers_of_the_file_are_kept_where_they_can_be_labels() -> None:
    assert numbers(Category("b", 7), Category("a", 3)) == {"b": 7, "a": 3}
    assert numbers(Category("b", 0), Category("a", 3)) == {"a": 1, "b": 2}  # 0 is what nothing is drawn on
    assert numbers(Category("b", 70_000), Category("a", 3)) == {"a": 1, "b": 2}
    assert numbers(Category("b", 3), Category("a", 3)) == {"a": 1, "b": 2}
    assert numbers(Category("b"), Category("a", 3)) == {"a": 1, "b": 2}
    assert numbers(Category("b"), Category("a"), Category("b")) == numbers(Category("a"), Category("b"))


def test_a_labels_file_fixes_the_numbers_and_leaves_out_the_others() -> None:
    table = LabelTable(names={4: "a", 0: "glass", 9: "z"})
    assert numbers(Category("b", 7), Category("a", 3), Category("glass"), table=table) == {"a": 4, "glass": 0}
    with pytest.raises(HistodsError, match="gives the class 'a' to the labels 4, 5"):
        numbers(Category("a"), table=LabelTable(names={4: "a", 5: "a"}))


def test_a_class_called_like_label_0_keeps_its_name_alone() -> None:
    categories = merge_categories([Category("Unknown"), Category("A")])
    listed = list_labels(categories, number_classes(categories, None), None)
    assert [(label, name) for label, name, _ in listed] == [(0, "Not annotated"), (1, "A"), (2, "Unknown")]


def test_more_classes_than_labels_are_refused_in_one_line() -> None:
    assert len(numbers(*(Category(f"{i:05d}") for i in range(65_535)))) == 65_535
    with pytest.raises(HistodsError, match="have 65,536 classes, and masks at most 65,535 labels"):
        numbers(*(Category(f"{i:05d}") for i in range(65_536)))
    found = merge_categories([Category(f"name of object {i:05d}") for i in range(65_535)])
    with pytest.raises(HistodsError, match="names of 65,536 classes take more than 1 MiB"):
        format_labels(list_labels(found, number_classes(found, None), None))


def test_the_audit_reads_names_and_colours_back(tmp_path: Path) -> None:
    found = merge_categories(
        [
            Category('a, "b"', None, (1, 2, 3)),
            Category("=cmd|x", None, (1, 2, 3)),  # a colour that another class has
            Category("ünder 日本", None, None),
            Category("ünder 日本", None, (9, 9, 9)),
        ]
    )
    listed = list_labels(found, number_classes(found, None), None)
    path = tmp_path / "labels.csv"
    path.write_text(format_labels(listed), encoding="utf-8")
    table = read_labels(path)
    assert dict(table.names) == {0: "Unknown", 1: "=cmd|x", 2: 'a, "b"', 3: "ünder 日本"}
    assert dict(table.colours) == {1: (1, 2, 3), 3: (9, 9, 9)}


def test_colours_of_the_labels_file_come_first() -> None:
    table = LabelTable(names={1: "a", 2: "b"}, colours={1: (5, 5, 5)})
    found = merge_categories([Category("a", None, (1, 1, 1)), Category("b", None, (5, 5, 5))])
    listed = list_labels(found, number_classes(found, table), table)
    assert listed == [(0, "Unknown", None), (1, "a", (5, 5, 5)), (2, "b", None)]
