"""Labels in unsupported formats (`.npy`, `.mat`, `.json`): files with the names of images without a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from histods.dataset.layouts.names import list_files
from histods.dataset.layouts.patterns import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

UNREAD_SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".pkl", ".json", ".geojson", ".xml", ".svg")
_UNREAD = rf"(?i)(?:{'|'.join(pl.escape_regex(suffix) for suffix in UNREAD_SUFFIXES)})$"
_ADDITION = r"[ _.\-]*(?:masks?|labels?|segmentations?|seg|gt|annotations?|annot|anno|inst(?:ances?)?|polygons?)$"
_PICTURE = rf"(?:{'|'.join(pl.escape_regex(suffix) for suffix in PICTURE_SUFFIXES)})$"


def with_unread_labels(samples: pl.DataFrame, paths: Sequence[str]) -> pl.DataFrame:
    """Add `unread_labels`: the file in an unsupported format with the name of an image without a mask, else null.

    The name may also have a word for masks (`x_mask.npy`) and the image's own suffix (`x.jpg.json`). If several
    images or several files of one format share a name, they are ignored.

    Args:
        samples: `image_path`, `mask_path` and more columns.
        paths: the files of the dataset, each once.
    """
    files = pl.Series("path", paths, dtype=pl.String).to_frame().filter(pl.col("path").str.contains(_UNREAD))
    alone = samples.filter(pl.col("image_path").is_not_null() & pl.col("mask_path").is_null())
    if files.is_empty() or alone.is_empty():
        return samples.with_columns(unread_labels=pl.lit(None, pl.String))
    order = pl.col("suffix").replace_strict(dict(zip(UNREAD_SUFFIXES, range(99), strict=False)))
    named = list_files(files["path"]).with_columns(
        name=_name().str.replace(_PICTURE, "").str.replace(_ADDITION, ""), order=order
    )
    named = named.filter(~pl.struct("name", "suffix").is_duplicated()).sort("order").unique("name", keep="first")
    images = list_files(alone["image_path"]).with_columns(name=_name())
    found = images.filter(~pl.col("name").is_duplicated()).join(named, on="name", suffix="_of_labels")
    found = found.select(image_path="path", unread_labels="path_of_labels")
    return samples.join(found, on="image_path", how="left", maintain_order="left")


def _name() -> pl.Expr:
    """The name of a file without folders and suffix, in normalised form."""
    return pl.col("key").str.extract(r"(?s)([^/]*)$").str.normalize("NFC").str.to_lowercase()
