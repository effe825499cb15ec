"""Batches for training, in an order that is a pure function of (seed, position)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.lazy import lazy_exports

if TYPE_CHECKING:
    from training.data.dataset import ShardDataset, balanced
    from training.data.image_loader import Loader
    from training.data.latent_loader import LatentLoader

__all__ = ["LatentLoader", "Loader", "ShardDataset", "balanced"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "LatentLoader": "training.data.latent_loader",
        "Loader": "training.data.image_loader",
        "ShardDataset": "training.data.dataset",
        "balanced": "training.data.dataset",
    },
)
