"""Encoding in tiles: a local encoder gives the whole, and each tile is used away from its borders."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d

from training.inference.tiled_encoding import encode_tiles


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(4, 12))
def test_tiles_of_an_encoder_that_looks_one_cell_far_give_the_whole(height: int, width: int, tile: int) -> None:
    images = torch.randn(2, 3, height * 4, width * 4, generator=torch.Generator().manual_seed(height))
    sizes = []

    def encode(part: Tensor) -> Tensor:
        sizes.append(part.shape[2:])
        return avg_pool2d(avg_pool2d(part, 4), 3, 1, 1)

    found = encode_tiles(encode, images, factor=4, tile=tile, overlap=max(tile // 4, 2))
    assert all(max(size) <= 4 * max(tile, 1) for size in sizes)
    torch.testing.assert_close(found, avg_pool2d(avg_pool2d(images, 4), 3, 1, 1))
