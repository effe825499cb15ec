"""Folds for cross-validation of the samples for training: whole groups, classes balanced."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from histods.classes.class_system import flatten_labels
from histods.splits.assign import Plan, Samples, assign, join_units, keyed_hashes

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN, VAL, FOLD = "train", "val", "fold_"
"""Names that splits for training have, or begin with."""
_MOST = 5


class Fold(NamedTuple):
    """Names of the samples to train and to validate on."""

    train: list[str]
    val: list[str]


def is_training(split: str) -> bool:
    """Whether a network is trained, or validated while it trains, on the samples of a split."""
    return split in (TRAIN, VAL) or split.startswith(FOLD)


def list_folds(samples: pl.DataFrame) -> list[Fold]:
    """The folds of samples in splits for training.

    Folds of the split stay as they are, and train and val are the one fold. Where there is train alone, there are
    five folds of whole groups, or fewer where there are fewer groups; none where there is one group.

    Args:
        samples: columns of `SAMPLES` in `histods.exports.writer`, in the order of keys.
    """
    splits = samples["split"].unique().sort().to_list()
    if folds := [name for name in splits if name.startswith(FOLD)]:
        parts = [samples["split"] == name for name in folds]
    elif VAL in splits and TRAIN in splits:
        parts = [samples["split"] == VAL]
    else:
        numbers = pl.Series(_assign(samples))
        parts = [numbers == number for number in numbers.unique().sort()]
        if len(parts) < 2:
            return []
    names = samples["name"]
    return [Fold(names.filter(~part).to_list(), names.filter(part).to_list()) for part in parts]


def _assign(samples: pl.DataFrame) -> NDArray[np.int64]:
    """Number of the fold of each sample."""
    units = join_units(*(_codes(samples[column]) for column in ("group", "image_digest")))
    number = min(_MOST, len(np.unique(units)))
    plan = Plan(names=tuple(f"{FOLD}{i}" for i in range(number)), fractions=(1 / number,) * number, folds=number)
    known = Samples(
        hashes=keyed_hashes(samples["key"], 0),
        units=units,
        conditional=np.ones(len(samples), dtype=bool),
        fixed=np.full(len(samples), -1),
        **flatten_labels(samples.select("classes", "pixels").to_arrow(), "classes")._asdict(),
    )
    return assign(known, plan.sizes(len(samples), 0))


def _codes(values: pl.Series) -> NDArray[np.int64]:
    """A number for each value, from 0; -1 where there is none."""
    codes: NDArray[np.int64] = values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1
    return codes
