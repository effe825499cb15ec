"""Splitting keeps units whole, meets sizes exactly where it can, and balances labels better than chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from histods.errors import HistodsError
from histods.splits.assign import (
    Plan,
    Samples,
    assign,
    find_conflict,
    join_units,
    keyed_hashes,
    parse_plan,
    spread_splits,
)
from tests.histods.splits.made_samples import make_samples

Integers = NDArray[np.int64]


def sizes_of(plan: Plan, samples: Samples) -> Integers:
    conditional = int(samples.conditional.sum())
    return plan.sizes(conditional, len(samples.units) - conditional)


def count(samples: Samples, splits: Integers, number: int) -> Integers:
    roles = samples.conditional, ~samples.conditional
    return np.array([np.bincount(splits[role], minlength=number) for role in roles])


def label_shares(samples: Samples, splits: Integers, number: int) -> NDArray[np.float64]:
    """Share of each label's pixels on each split, [splits, labels]."""
    table = np.zeros((number, int(samples.labels.max()) + 1))
    np.add.at(table, (np.repeat(splits, np.diff(samples.offsets)), samples.labels), samples.pixels)
    shares: NDArray[np.float64] = table[:, table.sum(axis=0) > 0] / table.sum(axis=0)[table.sum(axis=0) > 0]
    return shares


def unevenness(samples: Samples, splits: Integers, plan: Plan) -> float:
    """Root of the mean squared difference between the shares of labels and the fractions."""
    shares = label_shares(samples, splits, len(plan.names))
    return float(np.sqrt(((shares - np.array(plan.fractions)[:, None]) ** 2).mean()))


# Plans


def test_the_dataset_of_skin_patches_is_split_to_the_image() -> None:
    assert parse_plan(0.1, 0.0, None).sizes(90_726, 156_024).tolist() == [[81_653, 9_073], [140_422, 15_602]]
    assert parse_plan(None, 0.0, None) == parse_plan(0.1, 0.0, None)


@given(
    st.floats(0.001, 0.6), st.floats(0.0, 0.39), st.integers(0, 3000), st.integers(0, 3000)
)  # all sums are below 1
def test_fractions_are_exact_to_the_nearest_sample(test: float, val: float, here: int, there: int) -> None:
    plan = parse_plan(test, val, None)
    sizes = plan.sizes(here, there)
    assert sizes.min() >= 0
    assert sizes.sum(axis=1).tolist() == [here, there]
    wanted = np.outer([here, there], plan.fractions[1:])
    assert np.abs(sizes[:, 1:] - wanted).max() <= 0.5 + 1e-9


@given(st.integers(2, 30), st.integers(0, 3000), st.integers(0, 3000))
def test_folds_are_level_within_each_role_and_in_all(folds: int, here: int, there: int) -> None:
    sizes = parse_plan(None, 0.0, folds).sizes(here, there)
    assert sizes.sum(axis=1).tolist() == [here, there]
    assert max(np.ptp(sizes, axis=1).max(), np.ptp(sizes.sum(axis=0))) <= 1


