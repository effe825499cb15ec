"""A list of labels is matched with samples by name, and read as what most of its rows agree with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.labels.label_map import LabelMap
from histods.labels.listed import hear_witness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEXT = ("key", "image_path", "mask_path", "mask_error", "mask_not_index")
COMPOSED, APART = "Gew\u00e4chs", "Gewa\u0308chs"


def samples(masks: Mapping[str, Sequence[int] | None], **errors: str) -> pl.DataFrame:
    """What an audit has measured of the masks with these keys: their labels, or None without a mask."""
    rows = [
        {"key": key, "image_path": f"{key}.jpg", "labels": labels, "mask_error": errors.get(key)}
        | {"mask_path": None if labels is None else f"{key}_mask.png"}
        for key, labels in masks.items()
    ]
    return pl.DataFrame(rows, schema={**dict.fromkeys(TEXT, pl.String()), "labels": pl.List(pl.UInt16)})


def listed(rows: Sequence[tuple[str, Sequence[int] | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"name": pl.String, "listed": pl.List(pl.UInt16)}, orient="row")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_reading_is_the_one_that_most_rows_agree_with(data: st.DataObject) -> None:
    labels = st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True).map(sorted)
    masks = {f"{number:02}": data.draw(labels) for number in range(20)}
    table = {label: data.draw(st.integers(0, 3)) for label in range(10)}
    names = ("class 0", "class 1", "class 2", "class 3")
    systems = {"map.yml": LabelMap(name="map", classes=names, table=table)}
    reading = data.draw(st.sampled_from([None, "map.yml"]))
    value = (lambda label: label) if reading is None else table.__getitem__
    said = {key: sorted({value(label) for label in held}) for key, held in masks.items()}
    wrong = data.draw(st.sets(st.sampled_from(sorted(masks)), max_size=2))
    for key in wrong:
        said[key] = [*said[key], 4000]
    rows, witness = hear_witness(samples(masks), listed(list(said.items())), systems)
    assert (witness.agreed, witness.compared, witness.is_understood) == (20 - len(wrong), 20, True)
    differ = rows.filter(pl.col("listed").cast(pl.List(pl.UInt32)) != pl.col("held"))
    assert set(differ["key"]) == wrong


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("s1/a", "s1/a"),
        ("s1/a.jpg", "s1/a"),
        ("./s1/a", "s1/a"),
        (" s1\\a ", "s1/a"),
        ("b", "s2/b"),
        ("b.jpg", "s2/b"),
        ("a", None),  # two samples have that file name
        ("S1/A", None),
        (COMPOSED, APART),
        (f"{APART}.jpg", APART),
        ("", None),
    ],
)
def test_a_name_is_a_key_a_path_or_a_file_name_that_is_unique(name: str, key: str | None) -> None:
    held = samples({"s1/a": [1], "s2/a": [2], "s2/b": [3], APART: [4]})
    rows, witness = hear_witness(held, listed([(name, [9])]), {})
    assert rows.filter("in_list")["key"].to_list() == ([] if key is None else [key])
    assert witness.strangers == (() if key is not None else (name,))
    assert (witness.rows, witness.unlisted, witness.masks) == (1, 4 if key is None else 3, 4)


def test_of_two_rows_for_one_sample_the_first_counts() -> None:
    rows, witness = hear_witness(samples({"a": [1]}), listed([("a", [1]), ("a.jpg", [2])]), {})
    assert rows["listed"].to_list() == [[1]]
    assert (witness.rows, witness.compared, witness.agreed, witness.strangers) == (2, 1, 1, ())


def test_masks_that_were_not_read_are_not_compared() -> None:
    held = samples({"a": [1], "damaged": [5], "none": None}, damaged="truncated")
    rows, witness = hear_witness(held, listed([("a", [1]), ("damaged", [2]), ("none", [3])]), {})
    assert rows["held"].to_list() == [[1], None, None]
    assert rows["listed"].to_list() == [[1], [2], [3]]
    assert (witness.compared, witness.agreed, witness.masks) == (1, 1, 2)
    assert rows.drop("held", "in_list", "listed").equals(held)


def test_labels_that_a_map_refuses_agree_with_no_class() -> None:
    strict = LabelMap(name="m", classes=("a", "b"), table={0: 0, 1: 1})
    masks = {str(number): [0, 1] for number in range(30)} | {"odd": [0, 7]}
    said = [(key, [0, 1] if key != "odd" else [0]) for key in masks]
    rows, witness = hear_witness(samples(masks), listed(said), {"m.yml": strict})
    assert (witness.agreed, witness.compared) == (30, 31)
    assert rows["listed"].to_list()[-1] != rows["held"].to_list()[-1]


def test_a_list_that_agrees_nowhere_is_not_understood_and_an_empty_one_says_nothing() -> None:
    masks = {str(number): [1, 2] for number in range(100)}
    assert not hear_witness(samples(masks), listed([(key, [9]) for key in masks]), {})[1].is_understood
    empty = hear_witness(samples(masks), listed([]), {})[1]
    assert (empty.rows, empty.compared, empty.unlisted) == (0, 0, 100)
    nothing = hear_witness(samples({}), listed([("a", [1])]), {})[1]
    assert (nothing.compared, nothing.strangers, nothing.masks) == (0, ("a",), 0)
