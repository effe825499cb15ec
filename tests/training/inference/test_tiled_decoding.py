"""Decoding in tiles: every row comes once, a local decoder gives the whole, and tiles meet without a step."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.autoencoders.linear import LinearAutoencoder
from training.inference.tiled_decoding import decode_strips, tile_starts


@pytest.fixture(scope="module")
def autoencoder() -> LinearAutoencoder:
    generator = torch.Generator().manual_seed(0)
    return LinearAutoencoder.fit([torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8, generator=generator)])


@given(st.integers(1, 300), st.integers(1, 40), st.data())
def test_tiles_cover_an_axis_and_overlap_enough(length: int, tile: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, tile // 2))
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    if length > tile:
        assert starts[-1] + tile == length
        assert all(0 < after - before <= tile - overlap for before, after in pairwise(starts))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(4, 12))
def test_tiles_of_a_local_decoder_give_the_whole(
    autoencoder: LinearAutoencoder, height: int, width: int, tile: int
) -> None:
    latents = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(height))
    strips = list(decode_strips(autoencoder.decode, latents, factor=8, tile=tile, overlap=tile // 4))
    torch.testing.assert_close(torch.cat(strips, dim=2), autoencoder.decode(latents), atol=1e-5, rtol=1e-5)
    assert max(strip.shape[2] for strip in strips) <= 8 * max(tile, min(height, tile))


def test_tiles_of_another_brightness_meet_without_a_step() -> None:
    """Each tile is decoded as one brightness, as an autoencoder may that normalises over what it sees."""
    calls = iter(range(1000))

    def decode(latents: Tensor) -> Tensor:
        count, _, height, width = latents.shape
        return torch.full((count, 3, 8 * height, 8 * width), float(next(calls) % 2))

    latents = torch.zeros(1, 4, 40, 40)
    image = torch.cat(list(decode_strips(decode, latents, factor=8, tile=16, overlap=8)), dim=2)
    steepest = max(image.diff(dim=axis).abs().max().item() for axis in (2, 3))
    assert steepest < 0.06
    assert image.min() == 0
    assert image.max() == 1
