"""The balance of a split: every class and split can be read, and a split without a class is named."""

from __future__ import annotations

import numpy as np
import pytest

from reports.balance_table import Balance
from reports.split_balance import _lay_legend, _Room, _say_lacks, balance_figure
from reports.style import COLUMN, PAGE, Size, chart_style
from reports.text_layout import text_width
from tests.reports.test_charts import LONG, check_texts, make_system

SIZES = pytest.mark.parametrize("size", [PAGE, COLUMN], ids=["page", "column"])


@SIZES
@pytest.mark.parametrize(
    ("number", "splits"),
    [
        (2, ("train", "test")),
        (12, ("train", "val", "test")),
        (41, ("train", "test")),
        (300, ("train", "val", "test")),
        (12, tuple(f"fold-{number}" for number in range(10))),
        (3, ("a" * 60, "b" * 60)),
    ],
)
def test_split_balance_can_be_read(number: int, splits: tuple[str, ...], size: Size) -> None:
    system = make_system(number, names=[f"{LONG}, {label}" for label in range(number)])
    random = np.random.default_rng(number)
    pixels = random.integers(1, 10**6, (number, len(splits)))
    pixels[0], pixels[1, -1] = 0, 0
    with chart_style():
        texts = check_texts(balance_figure(system, Balance(splits, pixels, pixels // 100), size=size))
    drawn = {row.index for row in system.drawn}
    assert ("no pixels" in texts) == (0 in drawn)
    assert any(text.startswith("none in") for text in texts) == (1 in drawn)


def test_splits_that_lack_a_class_are_named() -> None:
    splits = ("train", "val", "test")
    assert _say_lacks(splits, [3, 1, 2], PAGE) == ""
    assert _say_lacks(splits, [3, 0, 0], PAGE) == "none in val, test"
    assert _say_lacks(splits, [0, 0, 0], PAGE) == "no pixels"
    assert text_width(_say_lacks(("a" * 99, "b"), [0, 1], COLUMN)) <= 0.25 * COLUMN.width


def test_a_number_is_written_only_where_it_fits_and_crosses_no_line() -> None:
    room = _Room(4.0, [50.0])
    assert room.holds("25", 0.0, 40.0)
    assert not room.holds("25", 0.0, 2.0)
    assert not room.holds("25", 40.0, 20.0)  # its middle is on the line


@pytest.mark.parametrize("number", [1, 3, 12])
def test_the_legend_has_every_split_within_its_width(number: int) -> None:
    splits = tuple(f"fold-{place}" for place in range(number))
    entries = _lay_legend(splits, [100 / number] * number, 4.0)
    assert [text.split(" ")[0] for _, _, text in entries] == [*splits]
    assert all(across + text_width(text) <= 4.0 for _, across, text in entries)
    assert len({(row, across) for row, across, _ in entries}) == number
