"""Encode images of any size in overlapping tiles, of which each gives the latents furthest from its borders.

Shapes: B images, C channels, h and w of latents, H and W pixels.
"""

from __future__ import annotations

from itertools import pairwise, product
from typing import TYPE_CHECKING

import torch

from training.inference.tiled_decoding import tile_starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def encode_tiles(
    encode: Callable[[Tensor], Tensor], images_BCHW: Tensor, *, factor: int, tile: int, overlap: int
) -> Tensor:
    """Latents [B, C, h, w] of images; in one piece if a single tile suffices.

    Args:
        encode: turns images [B, 3, factor h, factor w] into latents [B, C, h, w].
        images_BCHW: the images.
        factor: pixels per latent along each side.
        tile: latents along each side of a tile.
        overlap: latents that neighbouring tiles share.
    """
    height, width = (side // factor for side in images_BCHW.shape[2:])
    if max(height, width) <= tile:
        return encode(images_BCHW)
    rows, columns = _pieces(height, tile, overlap), _pieces(width, tile, overlap)
    bands = []
    for (top, first, last), column in product(rows, columns):
        left, begin, end = column
        part_BCHW = images_BCHW[:, :, top * factor : (top + tile) * factor, left * factor : (left + tile) * factor]
        found_BChw = encode(part_BCHW)[:, :, first - top : last - top, begin - left : end - left]
        if begin == 0:
            bands.append([found_BChw])
        else:
            bands[-1].append(found_BChw)
    return torch.cat([torch.cat(band, dim=3) for band in bands], dim=2)


def _pieces(length: int, tile: int, overlap: int) -> list[tuple[int, int, int]]:
    """The start of each tile along an axis, and the latents from and up to which it is used."""
    starts = tile_starts(length, tile, overlap)
    middles = [(after + before + tile) // 2 for before, after in pairwise(starts)]
    return list(zip(starts, [0, *middles], [*middles, length], strict=True))
