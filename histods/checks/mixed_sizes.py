"""`mixed_sizes`: images of another size than most, where training needs one.

If more than half of the images have one size, all others are reported. If not, a finding per file would not help:
each of the most frequent sizes is reported once.
"""

from __future__ import annotations

import polars as pl

from histods.checks.base import Check, Context, found
from histods.tiles.grid import tile_advice

COMMON_SHARE = 0.5  # of all images that can be read
LISTED = 20  # sizes that are named if none is common


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    """Compare the sizes of all images that can be read; those without masks count too."""
    sized = pl.all_horizontal(pl.col("image_path", "image_width", "image_height").is_not_null())
    meant = ~pl.col("image_outside") & ~pl.col("outside") & pl.col("derived").is_null()
    readable = sized & pl.col("image_error").is_null() & meant
    images = samples.filter(readable).select("key", "image_path", "image_width", "image_height")
    if images.select(pl.struct("image_width", "image_height").n_unique()).item() <= 1:
        return found(samples.clear(), "image_path", "")
    counted = images.with_columns(pl.len().over("image_width", "image_height").alias("count"))
    most = counted.sort(
        "count", "image_width", "image_height", "image_path", descending=[True, False, False, False]
    )
    width, height, count = most.select("image_width", "image_height", "count").row(0)
    advice = f"training needs one size: {tile_advice((height, width))}"
    if count > COMMON_SHARE * len(images):
        share = 100 * count / len(images)
        others = counted.filter((pl.col("image_width") != width) | (pl.col("image_height") != height))
        common = f"{count:,} of {len(images):,} images ({_percent(share)} %) have {width}x{height}"
        message = pl.format(f"{{}}x{{}} pixels, while {common}; {advice}", "image_width", "image_height")
        return found(others, "image_path", message)
    first = most.unique(["image_width", "image_height"], keep="first", maintain_order=True)
    sizes = f"{len(first):,} sizes" + (f", the {LISTED} most frequent are named" if len(first) > LISTED else "")
    message = pl.format(
        f"{{}} of {len(images):,} images have {{}}x{{}} pixels, as this one has, and there are {sizes}; {advice}",
        "count",
        "image_width",
        "image_height",
    )
    return found(first.head(LISTED), "image_path", message)


def _percent(share: float) -> str:
    """A share below 100 %, which is never rounded to 100."""
    return f"{min(share, 99.9):.3g}"


CHECK = Check(
    code="mixed_sizes",
    severity="warning",
    summary="Images of another size than most, where training needs one.",
    judge=judge,
)
