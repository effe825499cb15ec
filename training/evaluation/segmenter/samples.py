"""What a segmenter is trained on: samples, the ones that are held out, their statistics, and batches of them.

A batch is a function of (seed, step), so that a resumed training sees the same ones.

Shapes: B samples, H and W pixels, C classes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from histods.errors import HistodsError
from histods.sampling.draws import dihedral
from histods.sampling.philox import below, permute, philox4x64
from histods.sampling.streams import Stream
from training.evaluation.segmenter.network import FACTOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from histods.records import Progress

NO_CLASS = -100
"""Target of pixels that lie outside an image."""
_MEASURED = 1024  # images of which mean, deviation and classes are measured
_SHARE, _MOST = 0.1, 0.2  # of the samples to hold out; a group that would exceed the second is not held out


class Samples(Protocol):
    """Images with masks, by index; any object with these members.

    Attributes:
        digest: of all images and masks; another one means other samples.
    """

    digest: str

    def __len__(self) -> int:
        """The number of samples."""

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
        """Image [H, W, 3] and mask [H, W] of classes of a sample; called by one thread at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """What is measured of training images before the first step.

    Attributes:
        mean: of each colour, 0 to 255.
        std: standard deviation of each colour.
        pixels: pixels of each class.
        side: the longest side of an image.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixels: tuple[int, ...]
    side: int


class Batch(NamedTuple):
    """Images uint8 [B, H, W, 3], and targets int64 [B, H, W]: classes, or `NO_CLASS`."""

    images_BHW3: NDArray[np.uint8]
    targets_BHW: NDArray[np.int64]


def read_sample(samples: Samples, index: int, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """A sample after checks.

    Raises:
        HistodsError: image and mask do not belong together, or a value of the mask is not a class.
    """
    image, mask = samples[index]
    if image.dtype != np.uint8 or image.shape != (*mask.shape, 3):
        raise HistodsError(
            f"Sample {index} has an image of {image.dtype} {image.shape} and a mask of {mask.shape}; "
            "give uint8 images in RGB and masks of the same size."
        )
    if mask.min() < 0 or mask.max() >= classes:
        raise HistodsError(
            f"The mask of sample {index} has values from {mask.min()} to {mask.max()}, but there are {classes} "
            "classes from 0; give masks of the same class system."
        )
    return image, mask


def choose_held_out(size: int, groups: Sequence[str | None] | None) -> NDArray[np.bool_]:
    """Choose a tenth of the samples by digests of group names; groups stay whole.

    Args:
        size: the number of samples, N.
        groups: group (slide, patient) of each sample; a sample without a group is a group of its own.

    Returns:
        [N], true for held-out samples; none are if every group is too large.
    """
    named = [None] * size if groups is None else groups
    names = [f"sample {place}" if group is None else f"group {group}" for place, group in enumerate(named)]
    members: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        members.setdefault(name, []).append(place)
    chosen = np.zeros(size, dtype=bool)
    for name in sorted(members, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if chosen.sum() >= _SHARE * size:
            break
        if chosen.sum() + len(members[name]) <= _MOST * size:
            chosen[members[name]] = True
    return chosen


def spread(indices: NDArray[np.int64], number: int) -> list[int]:
    """At most `number` of the indices, evenly spread."""
    places = np.linspace(0, len(indices) - 1, min(number, len(indices))).round().astype(np.int64)
    chosen: list[int] = indices[places].tolist()
    return chosen


def measure(samples: Samples, indices: NDArray[np.int64], classes: int, progress: Progress) -> Statistics:
    """Colours, classes and sides of some of the training samples.

    Raises:
        HistodsError: a sample is not sound.
    """
    sums, squares = np.zeros(3, np.int64), np.zeros(3, np.int64)
    pixels, side, number = np.zeros(classes, np.int64), 0, 0
    chosen = spread(indices, _MEASURED)
    for done, index in enumerate(chosen):
        image, mask = read_sample(samples, index, classes)
        flat = image.reshape(-1, 3).astype(np.int64)
        sums, squares, number = sums + flat.sum(0), squares + (flat * flat).sum(0), number + len(flat)
        pixels += np.bincount(mask.ravel(), minlength=classes)
        side = max(side, *mask.shape)
        progress("measuring training images", done + 1, len(chosen))
    mean = sums / number
    std = np.sqrt(np.maximum(squares / number - mean * mean, 1.0))  # of images of one colour it would be 0
    return Statistics(mean=tuple(mean.tolist()), std=tuple(std.tolist()), pixels=tuple(pixels.tolist()), side=side)


class Batches:
    """Batches of random crops of the samples, turned and mirrored; images smaller than a crop are reflected.

    Args:
        samples: all samples.
        indices: those to train on.
        classes: the number of classes.
        seed: of order, crops and views.
        batch_size: samples per batch.
        crop: side of the crops, a multiple of 16.
    """

    def __init__(
        self, samples: Samples, indices: NDArray[np.int64], *, classes: int, seed: int, batch_size: int, crop: int
    ) -> None:
        if crop % FACTOR or crop < FACTOR:
            raise HistodsError(f"Crops of {crop} px are not a multiple of {FACTOR} px; choose another size.")
        self._samples, self._indices, self._classes = samples, indices, classes
        self._seed, self._size, self._crop = seed, batch_size, crop

    def at(self, step: int) -> Batch:
        """The batch of a step: each pass over the samples has its own order."""
        positions = np.arange(step * self._size, (step + 1) * self._size, dtype=np.int64)
        passes, places = np.divmod(positions, len(self._indices))
        sizes = np.full_like(places, len(self._indices))
        chosen = self._indices[permute(places, sizes, philox4x64(self._seed, passes, Stream.SEGMENTER))]
        words = philox4x64(self._seed, positions, Stream.SEGMENTER, 1)
        cut = [self._cut(int(sample), row) for sample, row in zip(chosen, words, strict=True)]
        return Batch(np.stack([image for image, _ in cut]), np.stack([mask for _, mask in cut]))

    def _cut(self, sample: int, words: NDArray[np.uint64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        image, mask = read_sample(self._samples, sample, self._classes)
        rooms = np.maximum(np.array(mask.shape) - self._crop, 0) + 1
        top, left = below(words[:2], rooms).tolist()
        window = slice(top, top + self._crop), slice(left, left + self._crop)
        image, target = image[window], mask[window].astype(np.int64)
        missing = [(0, self._crop - side) for side in target.shape]
        image = np.pad(image, (*missing, (0, 0)), mode="reflect")
        target = np.pad(target, missing, constant_values=NO_CLASS)
        view = int(words[2] >> np.uint64(61))
        return dihedral(image, view), dihedral(target, view)  # type: ignore[return-value]  # of the same types
