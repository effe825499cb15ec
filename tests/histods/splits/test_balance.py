"""The search for balanced splits: exact vectors, a greedy start, and moves and swaps until nothing helps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from histods.splits.assign import Samples
from histods.splits.balance import Content, fill_empty, improve, list_content, place, swap
from tests.histods.splits.made_samples import make_samples

Integers = NDArray[np.int64]


def whole_vectors(samples: Samples) -> NDArray[np.float64]:
    content = list_content(samples.units, samples.conditional, samples.labels, samples.pixels, samples.offsets)
    return content.sum_by(samples.units, int(samples.units.max()) + 1)


@pytest.mark.parametrize("splits", [2, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_the_search_ends_where_no_move_and_no_swap_helps(splits: int, seed: int) -> None:
    vectors = whole_vectors(make_samples(400, units=40, seed=seed))
    fractions = np.full(splits, 1 / splits)
    target = np.rint(np.outer(fractions, vectors.sum(axis=0)))
    deviations = -target
    chosen = place(vectors, deviations, fractions)

    def objective(where: Integers) -> float:
        held = np.array([vectors[where == split].sum(axis=0) for split in range(splits)])
        return float(((held - target) ** 2).sum())

    before = objective(chosen)
    improve(vectors, chosen, deviations, np.ones(splits, dtype=np.int64))
    best = objective(chosen)
    assert best <= before
    assert (deviations**2).sum() == best
    for unit in range(40):
        for other in range(splits):
            moved = chosen.copy()
            moved[unit] = other
            assert objective(moved) >= best or (chosen == chosen[unit]).sum() == 1
        for partner in range(unit):
            swapped = chosen.copy()
            swapped[[unit, partner]] = chosen[[partner, unit]]
            assert objective(swapped) >= best


@pytest.mark.parametrize("labels", [3, 60, 400])
def test_all_arithmetic_of_the_search_is_exact(labels: int) -> None:
    """Products and sums are whole numbers that floats hold exactly, so that no order of adding them matters."""
    vectors = whole_vectors(make_samples(4000, units=30, labels=labels, skew=0.8))
    total = vectors.sum(axis=0)
    assert (vectors == np.rint(vectors)).all()
    assert vectors.shape[1] == 2 + min(labels, 256)
    largest = 2 * sum(int(part) ** 2 for part in total.tolist()) * 3
    assert largest < 2**53


def test_rare_labels_beyond_the_limit_count_as_one() -> None:
    samples = make_samples(4000, labels=400, skew=0.8, conditional=1.0)
    content = list_content(samples.units, samples.conditional, samples.labels, samples.pixels, samples.offsets)
    totals = np.sort(np.bincount(samples.labels, samples.pixels))[::-1]
    columns = np.bincount(content.columns, content.amounts)
    assert columns[2:-1].tolist() == totals[:255].tolist()
    assert columns[-1] == totals[255:].sum()


def test_an_empty_side_gets_the_unit_that_costs_least() -> None:
    vectors = np.array([[8.0], [1.0], [8.0]])
    splits, target = np.array([0, 0, 0]), np.array([[16.0], [1.0]])
    deviations = np.array([[17.0], [0.0]]) - target
    fill_empty(vectors, splits, deviations, np.array([True, True]))
    assert splits.tolist() == [0, 0, 0]
    fill_empty(vectors, splits, deviations, np.array([False, False]))
    assert splits.tolist() == [0, 1, 0]
    assert deviations.tolist() == [[0.0], [0.0]]


def test_no_side_gives_its_only_unit_away() -> None:
    vectors, splits = np.array([[1.0], [8.0], [8.0]]), np.array([0, 1, 1])
    deviations = np.array([[5.0], [0.0], [-1.0]])  # the first unit would cost least
    fill_empty(vectors, splits, deviations, np.array([False, False, False]))
    assert sorted(splits.tolist()) == [0, 1, 2]
    assert splits[0] == 0


def test_swapping_stops_when_it_has_looked_at_enough() -> None:
    vectors = whole_vectors(make_samples(400, units=40))
    splits = np.arange(40) % 2
    deviations = np.array([vectors[splits == split].sum(axis=0) for split in range(2)])
    deviations -= np.rint(deviations.mean(axis=0))
    assert swap(vectors, splits.copy(), deviations.copy(), left=39) == (False, 39)
    swapped, left = swap(vectors, splits, deviations, left=100)
    assert swapped
    assert left == 100 - 2 * 40


def content_of(samples: Samples) -> Content:
    return list_content(samples.units, samples.conditional, samples.labels, samples.pixels, samples.offsets)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(0, 12), st.integers(0, 99))
def test_vectors_are_weighted_shares_of_samples_and_pixels(number: int, units: int, seed: int) -> None:
    """Held against a loop over the samples, without the scale; samples that are in no set count nowhere."""
    samples = make_samples(number, units=units, labels=6, seed=seed)
    content = content_of(samples)
    bins = np.random.default_rng(seed).integers(-1, 3, number)
    sums = np.zeros((3, len(content.scale)))
    ranked = sorted(
        set(samples.labels.tolist()), key=lambda label: -int(samples.pixels[samples.labels == label].sum())
    )
    for sample, there in enumerate(bins.tolist()):
        if there < 0:
            continue
        sums[there, 0 if samples.conditional[sample] else 1] += 1
        for entry in range(*samples.offsets[sample : sample + 2]):
            sums[there, 2 + ranked.index(samples.labels[entry])] += samples.pixels[entry]
    np.testing.assert_array_equal(content.sum_by(bins, 3), np.rint(sums * content.scale))


def test_a_label_weighs_by_the_units_that_share_it_and_however_rare_it_is() -> None:
    """Label 0 is in all of ten units, label 1 is as widespread with a thousandth of the pixels, label 2 in one."""
    labels = [[0, 1]] * 9 + [[0, 1, 2]]
    content = list_content(
        np.arange(10),
        np.ones(10, dtype=np.bool_),
        np.concatenate(labels).astype(np.uint16),
        np.concatenate([[1000, 1] + [500] * (len(one) - 2) for one in labels]).astype(np.uint32),
        np.concatenate([[0], np.cumsum([len(one) for one in labels])]),
    )
    whole = content.sum_by(np.zeros(10, dtype=np.int64), 1)[0] / 2**20
    columns = dict(zip(content.amounts.tolist(), content.columns.tolist(), strict=True))
    weights = {amount: whole[column] ** 2 for amount, column in columns.items() if column >= 2}
    assert weights[1000] == pytest.approx(0.9, rel=1e-4)
    assert weights[1] == pytest.approx(0.9, rel=1e-4)
    assert weights[500] == pytest.approx(0.01, rel=1e-3)
    assert whole[0] ** 2 == pytest.approx(2 * 3, rel=1e-4)  # a role outweighs all three labels together


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 99))
def test_each_split_has_its_unit_and_deviations_are_kept_up(units: int, splits: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = np.rint(random.pareto(1.5, (units, 4)) * 100)
    target = np.rint(np.full((splits, 1), 1 / splits) * vectors.sum(axis=0))
    deviations = -target
    chosen = place(vectors, deviations, np.full(splits, 1 / splits))
    fill_empty(vectors, chosen, deviations, np.zeros(splits, dtype=np.bool_))
    assert len(np.unique(chosen)) == min(units, splits)
    improve(vectors, chosen, deviations, np.ones(splits, dtype=np.int64))
    assert len(np.unique(chosen)) == min(units, splits)
    held = np.array([vectors[chosen == split].sum(axis=0) for split in range(splits)])
    np.testing.assert_array_equal(deviations, held - target)


def test_squares_tell_how_much_a_sample_matters() -> None:
    content = content_of(make_samples(50, labels=5))
    alone = content.sum_by(np.arange(50), 50)
    np.testing.assert_allclose(content.squares(), (alone**2).sum(axis=1))
    assert content.squares().shape == (50,)


def test_no_units_are_placed_nowhere() -> None:
    vectors, deviations = np.zeros((0, 3)), np.zeros((2, 3))
    chosen = place(vectors, deviations, np.array([0.5, 0.5]))
    improve(vectors, chosen, deviations, np.ones(2, dtype=np.int64))
    assert chosen.shape == (0,)