@pytest.mark.parametrize(
    ("test", "val", "folds", "message"),
    [
        (0.0, 0.0, None, "--test 0 is not between 0 and 1; 0.1 is a tenth."),
        (1.0, 0.0, None, "--test 1 is not between 0 and 1; 0.1 is a tenth."),
        (-0.5, 0.0, None, "--test -0.5 is not between 0 and 1; 0.1 is a tenth."),
        (float("nan"), 0.0, None, "--test nan is not between 0 and 1; 0.1 is a tenth."),
        (10.0, 0.0, None, "--test 10 is not between 0 and 1; 0.1 is a tenth."),
        (0.1, 1.0, None, "--val 1 is not between 0 and 1; 0.1 is a tenth, 0 is none."),
        (0.1, -0.1, None, "--val -0.1 is not between 0 and 1; 0.1 is a tenth, 0 is none."),
        (0.5, 0.5, None, "--test and --val make 1 together, which is not below 1; leave samples for train."),
        (None, 0.9, None, "--test and --val make 1 together, which is not below 1; leave samples for train."),
        (None, 0.0, 1, "--folds 1 is below 2; give more, or --test instead."),
        (
            0.1,
            0.0,
            5,
            "--folds does not go together with --test or --val, because every fold is a test in "
            "its turn; leave them out.",
        ),
        (
            None,
            0.1,
            5,
            "--folds does not go together with --test or --val, because every fold is a test in "
            "its turn; leave them out.",
        ),
    ],
)
def test_impossible_fractions_are_refused(test: float | None, val: float, folds: int | None, message: str) -> None:
    with pytest.raises(HistodsError) as refused:
        parse_plan(test, val, folds)
    assert str(refused.value) == message


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_of_more_than_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(HistodsError) as refused:
        keyed_hashes(["a"], seed)
    assert str(refused.value) == f"--seed {seed} is not between 0 and 2**64-1; give such a number."


# Units and conflicts

CODES = st.lists(st.tuples(st.integers(-1, 12), st.integers(-1, 12)), max_size=40)


@given(CODES)
def test_units_are_the_connected_components(codes: list[tuple[int, int]]) -> None:
    """Held against a walk from neighbour to neighbour."""
    units = join_units(*np.array(codes, dtype=np.int64).reshape(-1, 2).T)
    unseen = set(range(len(codes)))
    while unseen:
        reached = {unseen.pop()}
        border = set(reached)
        while border:
            one = codes[border.pop()]
            near = {i for i in unseen if any(a == b != -1 for a, b in zip(one, codes[i], strict=True))}
            reached, border, unseen = reached | near, border | near, unseen - near
        inside = sorted(reached)
        assert len(set(units[inside].tolist())) == 1
        assert not set(units[inside].tolist()) & set(np.delete(units, inside).tolist())


@pytest.mark.parametrize("turned", [False, True])
def test_a_chain_of_a_hundred_thousand_samples_is_one_unit(turned: bool) -> None:
    places = np.arange(100_000)[::-1] if turned else np.arange(100_000)
    assert np.unique(join_units(places // 2, (places + 1) // 2)).tolist() == [0]


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 6)), max_size=20))
def test_a_conflict_is_found_where_there_is_one(rows: list[tuple[int, int]]) -> None:
    fixed, codes = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    conflicts = {
        (i, j)
        for i, (split, code) in enumerate(rows)
        for j, (other, same) in enumerate(rows)
        if code == same >= 0 and split >= 0 and other >= 0 and split != other
    }
    found = find_conflict(fixed, codes)
    assert found in conflicts if conflicts else found is None


def test_a_unit_takes_the_side_that_any_of_its_samples_has() -> None:
    splits = spread_splits(np.array([-1, 2, -1, 0, -1]), np.array([0, 0, 1, 3, 3]))
    assert splits.tolist() == [2, 2, -1, 0, 0]


