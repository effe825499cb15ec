"""What generated images are worth: segmenters trained on real images, on generated ones, and on both.

All are tested on the same real images of slides that none of them has seen.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from histods.io.evaluation_file import DownstreamScore
from training.evaluation.judging import count_confusion
from training.evaluation.segmenter.faithfulness import agreement
from training.evaluation.segmenter.fit import fit_segmenter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from histods.records import Progress
    from training.evaluation.image_sets import ImageSet

PERCENTAGES = (10, 30, 100)
"""Percentages of the real training images that are used, by whole slides where there are enough of them."""


class _Selection:
    """Some images of several sets, one set after the other."""

    def __init__(self, parts: Sequence[tuple[ImageSet, Sequence[int]]]) -> None:
        self._places = [(images, index) for images, chosen in parts for index in chosen]
        self.groups = [images.groups[index] for images, index in self._places]
        digest = hashlib.sha256()
        for images, chosen in parts:
            digest.update(f"{images.digest} {list(chosen)} ".encode())
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        images, place = self._places[index]
        return images[place]


def score_downstream(
    real: ImageSet,
    synthetic: ImageSet,
    test: ImageSet,
    *,
    classes: tuple[str, ...],
    folder: Path,
    steps: int,
    seed: int,
    batch: int,
    device: str | None,
    progress: Progress,
) -> tuple[DownstreamScore, ...]:
    """Train the segmenters and test them.

    Each is trained for the same number of steps, so that more images do not also mean more training.

    Args:
        real: real training images.
        synthetic: generated images for masks of the training split.
        test: real images of other slides.
        classes: names of the classes.
        folder: where segmenters are kept.
        steps: training steps of each segmenter.
        seed: their seed.
        batch: images at once in the test.
        device: where to compute.
        progress: called with each stage, steps done and all.
    """
    scores = []
    for data, percent in _plans():
        chosen = [] if data == "synthetic" else choose_share(real.groups, percent)
        made = [] if data == "real" else range(len(synthetic))
        samples = _Selection([(real, chosen), (synthetic, made)])
        segmenter = fit_segmenter(
            samples,
            classes=classes,
            folder=folder,
            steps=steps,
            seed=seed,
            groups=samples.groups,
            device=device,
            progress=progress,
        )
        found = agreement(
            count_confusion(test, segmenter, batch=batch, stage="testing a segmenter", progress=progress)
        )
        scores.append(
            DownstreamScore(
                data=data,
                percent=percent,
                real=len(chosen),
                synthetic=len(made),
                dice=found.mean_dice,
                iou=found.mean_iou,
            )
        )
    return tuple(scores)


def _plans() -> Iterator[tuple[str, int]]:
    for percent in PERCENTAGES:
        yield "real", percent
        yield "both", percent
    yield "synthetic", 0


def choose_share(groups: Sequence[str], percent: int) -> list[int]:
    """Indices of images of whole slides that make up about a percentage of all, at least one slide.

    Slides are taken in the order of digests of their names, so a smaller percentage is a part of a larger one.
    """
    ordered = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest())
    sizes = dict.fromkeys(ordered, 0)
    for group in groups:
        sizes[group] += 1
    taken: set[str] = set()
    images = 0
    for group in ordered:
        if taken and images + sizes[group] / 2 > percent / 100 * len(groups):
            break
        taken.add(group)
        images += sizes[group]
    return [index for index, group in enumerate(groups) if group in taken]
