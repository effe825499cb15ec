"""Turn shards of images into shards of latents: decode, apply dihedral views, encode, one shard at a time.

Shapes: B images, V views, C latent channels, H and W pixels, h and w of latents.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from histods.errors import HistodsError
from histods.shards.latents.writer import ShardUnderWay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from histods.records import Progress
    from histods.shards.images.reader import ShardReader
    from histods.shards.latents.writer import Plan, Shape
    from training.autoencoders.base import Autoencoder

    Sample = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # image [3, H, W] and mask [H, W]

Item = TypeVar("Item")
_BATCH = 8  # images per batch, always: a batch of another size may round differently
_AHEAD = 4  # samples to decode while others are encoded


def encode_shards(
    plans: list[Plan],
    folder: Path,
    reader: ShardReader,
    autoencoder: Autoencoder,
    shape: Shape,
    device: torch.device,
    progress: Progress | None,
    *,
    samples: int,
) -> None:
    """Write shards one by one; progress counts `samples`, including those of other processes."""
    done = 0
    for plan in plans:
        shard = ShardUnderWay(plan, shape)
        for some in _batches(decoded(reader, plan.numbers), max(1, _BATCH // shape.views)):
            images_B3HW = torch.from_numpy(np.stack([image for image, _ in some]))
            moments = _moments(autoencoder, images_B3HW.to(device), shape)
            shard.add(moments, [mask for _, mask in some])
            done += len(some)
            if progress is not None:
                progress("encoding", done, samples)
        try:
            shard.write(folder)
        except OSError as error:
            raise HistodsError(
                f"{plan.name}.safetensors could not be written: {error}; fix that and run the same command again."
            ) from error


def _moments(autoencoder: Autoencoder, images_B3HW: Tensor, shape: Shape) -> NDArray[np.float16]:
    """Means and log-variances [B, V, 2C, h, w] of all views of images, uint8."""
    turned = torch.stack([dihedral(images_B3HW, view) for view in range(shape.views)], dim=1)
    try:
        mean, logvar = autoencoder.encode(turned.flatten(0, 1).float().div_(127.5).sub_(1))
    except torch.OutOfMemoryError as error:
        raise HistodsError(
            f"{turned.device} has too little memory for {_BATCH} images at once; "
            "stop other programs on it, or choose another --device."
        ) from error
    moments = torch.cat([mean, logvar], dim=1).half().cpu()
    return moments.reshape(-1, *shape.moments).numpy()


def dihedral(images_BCHW: Tensor, view: int) -> Tensor:
    """One of the 8 dihedral views of images; see `histods.sampling.draws.dihedral`."""
    return torch.rot90(images_BCHW.flip(-1) if view >= 4 else images_BCHW, view % 4, dims=(-2, -1))


def decoded(reader: ShardReader, numbers: NDArray[np.int64]) -> Iterator[Sample]:
    """Samples in order, decoded ahead in a thread."""
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[Sample]] = deque()
        try:
            for number in numbers.tolist():
                waiting.append(thread.submit(_decode, reader, number))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)


def _decode(reader: ShardReader, number: int) -> Sample:
    """Image and mask of a sample; zeros if it has no mask."""
    from histods.images.reader import decode_mask, decode_rgb

    files = reader.read(number)
    try:
        pixels = decode_rgb(files.image)
        shape = pixels.shape[:2]
        mask = np.zeros(shape, np.uint8) if files.mask is None else decode_mask(files.mask).labels.astype(np.uint8)
    except HistodsError as error:
        raise HistodsError(
            f"The image or mask of {reader.key(number)} cannot be read: {error}; "
            "run 'histods audit --verify decode' and make the shards again."
        ) from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), mask


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items in lists of a given size; the last may be shorter."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
