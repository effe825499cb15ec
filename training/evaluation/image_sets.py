"""Sets of images to compare, with their masks and the slide of each: a split of shards, or a folder.

All images are compressed alike before anything is computed from them, since metrics also see compression:
generated images are stored without loss, real ones mostly as JPEG.

Shapes: H and W pixels.
"""

from __future__ import annotations

import hashlib
import os
from copy import copy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from histods.errors import HistodsError, UnreadableFileError
from histods.images.formats import image_suffixes
from histods.io.atomic import file_digest
from histods.shards.base import read_index
from histods.splits.groups import propose_groups
from training.data.dataset import reduce_image, reduce_mask
from training.inference.mask_inputs import MASK_ENDING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray

    from histods.shards.images.reader import ShardReader
    from training.inference.mask_inputs import MaskReader

JPEG_QUALITY = 95
"""Quality of the JPEG compression, with halved chroma, that all images get before they are compared."""


class ImageSet(Protocol):
    """Images by number, with their masks.

    Attributes:
        keys: a name for each image, for messages and tables.
        groups: the slide (or patient) of each image; its key where none is known.
        digest: digest of everything that the images and masks depend on.
        masked: whether every image has a mask.
    """

    keys: list[str]
    groups: list[str]
    digest: str
    masked: bool

    def __len__(self) -> int:
        """The number of images."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """An image, [H, W, 3], compressed like all others."""

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Its mask of classes, [H, W]."""

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Both."""

    def select(self, indices: NDArray[np.int64]) -> Self:
        """Some of the images, in this order."""


def compressed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image [H, W, 3] after JPEG compression with `JPEG_QUALITY`."""
    import cv2

    done, content = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    assert done  # noqa: S101 - OpenCV encodes any 8-bit image of three channels
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)


