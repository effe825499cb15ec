"""The segmenter's network: MONAI's U-Net with small features, which a CPU can train.

Group normalisation has no statistics of batches: a prediction depends on its image alone, and a training that
resumes has nothing else to restore than weights.

Shapes: B images, H and W pixels (multiples of 16), C classes, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from histods.errors import MissingExtraError

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
"""Of the network and its training; weights of another version are not those that this code would make."""
FACTOR = 16
"""Sides of images must be multiples of it: the network halves them four times."""
_FEATURES = (16, 16, 32, 64, 128, 32)  # of the five levels, and of the last convolution's input
WIDTH = _FEATURES[-1]
"""Number of features of a pixel, D."""


class Network(nn.Module):
    """A U-Net of Falk et al. 2019 (Nature Methods 16) as MONAI builds it, with what it has inside.

    Args:
        classes: the number of classes.

    Raises:
        MissingExtraError: MONAI is not installed.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.unet = _basic_unet()(
            spatial_dims=2,
            in_channels=3,
            out_channels=classes,
            features=_FEATURES,
            norm=("group", {"num_groups": 8}),
            upsample="nontrainable",  # bilinear: transposed convolutions leave a chequered pattern
        )

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Logits [B, C, H, W] of normalised images."""
        logits_BCHW: Tensor = self.unet(x_B3HW)
        return logits_BCHW

    def look(self, x_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, C, H, W], and the input of the last convolution [B, D, H, W], of which they are linear."""
        unet: Any = self.unet
        levels = [unet.conv_0(x_B3HW)]
        for down in (unet.down_1, unet.down_2, unet.down_3, unet.down_4):
            levels.append(down(levels[-1]))
        last_BDHW = levels.pop()
        for up in (unet.upcat_4, unet.upcat_3, unet.upcat_2, unet.upcat_1):
            last_BDHW = up(last_BDHW, levels.pop())
        return unet.final_conv(last_BDHW), last_BDHW


def _basic_unet() -> Any:
    try:
        from monai.networks.nets.basic_unet import BasicUNet
    except ImportError as error:
        raise MissingExtraError(
            "The segmenter needs MONAI, which is not installed; run \"pip install 'histods[evaluate]'\"."
        ) from error
    return BasicUNet
