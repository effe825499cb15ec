"""Samples of a segmenter: which are held out, what is measured of them, and their batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.records import silent
from tests.training.evaluation.toy_samples import COLOURS, Toy
from training.evaluation.segmenter.samples import (
    NO_CLASS,
    Batches,
    choose_held_out,
    measure,
    read_sample,
    spread,
)


def batches(toy: Toy, *, seed: int = 0, crop: int = 16, batch_size: int = 4) -> Batches:
    return Batches(toy, np.arange(len(toy)), classes=4, seed=seed, batch_size=batch_size, crop=crop)


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", None]), min_size=1, max_size=60))
def test_groups_are_held_out_whole_and_at_most_a_fifth(groups: list[str | None]) -> None:
    chosen = choose_held_out(len(groups), groups)
    assert chosen.sum() <= 0.2 * len(groups)
    held = {group for group, out in zip(groups, chosen, strict=True) if out and group is not None}
    kept = {group for group, out in zip(groups, chosen, strict=True) if not out and group is not None}
    assert not held & kept


def test_a_tenth_is_held_out_without_groups() -> None:
    chosen = choose_held_out(200, None)
    assert chosen.sum() == 20
    np.testing.assert_array_equal(chosen, choose_held_out(200, None))


def test_statistics_are_those_of_all_pixels() -> None:
    toy = Toy(size=5)
    found = measure(toy, np.arange(5), 4, silent)
    pixels = np.stack([toy[place][0] for place in range(5)]).reshape(-1, 3)
    masks = np.stack([toy[place][1] for place in range(5)])
    np.testing.assert_allclose(found.mean, pixels.mean(0))
    np.testing.assert_allclose(found.std, pixels.std(0))
    assert found.pixels == tuple(np.bincount(masks.ravel(), minlength=4).tolist())
    assert found.side == 32


def test_few_of_many_samples_are_spread_evenly() -> None:
    assert spread(np.arange(100, 201), 5) == [100, 125, 150, 175, 200]
    assert spread(np.arange(3), 5) == [0, 1, 2]
    assert spread(np.arange(0), 5) == []


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    first, again, other = batches(Toy()), batches(Toy()), batches(Toy(), seed=1)
    for step in (0, 7):
        for ours, theirs in zip(first.at(step), again.at(step), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(first.at(0).images_BHW3, first.at(1).images_BHW3)
    assert not np.array_equal(first.at(0).images_BHW3, other.at(0).images_BHW3)


def test_each_sample_is_drawn_once_per_pass() -> None:
    class Numbered(Toy):
        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return np.full((16, 16, 3), index, np.uint8), np.zeros((16, 16), np.uint8)

    drawn = np.stack([batches(Numbered()).at(step).images_BHW3[:, 0, 0, 0] for step in range(10)])
    first, second = drawn[:5].ravel().tolist(), drawn[5:].ravel().tolist()
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_crops_and_views_of_image_and_mask_are_the_same() -> None:
    seen = set()
    for step in range(8):
        images, targets = batches(Toy(side=48), crop=32).at(step)
        assert images.shape == (4, 32, 32, 3)
        distance = np.abs(images[..., None, :].astype(int) - COLOURS).sum(-1)
        assert (distance.argmin(-1) == targets).mean() > 0.99  # noise crosses to another colour now and then
        seen |= {"across" if (target == target[:, :1]).all() else "along" for target in targets}
    assert seen == {"across", "along"}  # bands are turned, too


def test_pixels_outside_a_small_image_have_no_class() -> None:
    images, targets = batches(Toy(side=20), crop=32).at(0)
    assert images.shape == (4, 32, 32, 3)
    assert ((targets == NO_CLASS).sum((1, 2)) == 32 * 32 - 20 * 20).all()
    assert (images[targets == NO_CLASS] > 0).any()


def test_an_unsound_sample_is_named() -> None:
    class Wrong(Toy):
        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            image, mask = super().__getitem__(index)
            return (image[:8], mask) if index else (image, mask + 9)

    with pytest.raises(HistodsError, match=r"^The mask of sample 0 has values from 10 to 12, but there are 4 c"):
        read_sample(Wrong(), 0, 4)
    with pytest.raises(HistodsError, match=r"^Sample 1 has an image of uint8 \(8, 32, 3\) and a mask of"):
        read_sample(Wrong(), 1, 4)
    with pytest.raises(HistodsError, match="multiple of 16"):
        batches(Toy(), crop=20)