# Assigning


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 400),
    st.integers(1, 20),
    st.integers(0, 9),
    st.sampled_from([(0.1, 0.0, None), (0.3, 0.2, None), (None, 0.0, 2), (None, 0.0, 7)]),
)
def test_single_samples_get_exact_sizes_in_any_order(
    number: int, labels: int, seed: int, asked: tuple[float | None, float, int | None]
) -> None:
    samples = make_samples(number, labels=labels, seed=seed)
    targets = sizes_of(parse_plan(*asked), samples)
    splits = assign(samples, targets)
    assert count(samples, splits, targets.shape[1]).tolist() == targets.tolist()
    turned = np.random.default_rng(seed).permutation(number)
    assert assign(take(samples, turned), targets).tolist() == splits[turned].tolist()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 400),
    st.integers(1, 60),
    st.integers(0, 9),
    st.sampled_from([(0.1, 0.0, None), (0.3, 0.2, None), (None, 0.0, 5)]),
)
def test_units_stay_whole_in_any_order(
    number: int, units: int, seed: int, asked: tuple[float | None, float, int | None]
) -> None:
    samples = make_samples(number, units=units, seed=seed)
    plan = parse_plan(*asked)
    splits = assign(samples, sizes_of(plan, samples))
    assert (spread_splits(splits, samples.units) == splits).all()
    found = len(np.unique(samples.units))
    if found == (np.bincount(samples.units) > 1).sum():  # each unit has several samples
        assert len(np.unique(splits)) == min(found, len(plan.names))
    turned = np.random.default_rng(seed).permutation(number)
    renamed = np.random.default_rng(seed).permutation(units)
    other = take(replace(samples, units=renamed[samples.units]), turned)
    assert assign(other, sizes_of(plan, samples)).tolist() == splits[turned].tolist()


def take(samples: Samples, rows: Integers) -> Samples:
    """The samples in another order."""
    lengths = np.diff(samples.offsets)[rows]
    entries = np.concatenate([np.arange(*samples.offsets[row : row + 2]) for row in rows])
    return Samples(
        hashes=samples.hashes[rows],
        units=samples.units[rows],
        conditional=samples.conditional[rows],
        fixed=samples.fixed[rows],
        labels=samples.labels[entries],
        pixels=samples.pixels[entries],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 300), st.integers(0, 80), st.integers(0, 9), st.integers(1, 99))
def test_single_samples_fill_what_units_and_fixed_samples_leave(
    number: int, grouped: int, seed: int, percent: int
) -> None:
    """Wherever whole units and fixed samples fit into the sizes, the sizes are exact."""
    random = np.random.default_rng(seed)
    units = np.arange(number) + 8
    units[: min(grouped, number)] = random.integers(0, 8, min(grouped, number))
    samples = replace(make_samples(number, seed=seed), units=np.unique(units, return_inverse=True)[1])
    fixed = np.where(random.random(number) < 0.2, random.integers(0, 2, number), -1)
    fixed[: min(grouped, number)] = -1
    samples = replace(samples, fixed=fixed)
    targets = sizes_of(parse_plan(percent / 100, 0.0, None), samples)
    splits = assign(samples, targets)
    assert (splits[fixed >= 0] == fixed[fixed >= 0]).all()
    assert (spread_splits(splits, samples.units) == splits).all()
    alone = (np.bincount(samples.units)[samples.units] == 1) & (fixed < 0)
    settled = count(samples, np.where(alone, 2, splits), 3)[:, :2]
    sizes = count(samples, splits, 2)
    for role in range(2):
        if (settled[role] <= targets[role]).all():
            assert sizes[role].tolist() == targets[role].tolist()
        else:  # nothing is added where there is too much already
            full = settled[role] > targets[role]
            assert sizes[role][full].tolist() == settled[role][full].tolist()


def test_nothing_is_added_to_a_side_beyond_the_plan() -> None:
    samples = make_samples(500, units=80)
    fixed = spread_splits(np.where(np.arange(500) < 20, 2, -1), samples.units)
    plan = parse_plan(0.2, 0.0, None)
    targets = sizes_of(plan, samples)
    targets[:, 0] -= count(samples, fixed + 1, 4)[:, 3]
    splits = assign(replace(samples, fixed=fixed), targets)
    assert (splits == 2).tolist() == (fixed == 2).tolist()
    assert np.abs(count(samples, splits, 3)[:, :2] - targets).max() <= 5


