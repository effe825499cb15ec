"""Latents of random numbers, written as an encoder writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from histods.shards.base import write_index
from histods.shards.latents.latent_set import INDEX, EncodedBy, LatentSet
from histods.shards.latents.verify import add_up
from histods.shards.latents.writer import SAMPLES, Shape, ShardUnderWay, plan_shard
from histods.shards.resumable_write import clean_up, collect_shards

if TYPE_CHECKING:
    from pathlib import Path

SHARD_OF = {"test-00000": 3, "train-00000": 5, "train-00001": 4}
SQUARE = Shape(views=8, channels=2, height=3, width=3, image_height=24, image_width=24)
PLAIN = Shape(views=1, channels=2, height=3, width=4, image_height=24, image_width=32)


def random_mask(random: np.random.Generator, shape: Shape) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Rectangles, noise, or one class alone."""
    mask = np.zeros((shape.image_height, shape.image_width), np.uint8)
    kind = random.integers(3)
    if kind == 0:
        mask[:] = random.integers(0, 256, mask.shape)
    for _ in range(3 if kind == 1 else 0):
        top, left = random.integers(0, 20, 2)
        mask[top : top + 9, left : left + 5] = random.integers(256)
    return mask


class Made:
    """A folder of latents of random numbers, and what it should hold."""

    def __init__(self, folder: Path, shape: Shape, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.folder, self.shape = folder, shape
        self.moments: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float16]]] = {}
        self.masks: dict[str, np.ndarray[tuple[int, int], np.dtype[np.uint8]]] = {}
        for name, number in SHARD_OF.items():
            keys = [f"{name}/{place}" for place in range(number)]
            rows = [
                {
                    **dict.fromkeys(SAMPLES.names),
                    "key": key,
                    "split": name.split("-")[0],
                    "classes": [0, place % 3] if place % 3 else None,
                }
                for place, key in enumerate(keys)
            ]
            table = SAMPLES.empty_table().from_pylist(rows, SAMPLES)
            shard = ShardUnderWay(plan_shard(name, table, np.arange(number), "test"), shape)
            for key in keys:
                self.moments[key] = random.normal(size=shape.moments).astype(np.float16)
                self.masks[key] = random_mask(random, shape)
                shard.add(self.moments[key][None], [self.masks[key]])
            shard.write(folder)
        shards, index = collect_shards(folder, INDEX.empty_table())
        mean, std = add_up(
            [folder / f"{one.name}.safetensors" for one in shards if one.split == "train"]
        ).mean_and_std()
        self.latents = LatentSet(
            folder=folder,
            shards=tuple(shards),
            map="three",
            classes=("a", "b", "c"),
            labels=((0,), (1,), (2,)),
            map_digest="",
            index_digest=write_index(index, folder),
            autoencoder=EncodedBy(name="x", digest="y", factor=8, channels=2),
            source_digest="z",
            mean=mean,
            std=std,
            **shape._asdict(),
        )
        self.latents.write()
        clean_up(folder)
