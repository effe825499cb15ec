"""`near_duplicate`: an image that looks the same as another one: compressed again, scaled, or moved by a pixel.

Each image has a perceptual hash (pHash; Zauner, "Implementation and benchmarking of perceptual image hash
functions", 2010): the 63 lowest frequencies, without the constant, of a discrete cosine transform of its luma at
32x32 pixels. Candidates are images whose signs about the median differ in at most 6 of 63 bits; a candidate is a
near-duplicate if the frequencies themselves have a cosine similarity of at least 0.99. Measured on 21 real
patches and 100 generated ones, each against a copy of itself:

| copy                                       | bits that differ, at most | similarity, at least |
| ------------------------------------------ | ------------------------- | -------------------- |
| JPEG of quality 95; 50; 20                 | 2; 2; 4                   | 0.9999; 0.999; 0.998 |
| at half the size; as PNG; 5 % darker       | 2                         | 0.999                |
| moved by 1 pixel of 256 to 768             | 6                         | 0.995                |
| moved by 2 pixels; 4 pixels                | 6; 12                     | 0.979; 0.918         |
| another image, of 521 (the most alike two) | 10 (at least)             | 0.952 (at most)      |

Tiles with hardly any tissue look alike and are not compared. Of images that are the same byte for byte only the
first is compared with `--hash`, since `duplicate_image` reports them; without it they are near-duplicates, too.
The search is `histods.checks.similar_hashes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pyarrow as pa

from histods.checks.base import Check, Threshold, found
from histods.checks.pictures import CONTRAST, TISSUE, has_tissue
from histods.checks.similar_hashes import find_pairs
from histods.measurement.extra_measure import Measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.checks.base import Context
    from histods.images.reduced import Picture

_SIDE, _LOWEST = 32, 8
_COMPARED = 1 << 18  # pairs at a time: 130 MB


def measure_frequencies(picture: Picture) -> bytes | None:
    """The 63 lowest frequencies but the constant as signed bytes, the largest as 127; null for flat pictures."""
    if picture.is_small:
        return None
    _, luma, _ = picture.means_for(_SIDE)
    small = np.rint(cv2.resize(luma, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))  # so that flat ones are flat
    lowest = cv2.dct(small)[:_LOWEST, :_LOWEST].ravel()[1:]
    largest = float(np.abs(lowest).max())
    return None if largest < 1 else np.rint(lowest * (127 / largest)).astype(np.int8).tobytes()


def judge(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Name for each near-duplicate the most similar image before it by path, and whether that is of another group.

    The first of several is not flagged, so that one is left if all that are flagged are moved out.
    """
    compared = samples.filter(
        has_tissue(context.limits["tissue"])
        & pl.col("frequencies").is_not_null()
        & pl.col("image_error").is_null()
    ).sort("image_path", "key")
    repeated = pl.col("image_digest").is_not_null() & ~pl.col("image_digest").is_first_distinct()
    compared = compared.filter(~repeated)
    frequencies = _unpack(compared["frequencies"].to_list())
    pairs = find_pairs(_hash(frequencies), int(context.limits["bits"]))
    earlier, later = _nearest(pairs, _compare(frequencies, pairs), context.limits["similarity"])
    columns = ("key", "image_path", "group")
    nearest = compared.select(columns)[later].with_columns(
        compared[name][earlier].alias(f"other_{name}") for name in columns
    )
    across = pl.when(pl.col("group") != pl.col("other_group")).then(
        pl.format(", which is of another group ({})", "other_group")
    )
    message = pl.format(
        "looks the same as {}{}; keep one of them, or keep them in one split",
        "other_image_path",
        across.otherwise(pl.lit("")),
    )
    return found(nearest, "image_path", message).with_columns(nearest["other_key"].alias("other"))


def _unpack(packed: list[bytes]) -> NDArray[np.float32]:
    """[images, 63] frequencies."""
    values = np.frombuffer(b"".join(packed), np.int8)
    return values.reshape(len(packed), _LOWEST * _LOWEST - 1).astype(np.float32)


def _hash(frequencies: NDArray[np.float32]) -> NDArray[np.uint64]:
    """[images] for each image the bits that tell which frequencies are above their median."""
    bits = frequencies > np.median(frequencies, axis=1, keepdims=True)
    packed = np.packbits(np.pad(bits, ((0, 0), (1, 0))), axis=1)
    return packed.view(">u8").ravel().astype(np.uint64)


def _compare(frequencies: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """[pairs] cosine similarity."""
    unit = frequencies / np.maximum(np.linalg.norm(frequencies, axis=1, keepdims=True), 1)
    similarity = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _COMPARED):
        left, right = pairs[start : start + _COMPARED].T
        np.einsum("ij,ij->i", unit[left], unit[right], out=similarity[start : start + _COMPARED])
    return similarity


def _nearest(
    pairs: NDArray[np.int64], similarity: NDArray[np.float32], least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of the pairs of each later image the most similar one, of equal ones that with the first image.

    Args:
        pairs: [pairs, 2] positions of the earlier and the later image, sorted.
        similarity: [pairs].
        least: less is no near-duplicate.

    Returns:
        Earlier and later images, in the order of the latter.
    """
    kept = similarity >= least
    pairs, similarity = pairs[kept], similarity[kept]
    best = np.full(pairs.max(initial=-1) + 1, -np.inf, np.float32)
    np.maximum.at(best, pairs[:, 1], similarity)
    earlier, later = pairs[similarity == best[pairs[:, 1]]].T
    images, first = np.unique(later, return_index=True)
    return earlier[first], images


CHECK = Check(
    code="near_duplicate",
    severity="warning",
    summary="An image that looks the same as another one (with `--quality`).",
    judge=judge,
    measures=(
        TISSUE,
        CONTRAST,
        Measure(column="frequencies", version=2, type=pa.binary(), quality=True, of_image=measure_frequencies),
    ),
    thresholds=(
        Threshold(
            name="similarity",
            default=0.99,
            meaning="a cosine similarity of at least this is a near-duplicate",
            source="measured: copies moved by a pixel have at least 0.995, different images at most 0.952",
        ),
        Threshold(
            name="bits",
            default=6,
            meaning="pairs that differ in more of the 63 bits are not compared",
            source="measured: copies moved by a pixel differ in at most 6, different images in at least 10",
            most=7,
        ),
        Threshold(
            name="tissue",
            default=0.1,
            meaning="tiles with a smaller share of tissue are not compared",
            source="chosen: as low_tissue",
        ),
    ),
    quality=True,
)
