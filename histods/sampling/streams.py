"""Streams of random words: the second word of the counter, one per purpose, so that no two share a draw."""

from __future__ import annotations

from enum import IntEnum


class Stream(IntEnum):
    """What random words are for. A number is never given to another purpose: runs would go on to other bits."""

    DRAW = 0
    CLASS_SCHEDULE = 1
    ORDER_IN_CLASS = 2
    NOISE_LEVELS = 16
    VALIDATION = 17
    DROPOUT = 18
    PREVIEW = 19
    SEGMENTER = 20
    FREE_CLASSES = 24
    KERNEL_SUBSET = 32
    COPYING_CELLS = 33
    BOOTSTRAP = 34
    HALVES = 35
