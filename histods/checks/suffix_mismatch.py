"""`suffix_mismatch`: the content of a file is not what its suffix says."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found

FORMATS = {
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "png": "png",
    "tif": "tiff",
    "tiff": "tiff",
    "bmp": "bmp",
    "webp": "webp",
    "gif": "gif",
}
SUFFIXES = {"jpeg": "jpg", "png": "png", "tiff": "tif", "bmp": "bmp", "webp": "webp", "gif": "gif"}


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Compare suffix and content of every image and mask whose content was recognised."""
    return pl.concat([_judge_files(samples, "image"), _judge_files(samples, "mask")])


def _judge_files(samples: pl.DataFrame, role: str) -> pl.DataFrame:
    path, content = pl.col(f"{role}_path"), pl.col(f"{role}_format")
    suffix = path.str.extract(r"\.([^./]+)$")
    said = suffix.str.to_lowercase().replace_strict(FORMATS, default=None, return_dtype=pl.String)
    better = content.replace_strict(SUFFIXES, default=content, return_dtype=pl.String)
    message = pl.format("named .{}, but the content is {}; rename it to .{}", suffix, content, better)
    return found(samples.filter(said != content), f"{role}_path", message)


CHECK = Check(
    code="suffix_mismatch",
    severity="warning",
    summary="The content of an image or mask is not what its suffix says.",
    judge=judge,
)
