"""Floating-point operations of the network, counted in a pass on the meta device, where nothing is computed."""

from __future__ import annotations

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from training.config.model import LATENT_FACTOR, ModelConfig
from training.model.unet import UNet


@cache
def count_flops(config: ModelConfig, *, train: bool, factor: int = LATENT_FACTOR) -> int:
    """Operations per image of a forward pass, or of a forward and a backward pass.

    Matrix products and convolutions are counted, a multiplication and an addition as two; elementwise operations
    are not, as is customary for the utilisation of a device.

    Args:
        config: the network.
        train: whether to count the backward pass.
        factor: pixels per latent along each side.

    Raises:
        HistodsError: the configuration does not set `num_classes`.
    """
    side = config.image_size // factor
    with torch.device("meta"), torch.set_grad_enabled(train):
        module = UNet(config)
        latents_BCHW = torch.empty(1, config.channels, side, side)
        times_B = torch.empty(1, dtype=torch.int64)
        mask_B1HW = torch.empty(1, 1, config.image_size, config.image_size, dtype=torch.uint8)
        with FlopCounterMode(display=False) as counter:
            out_BCHW = module(latents_BCHW, times_B, mask_B1HW)
            if train:
                out_BCHW.sum().backward()
    return int(counter.get_total_flops())