def test_units_go_where_fixed_samples_leave_room() -> None:
    """Half of the samples are on the second split already, which is all that it should get."""
    units = np.concatenate([np.arange(100), 100 + np.arange(100) // 5])
    samples = replace(make_samples(200), units=units, fixed=np.where(np.arange(200) < 100, 1, -1))
    splits = assign(samples, sizes_of(parse_plan(0.5, 0.0, None), samples))
    assert (splits[100:] == 0).sum() >= 90


def test_without_masks_there_are_only_sizes() -> None:
    samples = make_samples(100, conditional=0.0)
    targets = sizes_of(parse_plan(0.25, 0.0, None), samples)
    assert len(samples.labels) == 0
    assert count(samples, assign(samples, targets), 2).tolist() == [[0, 0], [75, 25]]


# Balance


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("asked", [(0.15, 0.0, None), (0.2, 0.1, None), (None, 0.0, 4)])
def test_groups_are_balanced_better_than_the_best_of_many_random_ones(
    asked: tuple[float | None, float, int | None], seed: int
) -> None:
    samples = make_samples(3000, units=60, labels=15, seed=seed, skew=3.0)
    plan = parse_plan(*asked)
    ours = assign(samples, sizes_of(plan, samples))
    random = np.random.default_rng(seed)
    numbers = np.rint(np.array(plan.fractions) * 60).astype(int)
    deck = np.repeat(np.arange(len(numbers)), numbers)
    chance = [unevenness(samples, random.permutation(deck)[samples.units], plan) for _ in range(100)]
    assert unevenness(samples, ours, plan) < min(chance)
    got = count(samples, ours, len(plan.names)).sum(axis=0) / 3000
    assert np.abs(got - plan.fractions).max() < 0.03


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("number", [300, 12_000])
def test_single_samples_are_balanced_better_than_the_best_of_many_random_ones(number: int, seed: int) -> None:
    samples = make_samples(number, labels=20, seed=seed)
    plan = parse_plan(0.1, 0.0, None)
    ours = assign(samples, sizes_of(plan, samples))
    random = np.random.default_rng(seed)
    chance = [unevenness(samples, random.permutation(ours), plan) for _ in range(50)]
    assert unevenness(samples, ours, plan) < min(chance)


def test_units_that_can_be_shared_out_perfectly_are() -> None:
    """Twenty kinds of unit, ten of each: every fold gets two of each kind."""
    units = np.repeat(np.arange(200), 3)
    label = np.repeat(np.arange(200) % 20, 3)
    samples = Samples(
        hashes=keyed_hashes(map(str, range(600)), 4),
        units=units,
        conditional=np.ones(600, dtype=bool),
        fixed=np.full(600, -1),
        labels=label.astype(np.uint16),
        pixels=np.full(600, 4096, dtype=np.uint32),
        offsets=np.arange(601),
    )
    plan = parse_plan(None, 0.0, 5)
    splits = assign(samples, sizes_of(plan, samples))
    assert np.allclose(label_shares(samples, splits, 5), 0.2)


def test_another_seed_gives_another_split() -> None:
    for units in (0, 100):
        samples = make_samples(1000, units=units)
        targets = sizes_of(parse_plan(0.2, 0.0, None), samples)
        splits = set()
        for seed in range(5):
            hashes = keyed_hashes((f"sample {i}" for i in range(1000)), seed)
            splits.add(assign(replace(samples, hashes=hashes), targets).tobytes())
        assert len(splits) == 5


def test_labels_that_one_unit_holds_do_not_push_sizes_away() -> None:
    """Forty slides of ten samples, each with five labels of its own: a fifth of them is eight slides."""
    units = np.repeat(np.arange(40), 10)
    label = np.arange(400) // 2
    samples = Samples(
        hashes=keyed_hashes(map(str, range(400)), 0),
        units=units,
        conditional=np.ones(400, dtype=bool),
        fixed=np.full(400, -1),
        labels=label.astype(np.uint16),
        pixels=np.full(400, 4096, dtype=np.uint32),
        offsets=np.arange(401),
    )
    splits = assign(samples, sizes_of(parse_plan(0.2, 0.0, None), samples))
    assert np.bincount(splits).tolist() == [320, 80]
