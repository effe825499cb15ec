"""Images of a candidate are made, looked at by the segmenter, and forgotten; what it saw is kept in parts.

```
FOLDER/DIGEST/part-FIRST-LAST.safetensors   features and confusion of the images from FIRST to before LAST
```

DIGEST is that of all that the images and the segmenter depend on, so a killed search goes on where it was.

Shapes: N images, B of a batch, D features, C classes, H and W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from histods.io.atomic import make_folders, replacing
from training.evaluation.image_sets import compressed
from training.evaluation.segmenter.faithfulness import confusion
from training.evaluation.tuning.choice import Looks
from training.inference.output_folder import seed_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from training.evaluation.image_sets import ShardImages
    from training.evaluation.segmenter.segmenter import Segmenter
    from training.inference.pipeline import SamplingPipeline

PART = 16
"""Images per file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Studio:
    """Makes images for the masks of real images, and looks at them.

    Attributes:
        real: the real images.
        segmenter: looks at the images.
        folder: folder of what was seen.
        seed: the seed of the images; each has that which `sample` gives it for a mask of the same name.
        batch: images at once.
    """

    real: ShardImages
    segmenter: Segmenter
    folder: Path
    seed: int
    batch: int

    def look(
        self,
        digest: str,
        pipeline: Callable[[], SamplingPipeline],
        first: int,
        last: int,
        progress: Callable[[int], None],
    ) -> Looks:
        """Look at the images for some masks.

        Args:
            digest: that of all that the images depend on, but for mask and seed.
            pipeline: makes what makes the images, if any are missing.
            first: number of the first mask.
            last: number after that of the last one.
            progress: called with the images that are done.
        """
        place = self.folder / digest
        parts = []
        for start in range(first, last, PART):
            progress(start - first)
            stop = min(start + PART, last)
            path = place / f"part-{start:05d}-{stop:05d}.safetensors"
            looks = self._read(path, stop - start)
            if looks is None:
                looks = self._make(pipeline(), start, stop)
                make_folders(place)
                with replacing(path) as temporary:
                    save_file(
                        {"features": looks.features_ND.astype(np.float32), "confusion": looks.confusion_NCC},
                        temporary,
                    )
            parts.append(looks)
        progress(last - first)
        return joined(*parts)

    def _make(self, pipeline: SamplingPipeline, start: int, stop: int) -> Looks:
        parts = []
        for first in range(start, stop, self.batch):
            numbers = range(first, min(first + self.batch, stop))
            masks_BHW = np.stack([self.real.mask(number) for number in numbers])
            seeds = [seed_of(self.seed, f"{int(self.real.samples[number]):08d}", 0) for number in numbers]
            images_BHW3 = pipeline(torch.from_numpy(masks_BHW[:, None]), seeds)
            parts.append(see(self.segmenter, np.stack([compressed(image) for image in images_BHW3]), masks_BHW))
        return joined(*parts)

    def _read(self, path: Path, count: int) -> Looks | None:
        """What was seen of a part; None if nothing was, or something else than this."""
        try:
            kept = load_file(path)
        except (SafetensorError, OSError):
            return None
        features_ND, confusion_NCC = kept.get("features"), kept.get("confusion")
        classes = len(self.segmenter.classes)
        if (
            features_ND is None
            or confusion_NCC is None
            or features_ND.shape != (count, self.segmenter.width)
            or confusion_NCC.shape != (count, classes, classes)
        ):
            return None
        return Looks(features_ND=features_ND.astype(np.float64), confusion_NCC=confusion_NCC.astype(np.int64))


def look_at_real(real: ShardImages, segmenter: Segmenter, batch: int, progress: Callable[[int], None]) -> Looks:
    """The same of real images."""
    parts = []
    for first in range(0, len(real), batch):
        progress(first)
        pairs = [real[number] for number in range(first, min(first + batch, len(real)))]
        parts.append(
            see(segmenter, np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs]))
        )
    progress(len(real))
    return joined(*parts)


def see(segmenter: Segmenter, images_BHW3: NDArray[np.uint8], masks_BHW: NDArray[np.uint8]) -> Looks:
    """The features of images, and what the segmenter takes the classes of their masks for."""
    seen = segmenter.see(images_BHW3)
    ignored = segmenter.description.ignored
    return Looks(
        features_ND=seen.features_BD.astype(np.float64),
        confusion_NCC=np.stack(
            [
                confusion(mask, labels, classes=len(segmenter.classes), ignored=ignored)
                for mask, labels in zip(masks_BHW, seen.labels_BHW, strict=True)
            ]
        ),
    )


def joined(*parts: Looks) -> Looks:
    """What was seen of all images of several parts."""
    return Looks(
        features_ND=np.concatenate([part.features_ND for part in parts]),
        confusion_NCC=np.concatenate([part.confusion_NCC for part in parts]),
    )
