"""Agreement of predictions with masks: counts, scores, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from histods.errors import HistodsError
from training.evaluation.segmenter.faithfulness import agreement, confusion, ignored_class, ratio

labels = arrays(np.uint8, (2, 3, 5), elements=st.integers(0, 3))


@given(labels, labels, st.sampled_from([None, 0, 2]))
def test_scores_are_those_of_sets_of_pixels(masks: np.ndarray, predicted: np.ndarray, ignored: int | None) -> None:
    found = agreement(confusion(masks, predicted, classes=4, ignored=ignored))
    counted = masks != (255 if ignored is None else ignored)
    for label in range(4):
        ours = set(np.flatnonzero((masks == label) & counted).tolist())
        theirs = set(np.flatnonzero((predicted == label) & counted).tolist())
        assert found.pixels[label] == len(ours)
        if not ours:
            assert found.dice[label] is None
            assert found.iou[label] is None
        else:
            assert found.dice[label] == 2 * len(ours & theirs) / (len(ours) + len(theirs))
            assert found.iou[label] == len(ours & theirs) / len(ours | theirs)
    known = [score for score in found.dice if score is not None]
    assert found.mean_dice == (pytest.approx(np.mean(known)) if known else None)


@given(labels)
def test_masks_agree_with_themselves_fully(masks: np.ndarray) -> None:
    found = agreement(confusion(masks, masks, classes=4, ignored=None))
    assert (found.mean_dice, found.mean_iou) == (1.0, 1.0)


@given(labels, labels)
def test_counts_of_batches_add_up(masks: np.ndarray, predicted: np.ndarray) -> None:
    parts = [confusion(masks[row], predicted[row], classes=4, ignored=0) for row in range(2)]
    whole = confusion(masks, predicted, classes=4, ignored=0)
    np.testing.assert_array_equal(parts[0] + parts[1], whole)
    assert whole.dtype == np.int64
    assert whole.sum() == (masks != 0).sum()


def test_the_ratio_is_over_the_classes_that_both_have() -> None:
    real = np.diag([0, 80, 40, 5])
    real[1, 2] = 20
    generated = np.diag([0, 50, 20, 0])
    generated[1, 2] = 50
    dice = [agreement(one).dice for one in (generated, real)]
    expected = (dice[0][1] + dice[0][2]) / (dice[1][1] + dice[1][2])  # type: ignore[operator]
    assert ratio(generated, real).dice == pytest.approx(expected)
    assert ratio(real, real).dice == ratio(real, real).iou == 1.0
    assert ratio(np.diag([0, 1, 0, 0]), np.diag([0, 0, 1, 1])).dice is None


def test_only_an_unknown_class_0_is_left_out() -> None:
    assert ignored_class(["Unknown", "Tumour"]) == 0
    assert ignored_class(["unlabelled", "Tumour"]) == 0
    assert ignored_class(["Background", "Unknown"]) is None
    assert ignored_class([]) is None


def test_other_shapes_and_values_are_refused() -> None:
    masks = np.zeros((1, 4, 4), np.uint8)
    with pytest.raises(HistodsError, match=r"Masks of \(1, 4, 4\) and predictions of \(1, 4, 5\)"):
        confusion(masks, np.zeros((1, 4, 5), np.uint8), classes=2, ignored=None)
    with pytest.raises(HistodsError, match="The masks have the value 7, but there are 2 classes"):
        confusion(masks + 7, masks, classes=2, ignored=None)
    with pytest.raises(HistodsError, match="The predictions have the value -1"):
        confusion(masks, masks.astype(np.int64) - 1, classes=2, ignored=None)
    with pytest.raises(HistodsError, match="2 and 3 classes"):
        ratio(np.zeros((2, 2), np.int64), np.zeros((3, 3), np.int64))
