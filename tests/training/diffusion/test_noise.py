"""Noise by seed and position: the published words, normal numbers, and none of it depends on the batch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.diffusion.noise import normal_noise, normal_noises, philox, philox_constants
from training.distributed import can_compile

# Counters, keys and words of the test vectors of Random123 1.14 (philox4x32, 10 rounds).
KNOWN = [
    ((0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
]


def words_of(*numbers: int) -> tuple[int, ...]:
    factors, offsets = philox_constants(torch.device("cpu"))
    even, odd = philox(*(torch.tensor([number]) for number in numbers), factors_2=factors, offsets_R2=offsets)
    return int(even[0]), int(odd[0]), int(even[1]), int(odd[1])


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_words_are_the_published_ones(
    counter: tuple[int, int], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    assert words_of(*key, *counter) == words


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=100)
def test_words_are_those_of_whole_numbers_in_python(key0: int, key1: int, counter: int, stream: int) -> None:
    c0, c1, c2, c3 = counter, 0, stream, 0
    keys = [key0, key1]
    for _ in range(10):
        product0, product2 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (
            product2 >> 32 ^ c1 ^ keys[0],
            product2 & 0xFFFFFFFF,
            product0 >> 32 ^ c3 ^ keys[1],
            product0 & 0xFFFFFFFF,
        )
        keys = [keys[0] + 0x9E3779B9 & 0xFFFFFFFF, keys[1] + 0xBB67AE85 & 0xFFFFFFFF]
    assert words_of(key0, key1, counter, stream) == (c0, c1, c2, c3)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=9), st.integers(1, 40), st.data())
@settings(deadline=None, max_examples=50)
def test_noise_of_a_seed_is_the_same_bits_in_any_batch(seeds: list[int], side: int, data: st.DataObject) -> None:
    together = normal_noise(seeds, (3, side), "cpu", stream=5)
    rows = data.draw(st.permutations(range(len(seeds))))[: data.draw(st.integers(1, len(seeds)))]
    assert torch.equal(normal_noise([seeds[row] for row in rows], (3, side), "cpu", stream=5), together[rows])
    assert torch.equal(normal_noise(torch.tensor(seeds), (3, side), "cpu", stream=5), together)


def test_streams_that_are_drawn_together_are_those_that_are_drawn_alone() -> None:
    together = normal_noises([5, 6], (3, 7), "cpu", streams=3, first=4)
    for row, stream in enumerate((4, 5, 6)):
        assert torch.equal(together[row], normal_noise([5, 6], (3, 7), "cpu", stream=stream))


def test_numbers_are_normal_up_to_six_deviations() -> None:
    many = normal_noise(range(64), (4, 64, 64), "cpu").double()
    count = many.numel()
    moments = {1: 0.0, 2: 1.0, 3: 0.0, 4: 3.0, 6: 15.0}
    variances = {1: 1.0, 2: 2.0, 3: 15.0, 4: 96.0, 6: 10395.0 - 225}
    for power, mean in moments.items():
        assert (many**power).mean().item() == pytest.approx(mean, abs=5 * math.sqrt(variances[power] / count))
    assert 4.5 < many.abs().max() < 7
    ordered = many.flatten().sort().values
    expected = torch.special.ndtr(ordered)
    gap = (expected - (torch.arange(count) + 0.5) / count).abs().max()
    assert gap < 1.95 / math.sqrt(count)  # Kolmogorov and Smirnov: beyond it once in a thousand


def test_seeds_streams_and_places_say_nothing_about_each_other() -> None:
    draws = [
        normal_noise([seed], (1 << 16,), "cpu", stream=stream)[0]
        for seed in (1, 2, 2 + 2**32)
        for stream in (0, 1, 2)
    ]
    draws += [draws[0].roll(1), draws[0].roll(2), draws[0].roll(1 << 14)]
    between = torch.corrcoef(torch.stack(draws).double()) - torch.eye(len(draws))
    assert between.abs().max() < 5 / 2**8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same_noise_in_one_kernel_or_many() -> None:
    cuda = torch.device("cuda")
    ours = normal_noise([3, 2**62 + 1], (4, 64, 64), "cpu")
    torch.testing.assert_close(normal_noise([3, 2**62 + 1], (4, 64, 64), cuda).cpu(), ours)
    if can_compile(cuda):
        compiled = normal_noises([3, 2**62 + 1], (4, 64, 64), cuda, streams=1, compiled=True)
        torch.testing.assert_close(compiled[0].cpu(), ours)
