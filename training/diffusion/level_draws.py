"""How training draws noise levels: as a function of random words.

Shapes: B samples; T noise levels.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from histods.sampling.philox import below

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.config.sections import LevelDraw


def draw_levels(words_B: NDArray[np.uint64], timesteps: int, levels: LevelDraw) -> NDArray[np.int64]:
    """A noise level, int64 [B], for each random word."""
    if levels == "uniform":
        return below(words_B, np.full(len(words_B), timesteps, dtype=np.int64))
    fractions_B = (words_B >> np.uint64(11)) * 2.0**-53
    return np.searchsorted(logit_normal(timesteps), fractions_B, side="right")


@cache
def logit_normal(timesteps: int) -> NDArray[np.float64]:
    """The probability of each level or a lower one, float64 [T], for t = sigmoid(n), where n is standard normal.

    Level i of T stands for t in (i / T, (i + 1) / T].
    Esser et al., "Scaling rectified flow transformers for high-resolution image synthesis", ICML 2024, section
    3.1, with location 0 and scale 1.
    """
    inner = (math.log(level / (timesteps - level)) for level in range(1, timesteps))
    return np.array([*(math.erfc(-logit / math.sqrt(2)) / 2 for logit in inner), 1.0])
