"""Images with one mask file per object: `K/images/K.png` and `K/masks/*.png`, or `x.png` and `x_mask_0.png`."""

from __future__ import annotations

from collections import Counter, defaultdict
from posixpath import commonpath
from typing import TYPE_CHECKING

import polars as pl

from histods.dataset.layouts.lookalikes import bases_of, mask_word_of

if TYPE_CHECKING:
    from collections.abc import Callable

_FEWEST = 2


def with_object_masks(samples: pl.DataFrame) -> pl.DataFrame:
    """Report images without a mask for which several files are, by their names, masks of parts.

    Args:
        samples: `image_path`, `mask_path`, `by_design`, `outside`, `rivals`.

    Returns:
        The rows, with `rivals` filled for such images.
    """
    image, mask = pl.col("image_path"), pl.col("mask_path")
    alone = (image.is_null() | mask.is_null()) & pl.col("rivals").is_null()
    meant = pl.col("outside") | pl.col("by_design")
    lonely = samples.filter(alone & ~meant).select(path=pl.coalesce(image, mask), is_image=image.is_not_null())
    told = {
        path: f"{len(files):,} files are masks of parts of the one image {path}, such as {min(files)}"
        for path, files in _masks_per_image(lonely.rows()).items()
        if len(files) >= _FEWEST
    }
    if not told:
        return samples
    text = image.replace_strict(told, default=None, return_dtype=pl.String)
    return samples.with_columns(rivals=pl.col("rivals").fill_null(text))


def _masks_per_image(pictures: list[tuple[str, bool]]) -> dict[str, list[str]]:
    """Image -> files that are masks of its parts, by their folders or by additions to the image's name.

    Args:
        pictures: path of each picture without a partner, and whether it is an image in the layout.
    """
    images: list[str] = []
    masks: list[str] = []
    above = len(commonpath([path.rpartition("/")[0] for path, _ in pictures])) if pictures else 0
    for path, is_image in pictures:
        folders = path[above:].rpartition("/")[0]
        (images if is_image and mask_word_of(folders) is None else masks).append(path)
    found: defaultdict[str, list[str]] = defaultdict(list)
    by_key = {_key(path): path for path in images}
    for path in images:
        base = next((base for base in bases_of(_key(path)) if base in by_key), None)
        if base is not None and mask_word_of(_key(path)[len(base) :]):
            found[by_key[base]].append(path)
    by_name, by_group = _unique(images, _name), _unique(images, _group)
    for path in masks:
        names = [_folder(path), *map(_name_of_key, bases_of(_key(path))), _folder(path.rpartition("/")[0])]
        image = next((by_name[name] for name in names if name in by_name), by_group.get(_group(path)))
        if image is not None:
            found[image].append(path)
    return found


def _unique(paths: list[str], name: Callable[[str], str]) -> dict[str, str]:
    """Name -> path, for unique names."""
    counts = Counter(map(name, paths))
    return {name(path): path for path in paths if counts[name(path)] == 1}


def _key(path: str) -> str:
    return path.rpartition(".")[0]


def _name_of_key(key: str) -> str:
    return key.rpartition("/")[2]


def _name(path: str) -> str:
    return _name_of_key(_key(path))


def _folder(path: str) -> str:
    """Name of the parent folder of a file."""
    return path.rpartition("/")[0].rpartition("/")[2]


def _group(path: str) -> str:
    """Path of the folder that holds the folder of a file."""
    return path.rpartition("/")[0].rpartition("/")[0]
