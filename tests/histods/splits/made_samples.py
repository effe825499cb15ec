"""Random samples with labels of very different frequency, for the tests of placing and balancing."""

from __future__ import annotations

import numpy as np

from histods.splits.assign import Samples, keyed_hashes


def make_samples(
    number: int, *, units: int = 0, labels: int = 12, seed: int = 0, conditional: float = 0.4, skew: float = 1.5
) -> Samples:
    """Random samples; without `units` each is alone, else some units have favourite labels."""
    random = np.random.default_rng(seed)
    role = random.random(number) < conditional
    unit = random.integers(0, units, number) if units else np.arange(number)
    unit = np.unique(unit, return_inverse=True)[1]
    has = (random.random((number, labels)) < (np.arange(labels) + 1.0) ** -skew) & role[:, None]
    if units:
        has[np.arange(number), unit % labels] |= role
    sample, label = np.nonzero(has)
    return Samples(
        hashes=keyed_hashes((f"sample {i}" for i in range(number)), seed),
        units=unit,
        conditional=role,
        fixed=np.full(number, -1),
        labels=label.astype(np.uint16),
        pixels=(random.pareto(2, len(label)) * 1000 + 1).astype(np.uint32),
        offsets=np.concatenate([[0], np.cumsum(np.bincount(sample, minlength=number))]),
    )
