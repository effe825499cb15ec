"""Standard normal noise as a function of seed and position: stateless, and drawn for a whole batch at once.

Philox 4x32 with ten rounds (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011)
gives four words for each key and counter, and the method of Box and Muller (1958) turns two words into two normal
numbers. The same seed gives the same noise on every device, except for the last bits of sines and logarithms.

Shapes: S streams, B images, N groups of four numbers.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_LOW = 0xFFFFFFFF


def normal_noise(
    seeds: Sequence[int] | Tensor, shape: Sequence[int], device: torch.device | str, *, stream: int = 0
) -> Tensor:
    """Standard normal noise [B, *shape], float32; that of an image does not depend on the rest of the batch.

    Args:
        seeds: one per image, 0 to 2**63 - 1.
        shape: the shape of the noise of one image.
        device: where to draw.
        stream: selects one of an image's independent noises.
    """
    return normal_noises(seeds, shape, device, streams=1, first=stream)[0]


def normal_noises(
    seeds: Sequence[int] | Tensor,
    shape: Sequence[int],
    device: torch.device | str,
    *,
    streams: int,
    first: int = 0,
    compiled: bool = False,
) -> Tensor:
    """Noise [streams, B, *shape] of consecutive streams, from `first` on; see `normal_noise`.

    Args:
        seeds: one per image.
        shape: the shape of the noise of one image and stream.
        device: where to draw.
        streams: the number of streams.
        first: the first stream.
        compiled: draw in one kernel made by torch.compile instead of some 80 kernels.
    """
    size = math.prod(shape)
    seeds_B1 = torch.as_tensor(seeds, dtype=torch.int64).to(device, non_blocking=True)[:, None]
    streams_S11 = torch.arange(first, first + streams, device=device)[:, None, None]
    counters_N = torch.arange(-(-size // 4), device=device)
    draw = _compiled() if compiled else _draw
    constants = philox_constants(seeds_B1.device)
    return draw(seeds_B1, streams_S11, counters_N, *constants)[..., :size].reshape(streams, -1, *shape)


def _draw(
    seeds_B1: Tensor, streams_S11: Tensor, counters_N: Tensor, factors_2: Tensor, offsets_R2: Tensor
) -> Tensor:
    """Normal numbers [S, B, 4 N]."""
    even_2SBN, odd_2SBN = philox(
        seeds_B1 & _LOW, seeds_B1 >> 32, counters_N, streams_S11, factors_2=factors_2, offsets_R2=offsets_R2
    )
    radius = (even_2SBN + 1).float().mul(2.0**-32).log().mul(-2).sqrt()  # log of (0, 1]
    angle = odd_2SBN.float() * (2 * math.pi / 2**32)
    return torch.cat([*(radius * angle.cos()), *(radius * angle.sin())], dim=-1)


@cache
def _compiled() -> Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]:
    return torch.compile(_draw, dynamic=False)


@cache
def philox_constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """The two multipliers, and [R, 2], the amounts that each round adds to the key's halves.

    They are made once per device, since the host waits for each copy to a GPU.
    """
    rounds_R1 = torch.arange(_ROUNDS)[:, None]
    return torch.tensor(_MULTIPLIERS).to(device), (rounds_R1 * torch.tensor(_WEYL)).to(device)


def philox(
    key0: Tensor, key1: Tensor, counter: Tensor, stream: Tensor, *, factors_2: Tensor, offsets_R2: Tensor
) -> tuple[Tensor, Tensor]:
    """The four words of each key and counter (counter, 0, stream, 0), below 2**32, int64 of their common shape.

    Args:
        key0: first half of a key, below 2**32 like the next three.
        key1: second half.
        counter: first word of a counter.
        stream: third word.
        factors_2: the first of `philox_constants`.
        offsets_R2: the second of them.

    Returns:
        Words 0 and 2, and words 1 and 3, each stacked [2, ...].
    """
    counter, stream, key0, key1 = torch.broadcast_tensors(counter, stream, key0, key1)  # type: ignore[no-untyped-call]
    # Words 0 and 2 are multiplied; words 1 and 3 are the low halves of the previous products. A round swaps the
    # two pairs. Bits above 32 are cut off once per round; products may wrap.
    ones = [1] * key0.ndim
    factors = factors_2.view(2, *ones)
    even, odd = torch.stack([counter, stream]), torch.zeros_like(key0)
    for keys in torch.stack([key0, key1]) + offsets_R2.view(-1, 2, *ones):
        product = (even * factors).flip(0)
        even, odd = ((product >> 32) ^ odd ^ keys) & _LOW, product
    return even, odd & _LOW