class ShardImages:
    """Samples of shards, reduced as for training; one without a mask file has a mask of zeros.

    Args:
        reader: the shards of one split or several.
        samples: which samples of the reader, in this order.
        reduce: factor by which images and masks are reduced.
    """

    masked = True

    def __init__(self, reader: ShardReader, samples: NDArray[np.int64], reduce: int = 1) -> None:
        self._reader = reader
        self.samples = samples
        self._reduce = reduce
        index = read_index(reader.shards, ["key", "split", "group"])
        index = index.filter(pc.is_in(index["split"], pa.array(reader.splits))).take(pa.array(samples))
        self.keys: list[str] = index["key"].to_pylist()
        groups = index["group"].to_pylist()
        self.groups = [key if group is None else group for key, group in zip(self.keys, groups, strict=True)]
        parts = f"{reader.shards.index_digest} {reader.splits} {reduce} {JPEG_QUALITY} ".encode()
        self.digest = hashlib.sha256(parts + samples.astype("<i8").tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> NDArray[np.uint8]:
        """An image; see `ImageSet`."""
        from histods.images.reader import decode_rgb

        pixels = decode_rgb(self._reader.read(int(self.samples[index])).image)
        return compressed(reduce_image(pixels, self._reduce) if self._reduce > 1 else pixels)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Its mask; see `ImageSet`."""
        whole = self.whole_mask(index)
        return reduce_mask(whole, self._reduce) if self._reduce > 1 else whole

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """An image and its mask."""
        return self.image(index), self.mask(index)

    def select(self, indices: NDArray[np.int64]) -> ShardImages:
        """Some of the images; see `ImageSet`."""
        return ShardImages(self._reader, self.samples[indices], self._reduce)

    def whole_mask(self, index: int) -> NDArray[np.uint8]:
        """Its mask of classes before reduction, [H, W]."""
        from histods.images.reader import decode_mask, decode_rgb

        files = self._reader.read(int(self.samples[index]))
        if files.mask is None:
            return np.zeros(decode_rgb(files.image).shape[:2], dtype=np.uint8)
        return decode_mask(files.mask).labels.astype(np.uint8, copy=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """The files of an image in a folder."""

    image: Path
    mask: Path | None


class FolderImages:
    """Images in a folder at any depth, each beside its mask if it has one: `x.png` and `x_mask.png`.

    Args:
        folder: the folder; `overview`, which `histods sample` writes, is passed over.
        reader: reads masks as classes.
        reduce: factor by which images are reduced; the reader reduces masks.

    Attributes:
        folder: the folder.
        files: the files of each image.
        masked: whether every image has a mask.
        grouped: whether slides are known from the names.

    Raises:
        HistodsError: there are no images.
    """

    def __init__(self, folder: Path, reader: MaskReader, reduce: int = 1) -> None:
        found = _find_images(folder)
        if not found:
            raise HistodsError(f"There are no images in {folder}; give a folder of images.")
        self.folder, self._reader, self._reduce = folder, reader, reduce
        self.keys, self.files = list(found), list(found.values())
        self.groups, self.grouped = list(self.keys), False
        self.group_by(propose_expression(self.keys))
        self._shape: tuple[int, ...] | None = None
        self.describe()

    def group_by(self, expression: str | None) -> None:
        """Take the slide of each image from its name; each is one of its own where the expression matches none."""
        keys = pl.Series("key", self.keys, dtype=pl.String)
        groups = [None] * len(self) if expression is None else keys.str.extract(expression, 1).to_list()
        self.grouped = any(groups)
        self.groups = [group or key for key, group in zip(self.keys, groups, strict=True)]

    def reading(self, reader: MaskReader) -> FolderImages:
        """The same images, with another reader of masks."""
        other = copy(self)
        other._reader = reader  # noqa: SLF001 - of this class
        return other

    def check(self) -> None:
        """Read everything once, so that whatever is wrong is said before hours of work.

        Raises:
            HistodsError: a file cannot be read, or has another size.
        """
        for index in range(len(self)):
            self.image(index)
            if self.masked:
                self.mask(index)

    def describe(self) -> None:
        """Find out whether all images have masks, and the digest, which every file is read for."""
        self.masked = all(one.mask is not None for one in self.files)
        digest = hashlib.sha256(f"{self._reduce} {JPEG_QUALITY}".encode())
        for key, one in zip(self.keys, self.files, strict=True):
            digest.update(f"\0{key}\0{file_digest(one.image)}".encode())
            digest.update(b"" if one.mask is None else file_digest(one.mask).encode())
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> NDArray[np.uint8]:
        """An image; see `ImageSet`."""
        from histods.images.reader import decode_rgb

        path = self.files[index].image
        try:
            pixels = decode_rgb(path.read_bytes())
        except UnreadableFileError as error:
            raise HistodsError(f"{path} cannot be read as an image: {error}; correct it or remove it.") from error
        self._check_shape(path, pixels.shape[:2])
        return compressed(reduce_image(pixels, self._reduce) if self._reduce > 1 else pixels)

    def _check_shape(self, path: Path, shape: tuple[int, ...]) -> None:
        """All images and masks are as large as the first image."""
        if self._shape is None:
            self._shape = shape
        if shape != self._shape:
            (height, width), (rows, columns) = shape, self._shape
            raise HistodsError(
                f"{path} is {width}x{height} px, but {self.files[0].image} is {columns}x{rows} px; give images "
                "and masks of one size."
            )

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Its mask; see `ImageSet`.

        Raises:
            HistodsError: it has none, or it cannot be read.
        """
        path = self.files[index].mask
        if path is None:
            raise HistodsError(f"{self.files[index].image} has no mask; put one named x_mask.png beside x.png.")
        mask = self._reader.read(path)[0]
        if self._shape is None:
            self.image(index)
        self._check_shape(path, tuple(side * self._reduce for side in mask.shape))
        return mask

    def select(self, indices: NDArray[np.int64]) -> FolderImages:
        """Some of the images; see `ImageSet`."""
        selection = copy(self)
        selection.keys, selection.groups = [], []
        selection.files = []
        for index in indices.tolist():
            selection.keys.append(self.keys[index])
            selection.groups.append(self.groups[index])
            selection.files.append(self.files[index])
        selection.describe()
        return selection

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """An image and its mask."""
        return self.image(index), self.mask(index)


def _find_images(folder: Path) -> dict[str, Files]:
    """The images in a folder and their masks, by the path without suffix, sorted."""
    if not folder.is_dir():
        raise HistodsError(f"{folder} is not a folder; give a folder of images.")
    suffixes = image_suffixes()
    found: dict[str, dict[str, Path]] = {"image": {}, "mask": {}}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.suffix.lower() not in suffixes or hidden or inside.parts[0] == "overview" or not path.is_file():
            continue
        name = PurePosixPath(inside).with_suffix("").as_posix()
        if not _is_text(name):
            raise HistodsError(f"The file name {os.fsencode(path)!r} is not UTF-8; rename the file.")
        kind = "mask" if name.endswith(MASK_ENDING) else "image"
        name = name.removesuffix(MASK_ENDING)
        other = found[kind].setdefault(name, path)
        if other != path:
            raise HistodsError(f"{other} and {path} have the same name but for the suffix; rename or remove one.")
    return {name: Files(image=path, mask=found["mask"].get(name)) for name, path in sorted(found["image"].items())}


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def propose_expression(keys: Sequence[str]) -> str | None:
    """The expression that takes slides from names, as `histods split` proposes it; None if none makes several."""
    proposal = propose_groups(pl.Series("key", keys, dtype=pl.String))
    return None if proposal is None else proposal.expression


def stacked(images: ImageSet, indices: Sequence[int], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Some of the images as one array, [B, H, W, 3].

    Raises:
        HistodsError: one has another shape.
    """
    batch = [images.image(index) for index in indices]
    for index, image in zip(indices, batch, strict=True):
        if image.shape != shape:
            (height, width), (rows, columns) = image.shape[:2], shape[:2]
            raise HistodsError(
                f"The image {images.keys[index]} is {width}x{height} px, but the first one is {columns}x{rows} "
                "px; evaluate images of one size."
            )
    return np.stack(batch)
