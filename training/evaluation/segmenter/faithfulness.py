"""How well images follow their masks: a segmenter's predictions compared with the masks.

Pixels whose mask is class 0 are left out if the class system calls that class unknown or unlabelled: an annotator
said nothing of them. Under any other name, class 0 is a class like the others. A segmenter never predicts a class
that is left out.

The segmenter is no perfect judge. Its agreement with the masks of real images is the most that generated ones can
be expected to reach, so `ratio` divides by it.

Shapes: B images, H and W pixels, C classes; confusion_CC counts pixels, [class of the mask, predicted class].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Confusion = NDArray[np.int64]
    Score = float | None

_UNKNOWN = frozenset({"unknown", "unlabelled", "unlabeled", "unannotated"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Agreement of predictions with masks; None for classes that no mask has.

    Attributes:
        dice: per class, 2 TP / (2 TP + FP + FN).
        iou: per class, TP / (TP + FP + FN).
        pixels: per class, pixels of the masks.
        mean_dice: over the classes that masks have; None if they have none.
        mean_iou: the same of `iou`.
    """

    dice: tuple[Score, ...]
    iou: tuple[Score, ...]
    pixels: tuple[int, ...]
    mean_dice: Score
    mean_iou: Score


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """Agreement of generated images over that of real ones; None if no class is in both or the real one is 0."""

    dice: Score
    iou: Score


def ignored_class(classes: Sequence[str]) -> int | None:
    """The class whose pixels are left out: 0 if it is called unknown or unlabelled, else None."""
    return 0 if classes and classes[0].casefold() in _UNKNOWN else None


def confusion(
    masks_BHW: NDArray[np.integer], labels_BHW: NDArray[np.integer], *, classes: int, ignored: int | None
) -> Confusion:
    """Count pixels by class of the mask and predicted class; counts of several batches can be added.

    Args:
        masks_BHW: classes of the masks, 0 to C - 1.
        labels_BHW: predicted classes of the same shape.
        classes: C.
        ignored: class of masks whose pixels are left out; None for none.

    Returns:
        int64 [C, C].

    Raises:
        HistodsError: the shapes differ, or a value is not a class.
    """
    if masks_BHW.shape != labels_BHW.shape:
        raise HistodsError(
            f"Masks of {masks_BHW.shape} and predictions of {labels_BHW.shape} cannot be compared; "
            "give the images that belong to the masks."
        )
    for what, values in (("masks", masks_BHW), ("predictions", labels_BHW)):
        if values.size and not (values.min() >= 0 and values.max() < classes):
            raise HistodsError(
                f"The {what} have the value {values.max() if values.min() >= 0 else values.min()}, but there are "
                f"{classes} classes from 0; give {what} of the same class system."
            )
    cells = masks_BHW.astype(np.int64) * classes + labels_BHW
    if ignored is not None:
        cells = cells[masks_BHW != ignored]
    return np.bincount(cells.ravel(), minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def agreement(confusion_CC: Confusion) -> Agreement:
    """Dice (Dice 1945) and intersection over union (Jaccard 1912) per class that masks have, and their means."""
    hits = np.diag(confusion_CC).tolist()
    in_masks = confusion_CC.sum(axis=1).tolist()
    predicted = confusion_CC.sum(axis=0).tolist()
    counts = list(zip(hits, in_masks, predicted, strict=True))
    dice = tuple(2 * hit / (mask + label) if mask else None for hit, mask, label in counts)
    iou = tuple(hit / (mask + label - hit) if mask else None for hit, mask, label in counts)
    return Agreement(dice=dice, iou=iou, pixels=tuple(in_masks), mean_dice=_mean(dice), mean_iou=_mean(iou))


def ratio(generated_CC: Confusion, real_CC: Confusion) -> Ratio:
    """Mean Dice and IoU of generated images, divided by those of real ones; means are over classes in both.

    Raises:
        HistodsError: the numbers of classes differ.
    """
    if generated_CC.shape != real_CC.shape:
        raise HistodsError(
            f"Counts of {len(generated_CC)} and {len(real_CC)} classes cannot be compared; "
            "use one class system for both."
        )
    generated, real = agreement(generated_CC), agreement(real_CC)
    return Ratio(dice=_ratio_of_means(generated.dice, real.dice), iou=_ratio_of_means(generated.iou, real.iou))


def _ratio_of_means(above: Sequence[Score], below: Sequence[Score]) -> Score:
    both = [(one, other) for one, other in zip(above, below, strict=True) if one is not None and other is not None]
    whole = sum(other for _, other in both)
    return sum(one for one, _ in both) / whole if whole else None


def _mean(scores: Sequence[Score]) -> Score:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None
