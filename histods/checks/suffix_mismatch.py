"""`suffix_mismatch`: the content of a file is not what its suffix says."""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found
from histods.images.formats import FORMATS

_FORMATS = {suffix[1:]: one.name for one in FORMATS for suffix in one.suffixes}
_SUFFIXES = {one.name: one.suffixes[0][1:] for one in FORMATS}


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Compare suffix and content of every image and mask whose content was recognised."""
    return pl.concat([_judge_files(samples, "image"), _judge_files(samples, "mask")])


def _judge_files(samples: pl.DataFrame, role: str) -> pl.DataFrame:
    path, content = pl.col(f"{role}_path"), pl.col(f"{role}_format")
    suffix = path.str.extract(r"\.([^./]+)$")
    said = suffix.str.to_lowercase().replace_strict(_FORMATS, default=None, return_dtype=pl.String)
    better = content.replace_strict(_SUFFIXES, default=content, return_dtype=pl.String)
    message = pl.format(
        "named .{}, but the content is {}; rename it to .{}: 'histods fix suffix_mismatch --repair --in-place'",
        suffix,
        content,
        better,
    )
    return found(samples.filter(said != content), f"{role}_path", message)


CHECK = Check(
    code="suffix_mismatch",
    severity="warning",
    summary="The content of an image or mask is not what its suffix says.",
    judge=judge,
)
