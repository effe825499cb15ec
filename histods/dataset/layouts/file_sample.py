"""A sample of the files of a large dataset that keeps both files of a pair, or neither.

Names are grouped by their rarest word, which is never the one that distinguishes an image from its mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLE = 1000


def gather(files: pl.DataFrame) -> pl.DataFrame:
    """Choose some 1,000 of the files, with all or none of those that share a rarest word.

    Args:
        files: `path` and `key` of each picture, and more columns.
    """
    if len(files) <= _SAMPLE:
        return files.sort("path")
    files = files.with_columns(family=pl.Series(_rarest_words(files["key"])).hash())
    share = (2**64 - 1) // len(files) * _SAMPLE
    return files.filter(pl.col("family") <= share).sort("family", "path").head(2 * _SAMPLE)


def _rarest_words(keys: pl.Series) -> NDArray[np.uint64]:
    """[keys] A hash of the rarest word of each key; 0 for a key without words.

    Frequencies are counted by part of the word's hash. Two words may share it, which makes both look less rare,
    but equally for images and masks.
    """
    words = keys.str.extract_all(r"\p{L}+|\p{N}+")
    lengths = words.list.len().to_numpy()
    has_words = lengths > 0
    rarest = np.zeros(len(keys), np.uint64)
    if has_words.any():
        plain = words.explode().drop_nulls().str.strip_chars_start("0").str.to_lowercase()
        hashes = plain.hash().to_numpy()
        slots = hashes >> np.uint64(40)
        frequency = np.bincount(slots)[slots].astype(np.uint64)
        order = frequency << np.uint64(32) | hashes & np.uint64(0xFFFFFFFF)
        starts = np.cumsum(lengths[has_words], dtype=np.int64) - lengths[has_words]
        rarest[has_words] = np.minimum.reduceat(order, starts)
    return rarest
