"""Shards: archives of samples, their index, and resumable writing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.lazy import lazy_exports

if TYPE_CHECKING:
    from histods.shards.images.reader import ShardReader
    from histods.shards.latents.reader import LatentReader

__all__ = ["LatentReader", "ShardReader"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {"LatentReader": "histods.shards.latents.reader", "ShardReader": "histods.shards.images.reader"},
)
