"""How generated masks differ from real ones: classes, sizes of regions, which classes touch, strips on borders.

Each distance comes with a floor: the same distance between two halves of the real masks that have no slide in
common. With distances at the floor, generated masks are as much like the real ones as those of other slides are.
All distances are 0 for equal sets. Masks should have one size and scale, since their edges cut regions off.

Shapes: N masks, K classes, H and W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from histods.errors import HistodsError
from histods.io.mask_evaluation_file import MaskComparison, MaskDistance
from histods.run_lengths import SPECK_PIXELS, find_runs
from training.evaluation.metrics.intervals import halves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from histods.run_lengths import Runs

_HALVINGS = 10


class MaskStatistics(NamedTuple):
    """What is compared of a set of masks.

    Attributes:
        proportions_NK: float64, the share of each class among the pixels of each mask.
        sizes: for each mask and class, the pixels of its regions, which are connected by sides or corners.
        contacts_NKK: int64, pairs of neighbouring pixels of two classes, in upper triangles.
        strips_N: int64, strips: short runs, in rows and columns, between two other classes that differ.
        borders_N: int64, borders between runs, in rows and columns.
    """

    proportions_NK: NDArray[np.float64]
    sizes: list[list[NDArray[np.int64]]]
    contacts_NKK: NDArray[np.int64]
    strips_N: NDArray[np.int64]
    borders_N: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> MaskStatistics:
        """Those of some of the masks."""
        return MaskStatistics(
            self.proportions_NK[rows],
            [self.sizes[row] for row in rows],
            self.contacts_NKK[rows],
            self.strips_N[rows],
            self.borders_N[rows],
        )


def compare_masks(
    real: Iterable[NDArray[np.uint8]],
    groups: Sequence[str | None],
    generated: Iterable[NDArray[np.uint8]],
    classes: Sequence[str],
    *,
    strip: int = SPECK_PIXELS,
    seed: int = 0,
) -> MaskComparison:
    """Compare generated masks with real ones.

    Args:
        real: masks of classes [H, W], read once.
        groups: the group (slide) of each real mask; a mask without one (None) is a group of its own.
        generated: masks of classes [H, W], read once.
        classes: names of the classes.
        strip: the longest run that is a strip, pixels. A class that interpolation leaves on the border of two
            others is a pixel wide, or a cell where masks were enlarged.
        seed: the seed of the halves.

    Raises:
        HistodsError: a side has no masks, a mask has other classes, or there is not one group per real mask.
    """
    known, made = (measure_masks(masks, len(classes), strip=strip) for masks in (real, generated))
    if len(groups) != len(known.strips_N):
        raise HistodsError(
            f"There are {len(known.strips_N)} real masks and {len(groups)} groups; give one for each."
        )
    pairs = [(known.take(one), known.take(other)) for one, other in _halve(groups, seed)]

    def compare(distance: Callable[[MaskStatistics, MaskStatistics], float | None]) -> MaskDistance:
        floors = [found for pair in pairs if (found := distance(*pair)) is not None]
        return MaskDistance(distance=distance(known, made), floor=float(np.mean(floors)) if floors else None)

    return MaskComparison(
        real=len(known.strips_N),
        generated=len(made.strips_N),
        groups=_count(groups),
        mean_proportions=compare(_mean_proportions),
        proportions={name: compare(_of_class(_proportion, label)) for label, name in enumerate(classes)},
        region_sizes={name: compare(_of_class(_region_sizes, label)) for label, name in enumerate(classes)},
        adjacency=compare(_adjacency),
        strips=compare(_strips),
        real_strips=strip_share(known),
        generated_strips=strip_share(made),
    )


def measure_masks(
    masks: Iterable[NDArray[np.uint8]], num_classes: int, *, strip: int = SPECK_PIXELS
) -> MaskStatistics:
    """Measure a set of masks.

    Raises:
        HistodsError: there are none, or one has a class that does not exist.
    """
    proportions, sizes, contacts, strips, borders = [], [], [], [], []
    for number, mask in enumerate(masks):
        counts = np.bincount(mask.ravel(), minlength=num_classes)
        if len(counts) > num_classes:
            raise HistodsError(
                f"Mask {number} has the class {len(counts) - 1}, but there are only {num_classes} classes; "
                "compare masks of one label map."
            )
        proportions.append(counts / mask.size)
        sizes.append([_regions(mask == label) if counts[label] else _NOTHING for label in range(num_classes)])
        contacts.append(_contacts(mask, num_classes))
        runs = [find_runs(line) for view in (mask, mask.T) for line in np.ascontiguousarray(view)]
        strips.append(sum(_count_strips(one, strip) for one in runs))
        borders.append(sum(len(one.labels) - 1 for one in runs))
    if not proportions:
        raise HistodsError("There are no masks to compare; give at least one real and one generated mask.")
    return MaskStatistics(np.array(proportions), sizes, np.array(contacts), np.array(strips), np.array(borders))


_NOTHING = np.zeros(0, dtype=np.int64)


def _regions(plane: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The pixels of each connected region."""
    import cv2

    _, _, found, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=8)
    return found[1:, cv2.CC_STAT_AREA].astype(np.int64)


