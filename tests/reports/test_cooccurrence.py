"""The matrix of classes in the same images: its cells say the counts, and can be read on their colour."""

from __future__ import annotations

import numpy as np
import pytest

from histods.palette import INK, luminance
from reports.cooccurrence import DARK_SHARE, SHARES, _cell_texts, _fit_cells, cooccurrence_figure
from reports.style import COLUMN, FEW, PAGE, SOME, chart_style
from tests.reports.test_charts import make_system, text_boxes


def test_text_in_cells_has_the_contrast_that_large_text_needs_at_least() -> None:
    for share in range(101):
        cell = luminance("#" + bytes(round(255 * part) for part in SHARES(share / 100)[:3]).hex()) + 0.05
        contrast = 1.05 / cell if share > DARK_SHARE else cell / (luminance(INK) + 0.05)
        assert contrast > 3.8


def test_cells_of_few_classes_have_counts_and_of_more_their_shares() -> None:
    together = np.array([[40, 1, 0], [1, 300, 5], [0, 5, 5]])
    shares = 100 * together / np.diag(together)[:, None]
    texts = _cell_texts(together, shares)
    assert (texts[0, 0], texts[0, 1], texts[1, 0]) == ("40", "1\n2.50 %", "1\n0.33 %")
    assert (0, 2) not in texts
    number = FEW + 1
    many = np.full((number, number), 3) + np.diag([997] * number)
    texts = _cell_texts(many, 100 * many / 1000)
    assert set(texts.values()) == {"<1"}
    assert len(texts) == number * (number - 1)
    assert _cell_texts(np.ones((SOME + 1, SOME + 1), int), np.ones((SOME + 1, SOME + 1))) == {}


@pytest.mark.parametrize("number", [1, 2, 12, 30, 60])
@pytest.mark.parametrize("room", [1.0, 5.0])
def test_a_matrix_fits_its_room_and_drops_texts_before_it_does_not(number: int, room: float) -> None:
    together = np.full((number, number), 123_456)
    side, _ = _fit_cells(together, np.full((number, number), 100.0), room)
    assert 0 < side * number <= room + 1e-9


def test_every_total_stands_beside_its_row() -> None:
    system = make_system(5)
    assert system.together is not None
    for size in (PAGE, COLUMN):
        with chart_style():
            texts, _ = text_boxes(cooccurrence_figure(system, size=size))
        for total in np.diag(system.together).tolist():
            assert f"{total:,}" in texts
        assert "Classes in the same images (tissue)" in " ".join(texts) or size is COLUMN
