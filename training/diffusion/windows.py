"""Sample latents of any size with a network of one size: windows that move from step to step.

In each step every cell of the latents gets the prediction of exactly one window. Windows lie on a grid, so that a
step costs hardly more than the area. The grid has another offset at each noise level, which leaves no border in
the same place for two steps: what one step predicts on both sides of a border, the next ones see in one window.
Random patches, those of DiffInfinite, are the alternative.

Shapes: B images, C channels, h and w of latents, H and W pixels of masks; N windows of n x m latents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from training.diffusion.noise import philox, philox_constants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from training.diffusion.samplers import Denoise


class Piece(NamedTuple):
    """Part of an axis: where its window starts, and the cells from `first` up to `end` that it predicts."""

    start: int
    first: int
    end: int


class _Window(NamedTuple):
    """One window: the number of its image, and its pieces of both axes."""

    image: int
    row: Piece
    column: Piece


Plan = Callable[[int, int, int, int, int], list[tuple[Piece, Piece]]]
"""Pieces of both axes for height, width, side, seed and level; where they overlap, the last one counts."""


def cut_axis(length: int, side: int, offset: int) -> list[Piece]:
    """Cut an axis where the grid has its borders; a window that would stick out is moved inside.

    Args:
        length: cells of the axis.
        side: cells of a window; an axis that is not longer is one piece.
        offset: the first border, from 0 to side - 1.
    """
    if length <= side:
        return [Piece(0, 0, length)]
    borders = [0, *range(offset or side, length, side), length]
    return [Piece(min(first, length - side), first, end) for first, end in pairwise(borders)]


def grid_offset(seed: int, level: int, side: int) -> tuple[int, int]:
    """The offsets of the grid in both axes, evenly drawn from 0 to side - 1, for an image at a noise level."""
    drawn = hashlib.sha256(f"windows\0{seed}\0{level}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") % side, int.from_bytes(drawn[8:16], "big") % side


def moving_grid(height: int, width: int, side: int, seed: int, level: int) -> list[tuple[Piece, Piece]]:
    """Windows on a grid without overlap, which has another offset at each level."""
    down, right = grid_offset(seed, level, side)
    return list(product(cut_axis(height, side, down), cut_axis(width, side, right)))


def random_patches(height: int, width: int, side: int, seed: int, level: int) -> list[tuple[Piece, Piece]]:
    """Windows around random cells, until all cells are covered, as in DiffInfinite.

    Aversa et al., "DiffInfinite: large mask-image synthesis via parallel random patch diffusion in
    histopathology", NeurIPS 2023. Each window lies around a cell that is drawn evenly from those that none covers
    yet, and is moved inside. A cell keeps the prediction of the first window that covers it, and so windows are
    listed from the last to the first. All of them see the latents as the step found them, so that they can be
    predicted at once.
    """
    drawn = hashlib.sha256(f"patches\0{seed}\0{level}".encode()).digest()
    key = torch.tensor(int.from_bytes(drawn[:8], "big") >> 1)
    factors_2, offsets_R2 = philox_constants(torch.device("cpu"))
    cells = torch.arange(height * width)
    words_2N, _ = philox(
        key & 0xFFFFFFFF, key >> 32, cells, torch.zeros_like(cells), factors_2=factors_2, offsets_R2=offsets_R2
    )
    order = torch.sort(
        words_2N[0], stable=True
    ).indices  # an even draw of what is left is the next of an even order
    covered_HW = np.zeros((height, width), bool)
    found = []
    for cell in order.tolist():
        y, x = divmod(cell, width)
        if covered_HW[y, x]:
            continue
        row, column = _around(y, height, side), _around(x, width, side)
        covered_HW[row.first : row.end, column.first : column.end] = True
        found.append((row, column))
    return found[::-1]


def _around(cell: int, length: int, side: int) -> Piece:
    """The piece around a cell, moved inside."""
    start = max(min(cell - side // 2, length - side), 0)
    return Piece(start, start, min(start + side, length))


def in_windows(
    guide: Callable[[Tensor], Denoise],
    masks_B1HW: Tensor,
    seeds: Sequence[int],
    *,
    side: int,
    batch: int,
    plan: Plan = moving_grid,
) -> Denoise:
    """A prediction function for latents of any size from one for windows.

    Args:
        guide: makes the prediction function for the masks of windows [N, 1, H', W'].
        masks_B1HW: the masks of the images.
        seeds: one per image, which places its windows.
        side: height and width of windows in latents; along an axis that is shorter, windows are as long as it is.
        batch: windows at once.
        plan: where the windows of an image lie at a noise level.
    """

    def denoise(x_BChw: Tensor, t_B: Tensor) -> Tensor:
        count, _, height, width = x_BChw.shape
        level, pixels = int(t_B[0]), masks_B1HW.shape[-1] // width
        n, m = min(side, height), min(side, width)
        windows = []
        for image, seed in zip(range(count), seeds, strict=True):
            windows += [_Window(image, *pieces) for pieces in plan(height, width, side, seed, level)]
        result_BChw = torch.empty_like(x_BChw, dtype=torch.float32)
        for first in range(0, len(windows), batch):
            chunk = windows[first : first + batch]
            x_NCnm = torch.stack([_crop(x_BChw, window, n, m) for window in chunk])
            masks_N1HW = torch.stack([_crop(masks_B1HW, window, n, m, pixels) for window in chunk])
            found_NCnm = guide(masks_N1HW)(x_NCnm, t_B[:1].expand(len(chunk)))
            for (image, row, column), found_Cnm in zip(chunk, found_NCnm, strict=True):
                rows = slice(row.first - row.start, row.end - row.start)
                columns = slice(column.first - column.start, column.end - column.start)
                result_BChw[image, :, row.first : row.end, column.first : column.end] = found_Cnm[:, rows, columns]
        return result_BChw

    return denoise


def _crop(canvas_BCHW: Tensor, window: _Window, n: int, m: int, scale: int = 1) -> Tensor:
    """What a window of n x m latents shows of an image, [C, n scale, m scale]."""
    top, left = window.row.start * scale, window.column.start * scale
    return canvas_BCHW[window.image, :, top : top + n * scale, left : left + m * scale]
