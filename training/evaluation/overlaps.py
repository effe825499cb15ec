"""Pictures and slides that two sets share, which makes what is said of them wrong: every such case is a warning.

Shapes: N images, D pixel values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_SHOWN = 3


def warn_of_overlap(
    what: tuple[str, str],
    keys: tuple[Sequence[str], Sequence[str]],
    pictures: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Iterator[str]:
    """A sentence if pictures of one set are in another, too.

    Args:
        what: what the sets are called.
        keys: a name for each image of both.
        pictures: their pixels, reduced alike, [N, D]; see `copying.SmallPictures`.
    """
    known = {row.tobytes(): key for row, key in zip(pictures[1], keys[1], strict=True) if not _is_flat(row)}
    same = [
        (key, known[row.tobytes()])
        for row, key in zip(pictures[0], keys[0], strict=True)
        if row.tobytes() in known
    ]
    if same:
        yield (
            f"{len(same):,} of {len(keys[0]):,} {what[0]} images are {what[1]} images, too, for example "
            f"{same[0][0]} and {same[0][1]}: no number here says what it should as long as they are in both"
        )


def warn_of_slides(real: Sequence[str], training: Sequence[str]) -> Iterator[str]:
    """A sentence if real images are of slides of the training images."""
    shared = sorted(set(real) & set(training))
    if shared:
        names = ", ".join(shared[:_SHOWN]) + (", ..." if len(shared) > _SHOWN else "")
        yield (
            f"{len(shared):,} of the {len(set(real)):,} slides of real images are slides of training images, too "
            f"({names}): faithfulness and tests for copies need real images of other slides"
        )


def _is_flat(picture: NDArray[np.float64]) -> bool:
    """Whether all pixels have one colour: two blank images are not copies."""
    return not np.ptp(picture.reshape(-1, 3), axis=0).any()
