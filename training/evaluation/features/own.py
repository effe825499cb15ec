"""The features of the segmenter that was trained on the real images themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from training.evaluation.segmenter.segmenter import Segmenter

OWN = "own"


class OwnFeatures:
    """A segmenter as a `FeatureExtractor`.

    Args:
        segmenter: the segmenter.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.name = OWN
        self.digest = segmenter.digest
        self.width = segmenter.width
        self._segmenter = segmenter

    def __call__(self, images_BHW3: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
        """Features, float32 [B, D], of uint8 images [B, H, W, 3]."""
        return self._segmenter.features(images_BHW3)
