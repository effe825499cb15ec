"""Previews during a run, always with the same masks and the same noise."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from histods.sampling.philox import philox4x64
from histods.sampling.streams import Stream
from training.inference.mask_pipeline import MaskPipeline
from training.inference.pictures import coloured, sheet, write_png
from training.inference.pipeline import SamplingPipeline
from training.inference.sampling import Sampling
from training.model.conditioning import proportions_of
from training.runs.run_folder import preview_path

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from training.model.unet import UNet
    from training.trainer.setup import RunSetup


class Preview:
    """Makes images for a few fixed masks with fixed noise and writes `samples/step-N.png`, with masks on top.

    A run of masks makes masks with their proportions instead.

    Processes divide the masks among them, and process 0 writes.

    Args:
        setup: the setup of the run; its autoencoder must be loaded.
        masks_BCHW: masks to choose from; those with the most classes are chosen, without duplicates.
    """

    def __init__(self, setup: RunSetup, masks_BCHW: Tensor) -> None:
        self._setup = setup
        run = setup.config.run
        order = sorted(range(len(masks_BCHW)), key=lambda row: (-len(np.unique(masks_BCHW[row])), row))
        chosen: list[Tensor] = []
        for row in order:
            if len(chosen) < run.preview_samples and not any(masks_BCHW[row].equal(mask) for mask in chosen):
                chosen.append(masks_BCHW[row])
        self._masks_BCHW = torch.stack(chosen)
        words = philox4x64(run.seed, np.arange(len(chosen)), Stream.PREVIEW)
        self._seeds = (words[:, 0] >> np.uint64(1)).astype(np.int64).tolist()

    def __call__(self, step: int, module: UNet) -> NDArray[np.uint8] | None:
        """Make images with a network and write the sheet, uint8 [H, W, 3]; None in all processes but the first."""
        setup, process = self._setup, self._setup.process
        own = slice(process.rank, None, process.world_size)
        seeds, masks_BCHW = self._seeds[own], self._masks_BCHW[own]
        make = self._make_masks if setup.config.data.what == "masks" else self._make_images
        shares = process.gather(make(module, masks_BCHW, seeds) if seeds else [])
        if not process.first:
            return None
        images = [shares[row % process.world_size][row // process.world_size] for row in range(len(self._seeds))]
        masks = [coloured(mask) for mask in self._masks_BCHW[:, 0].numpy()]
        picture = sheet([masks, images])
        write_png(preview_path(setup.folder, step), picture)
        return picture

    def _make_images(self, module: UNet, masks_BCHW: Tensor, seeds: list[int]) -> list[NDArray[np.uint8]]:
        """Images for the masks."""
        autoencoder = self._setup.encoder.autoencoder
        assert autoencoder is not None  # noqa: S101 - there is no preview without
        return list(
            SamplingPipeline(model=module, autoencoder=autoencoder, half=self._setup.half, **self._shared())(
                masks_BCHW, seeds
            )
        )

    def _make_masks(self, module: UNet, masks_BCHW: Tensor, seeds: list[int]) -> list[NDArray[np.uint8]]:
        """Masks with the proportions of the given ones, in colours."""
        height, width = masks_BCHW.shape[2:]
        wanted_BK = proportions_of(masks_BCHW, self._setup.config.model.channels)
        pipeline = MaskPipeline(model=module, window=max(height, width), **self._shared())
        made_BHW = pipeline(wanted_BK, (height, width), seeds).argmax(dim=1).byte().cpu().numpy()
        return list(coloured(made_BHW))

    def _shared(self) -> dict[str, Any]:
        """Settings of a pipeline."""
        setup, diffusion = self._setup, self._setup.config.diffusion
        return {
            "schedule": setup.schedule,
            "space": setup.space,
            "prediction": diffusion.prediction,
            "sampling": Sampling.of(diffusion, steps=min(setup.config.run.preview_steps, diffusion.timesteps)),
            "device": setup.process.device,
        }


def can_draw() -> bool:
    """Whether Pillow is installed, which minimal GPU machines lack."""
    return find_spec("PIL") is not None
