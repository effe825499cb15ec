"""Drawing by position: reference cutoffs, frequencies per rank, exact cover, and no memory between calls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.sampling.draws import (
    BLOCK,
    BalancedDraws,
    ClassLists,
    InOrder,
    class_cutoffs,
    dihedral,
    list_classes,
    rank_positions,
)

CLASSES = 5
SAMPLES = 997


def some_lists(seed: int = 0, samples: int = SAMPLES, classes: int = CLASSES) -> tuple[ClassLists, list[set[int]]]:
    """Samples with 0 to 3 classes each, and the same as sets."""
    random = np.random.default_rng(seed)
    of_each = [set(random.integers(0, classes, random.integers(0, 4)).tolist()) for _ in range(samples)]
    flat = np.array([c for held in of_each for c in sorted(held)], dtype=np.uint16)
    offsets = np.concatenate([[0], np.cumsum([len(held) for held in of_each])])
    return list_classes(flat, offsets, classes), of_each


def draws(*, replacement: bool, seed: int = 0, unconditional: float = 0.5) -> BalancedDraws:
    return BalancedDraws(
        seed=seed,
        lists=some_lists()[0],
        cutoffs=class_cutoffs(CLASSES, unconditional),
        replacement=replacement,
    )


def test_cutoffs_are_those_of_the_reference() -> None:
    assert class_cutoffs(5, 0.5).tolist() == [0.5, 0.625, 0.75, 0.875, 1.0]
    assert class_cutoffs(5, 0.0).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


@given(classes=st.integers(2, 256), unconditional=st.floats(0, 1))
def test_cutoffs_rise_to_exactly_one(classes: int, unconditional: float) -> None:
    cutoffs = class_cutoffs(classes, unconditional)
    assert cutoffs[-1] == 1
    assert (np.diff(cutoffs[:-1]) >= 0).all()


def test_lists_hold_each_sample_under_each_of_its_classes_and_the_rest_under_0() -> None:
    lists, of_each = some_lists()
    for index in range(CLASSES):
        listed = lists.samples[lists.bounds[index] : lists.bounds[index + 1]].tolist()
        expected = [s for s, held in enumerate(of_each) if (index in held if index else not held - {0})]
        assert listed == expected


@pytest.mark.parametrize("replacement", [True, False])
def test_a_drawn_sample_has_the_drawn_class(replacement: bool) -> None:
    of_each = some_lists()[1]
    found = draws(replacement=replacement).draw(np.arange(20_000))
    for sample, drawn in zip(found.samples.tolist(), found.classes.tolist(), strict=True):
        assert drawn in of_each[sample] if drawn else not of_each[sample] - {0}


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("unconditional", [0.5, 0.0])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_each_rank_sees_the_classes_at_their_probabilities(
    replacement: bool, unconditional: float, ranks: int
) -> None:
    drawn = draws(replacement=replacement, unconditional=unconditional)
    number = 100_000
    probabilities = np.diff(drawn.cutoffs, prepend=0)
    for rank in range(ranks):
        positions = np.concatenate(
            [rank_positions(s, global_batch=32, rank=rank, ranks=ranks) for s in range(number * ranks // 32)]
        )
        counts = np.bincount(drawn.draw(positions).classes, minlength=CLASSES)
        spread = np.sqrt(number * probabilities * (1 - probabilities))
        assert (np.abs(counts - number * probabilities) <= 4.5 * spread).all()


def test_samples_of_a_class_are_drawn_evenly_with_replacement() -> None:
    drawn = draws(replacement=True)
    found = drawn.draw(np.arange(200_000))
    for index, size in enumerate(drawn.lists.sizes.tolist()):
        counts = np.bincount(found.samples[found.classes == index], minlength=SAMPLES)
        counts = counts[drawn.lists.samples[drawn.lists.bounds[index] : drawn.lists.bounds[index + 1]]]
        expected = counts.sum() / size
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        assert abs(chi_square - size) < 6 * np.sqrt(2 * size)


def test_without_replacement_each_pass_over_a_class_covers_it_exactly() -> None:
    drawn = draws(replacement=False)
    found = drawn.draw(np.arange(12 * BLOCK))
    orders = set()
    for index, size in enumerate(drawn.lists.sizes.tolist()):
        of_class = found.samples[found.classes == index]
        listed = drawn.lists.samples[drawn.lists.bounds[index] : drawn.lists.bounds[index + 1]]
        assert len(of_class) > 2 * size
        for start in range(0, len(of_class) - size + 1, size):
            one_pass = of_class[start : start + size]
            np.testing.assert_array_equal(np.sort(one_pass), listed)
            orders.add(tuple(one_pass[:10].tolist()))
    assert len(orders) > CLASSES * 2


def test_without_replacement_every_block_holds_the_probabilities_to_one_draw() -> None:
    drawn = draws(replacement=False)
    probabilities = np.diff(drawn.cutoffs, prepend=0)
    for block in (0, 1, 7, 1023, 1024, 5000):
        found = drawn.draw(np.arange(block * BLOCK, (block + 1) * BLOCK))
        counts = np.bincount(found.classes, minlength=CLASSES)
        assert (np.abs(counts - BLOCK * probabilities) <= 1).all()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**64 - 1), start=st.integers(0, 2**40), replacement=st.booleans())
def test_what_stands_at_a_position_depends_on_seed_and_position_alone(
    seed: int, start: int, replacement: bool
) -> None:
    drawn = draws(replacement=replacement, seed=seed)
    positions = np.arange(start, start + 50)
    together = drawn.draw(positions)
    backwards = drawn.draw(positions[::-1])
    for name in together._fields:
        np.testing.assert_array_equal(getattr(together, name), getattr(backwards, name)[::-1])
    for place in (0, 49):
        alone = draws(replacement=replacement, seed=seed).draw([start + place])
        assert [column[0] for column in alone] == [column[place] for column in together]


def test_other_seeds_give_other_draws() -> None:
    first, second = (draws(replacement=True, seed=seed).draw(np.arange(1000)).samples for seed in (0, 1))
    assert (first == second).mean() < 0.05


def test_all_eight_views_come_equally_often() -> None:
    counts = np.bincount(draws(replacement=True).draw(np.arange(80_000)).views, minlength=8)
    assert (np.abs(counts - 10_000) < 5 * np.sqrt(80_000 / 8 * 7 / 8)).all()


def test_dihedral_views_are_eight_and_turn_mask_and_image_alike() -> None:
    mask = np.arange(12).reshape(3, 4)
    image = np.stack([mask, mask + 100], axis=-1)
    seen = {dihedral(mask, view).tobytes() + bytes(dihedral(mask, view).shape) for view in range(8)}
    assert len(seen) == 8
    for view in range(8):
        np.testing.assert_array_equal(dihedral(image, view)[..., 0], dihedral(mask, view))


@given(ranks=st.sampled_from([1, 2, 4, 8]), step=st.integers(0, 10**9), share=st.integers(1, 16))
def test_the_slices_of_the_ranks_are_the_global_batch(ranks: int, step: int, share: int) -> None:
    batch = ranks * share
    joined = [p for rank in range(ranks) for p in rank_positions(step, global_batch=batch, rank=rank, ranks=ranks)]
    assert joined == list(range(step * batch, (step + 1) * batch))


def test_in_order_gives_every_sample_once() -> None:
    found = InOrder(size=7).draw(np.arange(9))
    assert found.samples.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert set(found.classes.tolist()) == {-1}
    assert set(found.views.tolist()) == {0}


def test_memory_mapped_lists_are_drawn_from_like_others(tmp_path) -> None:  # type: ignore[no-untyped-def]
    drawn = draws(replacement=False)
    np.save(tmp_path / "samples.npy", drawn.lists.samples)
    mapped = np.load(tmp_path / "samples.npy", mmap_mode="r")
    again = BalancedDraws(
        seed=0, lists=ClassLists(mapped, drawn.lists.bounds), cutoffs=drawn.cutoffs, replacement=False
    )
    np.testing.assert_array_equal(drawn.draw(np.arange(500)).samples, again.draw(np.arange(500)).samples)


def refusal(call) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(HistodsError) as caught:
        call()
    return str(caught.value)


def test_a_class_that_is_to_be_drawn_and_has_no_samples_is_named() -> None:
    lists = list_classes(np.array([1], np.uint16), np.array([0, 1, 1]), 3)
    names = ("Unknown", "Background", "Tumour")
    assert refusal(lambda: BalancedDraws(seed=0, lists=lists, cutoffs=class_cutoffs(3, 0.5), names=names)) == (
        "There are no samples of class 2 Tumour, which is to be drawn; give it probability 0, "
        "or a label map without it."
    )
    BalancedDraws(seed=0, lists=lists, cutoffs=np.array([0.5, 1.0, 1.0]), names=names).draw([0])


def test_wrong_numbers_are_refused() -> None:
    lists = some_lists()[0]
    assert refusal(lambda: class_cutoffs(1, 0.5)).startswith(
        "Drawing by class needs at least 2 classes and a probability"
    )
    assert refusal(lambda: class_cutoffs(3, 1.5)).endswith("not 3 and 1.5; change the label map or the setting.")
    assert refusal(lambda: BalancedDraws(seed=0, lists=lists, cutoffs=np.array([0.5, 0.4, 1]))) == (
        "The cutoffs [0.5, 0.4, 1.0] are not 5 numbers that rise to 1; correct them."
    )
    assert refusal(lambda: rank_positions(0, global_batch=10, ranks=4)) == (
        "4 processes cannot share a global batch of 10 evenly (process 0); choose a multiple of 4."
    )
