"""What turns images into features, and where each of them is found.

Shapes: B images, H and W pixels, D features.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

INCEPTION = "inception="
_WEIGHTS = (".pth", ".pt", ".safetensors")


class FeatureExtractor(Protocol):
    """Turns images into features without gradients.

    Attributes:
        name: the name that it was loaded by.
        digest: SHA-256 of its weights and preprocessing; features with another digest are not comparable.
        width: number of features, D.
    """

    name: str
    digest: str
    width: int

    def __call__(self, images_BHW3: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
        """Features, float32 [B, D], of uint8 images [B, H, W, 3] in RGB."""


def load_features(name: str, *, device: torch.device | str = "cpu") -> FeatureExtractor:
    """Load what turns images into features.

    Args:
        name: the folder or hub id (OWNER/NAME) of an image encoder in the layout of transformers, or the file with
            the weights of FID's Inception network, with or without `inception=` before it.
        device: where to compute.

    Raises:
        HistodsError: there is no such folder or file, it cannot be downloaded, or it holds something else.
        MissingExtraError: transformers is needed but not installed.
    """
    path = Path(name.removeprefix(INCEPTION))
    if name.startswith(INCEPTION) or (path.suffix in _WEIGHTS and not path.is_dir()):
        from training.evaluation.features.inception import Inception

        return Inception.load(path, name=name, device=device)
    from training.evaluation.features.encoder import Encoder

    return Encoder.load(name, device=device)
