"""What a segmenter says of generated images and of real ones: do they show what their masks say?

Shapes: B images of a batch, H and W pixels, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histods.io.evaluation_file import ClassScore, Faithfulness
from training.evaluation.image_sets import stacked
from training.evaluation.segmenter.faithfulness import agreement, confusion, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.records import Progress
    from training.evaluation.image_sets import ImageSet
    from training.evaluation.segmenter.segmenter import Segmenter


def count_confusion(
    images: ImageSet, segmenter: Segmenter, *, batch: int, stage: str, progress: Progress
) -> NDArray[np.int64]:
    """Pixels by class of the mask (row) and of the segmenter (column), [C, C]."""
    classes = len(segmenter.classes)
    found = np.zeros((classes, classes), dtype=np.int64)
    shape = images.image(0).shape
    for first in range(0, len(images), batch):
        progress(stage, first, len(images))
        wanted = range(first, min(first + batch, len(images)))
        labels_BHW = segmenter.predict(stacked(images, wanted, shape))
        masks_BHW = np.stack([images.mask(index) for index in wanted])
        found += confusion(masks_BHW, labels_BHW, classes=classes, ignored=segmenter.description.ignored)
    progress(stage, len(images), len(images))
    return found


def judge_faithfulness(
    generated: ImageSet, real: ImageSet, segmenter: Segmenter, *, batch: int, progress: Progress
) -> Faithfulness:
    """Compare what a segmenter sees in generated images with their masks, beside the same of real images."""
    made_CC = count_confusion(
        generated, segmenter, batch=batch, stage="segmenting generated images", progress=progress
    )
    real_CC = count_confusion(real, segmenter, batch=batch, stage="segmenting real images", progress=progress)
    made, truth = agreement(made_CC), agreement(real_CC)
    ignored = segmenter.description.ignored
    return Faithfulness(
        classes=tuple(
            ClassScore(
                name=name,
                pixels=made.pixels[index],
                dice=made.dice[index],
                iou=made.iou[index],
                real_dice=truth.dice[index],
                real_iou=truth.iou[index],
            )
            for index, name in enumerate(segmenter.classes)
            if index != ignored and (made.pixels[index] or truth.pixels[index])
        ),
        dice=made.mean_dice,
        real_dice=truth.mean_dice,
        ratio=ratio(made_CC, real_CC).dice,
        confusion=_as_rows(made_CC),
        real_confusion=_as_rows(real_CC),
        ignored=None if ignored is None else segmenter.classes[ignored],
    )


def _as_rows(counts_CC: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in counts_CC.tolist())
