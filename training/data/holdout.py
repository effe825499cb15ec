"""Hold out whole groups of training samples, one in twenty, for validation if there is no validation split."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from histods.sampling.draws import ClassLists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SHARE = 0.05
"""Share of the samples to hold out; keeping groups whole may exceed it."""
_MOST = 0.2
"""Upper limit of that share; a group that would exceed it is not held out."""
_MAX_OF_CLASS = 0.5


def choose_held_out(keys: Sequence[str], groups: Sequence[str | None], lists: ClassLists) -> NDArray[np.bool_]:
    """Choose the samples to hold out by digests of group names, independent of the run's seed.

    A sample without a group is a group of its own. At least half of the samples of each class remain.

    Args:
        keys: the keys of the N samples.
        groups: group (slide, patient) of each sample, or None.
        lists: the samples of each class.

    Returns:
        [N], true for held-out samples; none are if every group is too large or holds most of a class.
    """
    names = [f"key {key}" if group is None else f"group {group}" for key, group in zip(keys, groups, strict=True)]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    distinct = list(numbers)
    units = np.array([numbers[name] for name in names], dtype=np.int64)
    order = sorted(range(len(distinct)), key=lambda unit: hashlib.sha256(distinct[unit].encode()).digest())
    sizes = np.bincount(units, minlength=len(distinct))
    # Entries (class, sample), sorted by the sample's unit: those of unit u are at bounds[u]:bounds[u + 1].
    of_entry = units[lists.samples]
    by_unit = np.argsort(of_entry, kind="stable")
    classes = np.repeat(np.arange(len(lists.sizes)), lists.sizes)[by_unit]
    bounds = np.searchsorted(of_entry[by_unit], np.arange(len(distinct) + 1))
    room = np.floor(lists.sizes * _MAX_OF_CLASS).astype(np.int64)
    chosen = np.zeros(len(distinct), dtype=bool)
    held = 0
    for unit in order:
        if held >= SHARE * len(keys):
            break
        own = np.bincount(classes[bounds[unit] : bounds[unit + 1]], minlength=len(room))
        if held + sizes[unit] <= _MOST * len(keys) and (own <= room).all():
            chosen[unit] = True
            held += int(sizes[unit])
            room = room - own
    return chosen[units]


def without(lists: ClassLists, held_out: NDArray[np.bool_]) -> ClassLists:
    """The samples of each class without the held-out ones."""
    if not held_out.any():
        return lists
    kept = ~held_out[lists.samples]
    counts = np.concatenate([[0], np.cumsum(kept)])
    return ClassLists(lists.samples[kept], counts[lists.bounds])
