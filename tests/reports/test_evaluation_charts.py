"""Charts of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from histods.io.evaluation_file import ClassScore, Distance, Faithfulness
from reports.evaluation_charts import confusion_figure, distances_figure, draw_evaluation
from tests.evaluations import make_evaluation

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.transforms import Bbox


def test_both_charts_are_written_and_without_masks_only_the_first(tmp_path: Path) -> None:
    written = draw_evaluation(make_evaluation(), tmp_path)
    assert [path.name for path in written] == ["distances.png", "confusion.png"]
    for path in written:
        with Image.open(path) as picture:
            assert picture.width == 1440
    (only,) = draw_evaluation(make_evaluation(faithfulness=None), tmp_path / "other")
    assert only.name == "distances.png"


def test_a_metric_without_a_value_has_no_row_and_the_others_their_marks() -> None:
    figure = distances_figure(make_evaluation())
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "Fréchet distance" in texts
    assert "kernel distance (KID)" not in texts
    drawn = {float(np.asarray(line.get_xdata())[0]) for axes in figure.axes for line in axes.lines}
    assert {3.25, 3.5, 1.125} <= drawn


def test_an_evaluation_without_any_value_is_drawn_too(tmp_path: Path) -> None:
    nothing = {name: Distance(reason="too few") for name in make_evaluation().distances}
    assert draw_evaluation(make_evaluation(distances=nothing, faithfulness=None), tmp_path)


def test_rows_of_a_matrix_are_percentages_of_the_masks_class() -> None:
    made, real = confusion_figure(make_evaluation()).axes
    shares = made.images[0].get_array()
    assert shares is not None
    assert shares.tolist() == [pytest.approx([800 / 9, 100 / 9]), pytest.approx([70, 30])]
    assert {text.get_text() for text in real.texts} == {"98", "2", "30", "70"}
    assert [text.get_text() for text in made.get_yticklabels()] == ["Stroma", "Tumour <b>"]


def test_many_classes_have_no_numbers_in_cells() -> None:
    names = tuple(f"class {index}" for index in range(30))
    counts = tuple(tuple(int(row == column) for column in range(30)) for row in range(30))
    scores = Faithfulness(
        classes=tuple(ClassScore(name=name, pixels=1) for name in names),
        dice=None,
        real_dice=None,
        ratio=None,
        confusion=counts,
        real_confusion=counts,
    )
    figure = confusion_figure(make_evaluation(classes=names, faithfulness=scores))
    assert not any(axes.texts for axes in figure.axes)


def _longest() -> Faithfulness:
    """Scores of two classes with the longest names; the segmenter also sees a class that no mask has."""
    return Faithfulness(
        classes=tuple(ClassScore(name="W" * length, pixels=10) for length in (40, 41)),
        dice=None,
        real_dice=None,
        ratio=None,
        confusion=((4, 0, 6), (0, 10, 0), (0, 0, 0)),
        real_confusion=((10, 0, 0), (0, 10, 0), (0, 0, 0)),
    )


def test_no_text_is_cut_off_or_lies_on_another_one() -> None:
    names = ("W" * 40, "W" * 41, "W" * 42)
    found = make_evaluation(classes=names, faithfulness=_longest())
    for figure in (distances_figure(found), confusion_figure(found)):
        renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        figure.draw(renderer)
        whole = figure.get_tightbbox(renderer)  # in inches
        assert (whole.x0, whole.y0) >= (0, 0)
        assert (whole.x1, whole.y1) <= tuple(figure.get_size_inches())
        parts: list[Bbox | None] = [text.get_window_extent(renderer) for text in figure.texts]
        for axes in figure.axes:
            parts += [text.get_window_extent(renderer) for text in axes.texts]
            if axes.axison:
                parts += [axis.get_tightbbox(renderer) for axis in (axes.xaxis, axes.yaxis)]
        boxes = [box for box in parts if box is not None and box.width and box.height]
        overlapping = [
            (place, other)
            for place, box in enumerate(boxes)
            for other in range(place)
            if box.overlaps(boxes[other])
        ]
        assert not overlapping


def test_a_class_that_only_the_segmenter_sees_has_a_column_of_its_own() -> None:
    found = make_evaluation(classes=("A", "B", "C"), faithfulness=_longest())
    shares = confusion_figure(found).axes[0].images[0].get_array()
    assert shares is not None
    assert shares[0].tolist() == pytest.approx([40, 0, 60])
