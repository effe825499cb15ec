"""Images as all judges of this package accept them: uint8 [B, H, W, 3] in RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from histods.errors import HistodsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def as_images(images_BHW3: NDArray[np.uint8] | Tensor) -> Tensor:
    """Images as a tensor, uint8 [B, H, W, 3].

    Raises:
        HistodsError: they are not uint8 images in RGB.
    """
    images = torch.as_tensor(images_BHW3)
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
        found = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
        raise HistodsError(f"Images are judged as uint8 [B, H, W, 3] in RGB, but these are {found}; convert them.")
    return images
