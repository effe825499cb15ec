"""Decode latents of any size in overlapping tiles, a strip of rows at a time, so that memory stays small.

Where tiles overlap, their pixels are blended with the weights of a Hann window: each fades in over the overlap as
sin^2 and the other fades out as cos^2.

Shapes: B images, C channels, h and w of latents, H and W pixels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor


def decode_strips(
    decode: Callable[[Tensor], Tensor], latents_BChw: Tensor, *, factor: int, tile: int, overlap: int
) -> Iterator[Tensor]:
    """Decode strips of images from top to bottom, [B, 3, rows, W] each; one strip if a single tile suffices.

    Args:
        decode: turns latents [B, C, h, w] into images [B, 3, factor h, factor w].
        latents_BChw: the latents.
        factor: pixels per latent along each side.
        tile: latents along each side of a tile.
        overlap: latents that neighbouring tiles share, at most half of a tile.
    """
    height, width = latents_BChw.shape[2:]
    if max(height, width) <= tile:
        yield decode(latents_BChw)
        return
    rows, columns = tile_starts(height, tile, overlap), tile_starts(width, tile, overlap)
    deep, wide = min(tile, height), min(tile, width)
    fades = [_fade(wide * factor, left > 0, left + wide < width, overlap * factor) for left in columns]
    carried: tuple[Tensor, Tensor] | None = None  # sums and weights of rows that the next tiles share
    for top, following in zip(rows, [*rows[1:], height], strict=True):
        sums, weights = _empty(latents_BChw, deep * factor, width * factor)
        fade_H = _fade(deep * factor, top > 0, top + deep < height, overlap * factor).to(latents_BChw.device)
        for left, fade_W in zip(columns, fades, strict=True):
            image_BCHW = decode(latents_BChw[:, :, top : top + deep, left : left + wide]).float()
            weight_HW = fade_H[:, None] * fade_W.to(fade_H)[None]
            place = slice(left * factor, (left + wide) * factor)
            sums[..., place] += image_BCHW * weight_HW
            weights[:, place] += weight_HW
        if carried is not None:
            shared = carried[1].shape[0]
            sums[:, :, :shared] += carried[0]
            weights[:shared] += carried[1]
        done = (following - top) * factor
        yield sums[:, :, :done] / weights[:done]
        carried = sums[:, :, done:], weights[done:]


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles start along an axis: each shares at least `overlap` cells with the one before."""
    if length <= tile:
        return [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    return [number * (length - tile) // (count - 1) for number in range(count)]


def _fade(pixels: int, begins: bool, ends: bool, overlap: int) -> Tensor:
    """Weights along an axis of a tile: fading in if a tile lies before it, and out if one lies behind it."""
    weights = torch.ones(pixels)
    ramp = ((torch.arange(overlap) + 0.5) * (math.pi / 2 / max(overlap, 1))).sin() ** 2
    if begins:
        weights[:overlap] *= ramp
    if ends:
        weights[pixels - overlap :] *= ramp.flip(0)
    return weights


def _empty(latents_BChw: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Sums [B, 3, height, width] and weights [height, width], all zero."""
    device = latents_BChw.device
    return torch.zeros(len(latents_BChw), 3, height, width, device=device), torch.zeros(
        height, width, device=device
    )