def _count_strips(line: Runs, longest: int) -> int:
    """Runs of a row or column of at most `longest` pixels between two different classes."""
    between = line.labels[:-2] != line.labels[2:]
    return int(np.count_nonzero(between & (line.lengths[1:-1] <= longest)))


def _contacts(mask: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Pairs of neighbouring pixels of two classes, [K, K], in the upper triangle."""
    pairs = np.concatenate(
        [
            np.stack([mask[:, :-1].ravel(), mask[:, 1:].ravel()]),
            np.stack([mask[:-1].ravel(), mask[1:].ravel()]),
        ],
        axis=1,
    ).astype(np.int64)
    low, high = pairs.min(axis=0), pairs.max(axis=0)
    codes = (low * num_classes + high)[low != high]
    return np.bincount(codes, minlength=num_classes**2).reshape(num_classes, num_classes)


def total_variation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Half the sum of the differences of two distributions: 0 if they are equal, 1 if they are disjoint."""
    return float(np.abs(first - second).sum() / 2)


def wasserstein(first: NDArray[Any], second: NDArray[Any]) -> float:
    """The Wasserstein-1 distance of two samples of numbers: the area between their distribution functions.

    Vallender, "Calculation of the Wasserstein distance between probability distributions on the line", Theory of
    Probability and its Applications, 1974.
    """
    places = np.sort(np.concatenate([first, second]).astype(np.float64))
    below_first = np.searchsorted(np.sort(first), places[:-1], side="right") / len(first)
    below_second = np.searchsorted(np.sort(second), places[:-1], side="right") / len(second)
    return float(np.sum(np.abs(below_first - below_second) * np.diff(places)))


def strip_share(masks: MaskStatistics) -> float | None:
    """Strips per border, both in rows and columns; None without borders."""
    borders = int(masks.borders_N.sum())
    return int(masks.strips_N.sum()) / borders if borders else None


def _mean_proportions(first: MaskStatistics, second: MaskStatistics) -> float:
    return total_variation(first.proportions_NK.mean(axis=0), second.proportions_NK.mean(axis=0))


def _of_class(
    distance: Callable[[MaskStatistics, MaskStatistics, int], float | None], label: int
) -> Callable[[MaskStatistics, MaskStatistics], float | None]:
    return lambda first, second: distance(first, second, label)


def _proportion(first: MaskStatistics, second: MaskStatistics, label: int) -> float:
    return wasserstein(first.proportions_NK[:, label], second.proportions_NK[:, label])


def _region_sizes(first: MaskStatistics, second: MaskStatistics, label: int) -> float | None:
    one, other = (np.concatenate([sizes[label] for sizes in side.sizes]) for side in (first, second))
    return wasserstein(np.log(one), np.log(other)) if len(one) and len(other) else None


def _adjacency(first: MaskStatistics, second: MaskStatistics) -> float | None:
    one, other = (side.contacts_NKK.sum(axis=0) for side in (first, second))
    return total_variation(one / one.sum(), other / other.sum()) if one.any() and other.any() else None


def _strips(first: MaskStatistics, second: MaskStatistics) -> float | None:
    one, other = strip_share(first), strip_share(second)
    return None if one is None or other is None else abs(one - other)


def _halve(groups: Sequence[str | None], seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Some ways to cut masks into two halves of whole groups; none with fewer than two groups."""
    turns = _HALVINGS if _count(groups) > 1 else 0
    return [halves(groups, seed=seed + turn) for turn in range(turns)]


def _count(groups: Sequence[str | None]) -> int:
    """Number of groups; each mask without one counts."""
    return len({group for group in groups if group is not None}) + sum(group is None for group in groups)
