"""Files that are not pictures are counted, and words name pictures that were made from others."""

from __future__ import annotations

import re

import polars as pl
import pytest

from histods.dataset.layouts.auxiliary_files import DERIVED_OR_COLOURED_WORD, DERIVED_WORD, count_by_suffix


def test_suffixes_are_counted_in_order_and_no_suffix_is_named() -> None:
    files = pl.DataFrame({"suffix": [".txt", "", ".csv", ".txt", "", ".äö"]})
    counts = count_by_suffix(files)
    assert counts == {"(no suffix)": 2, ".csv": 1, ".txt": 2, ".äö": 1}
    assert list(counts) == sorted(counts)
    assert count_by_suffix(files.clear()) == {}


@pytest.mark.parametrize(
    ("text", "derived"),
    [
        *((text, True) for text in ("x_overlay", "Overlays/x", "x-PRED", "pred1", "heatmap", "x.vis", "edge_3")),
        *((text, False) for text in ("predator", "x_overlayer", "invis", "knowledge", "x_mask", "", "日本")),
    ],
)
def test_a_word_of_a_made_picture_stands_between_other_signs(text: str, derived: bool) -> None:
    assert (re.search(DERIVED_WORD, text) is not None) == derived
    assert (re.search(DERIVED_OR_COLOURED_WORD, text) is not None) == derived
    assert pl.Series([text]).str.contains(DERIVED_WORD).to_list() == [derived]


@pytest.mark.parametrize("text", ["x_color", "Colours/x", "coloured 1", "colormap"])
def test_colour_words_count_only_where_they_are_asked_for(text: str) -> None:
    assert re.search(DERIVED_WORD, text) is None
    assert re.search(DERIVED_OR_COLOURED_WORD, text) is not None
